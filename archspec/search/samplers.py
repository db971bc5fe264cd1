"""The `sampler:` of a study and a seed go in; the sampler of Optuna that proposes points comes out.

Every argument that matters is written out: the defaults changed in Optuna 5, and that of several objectives draws genes
one by one (a third of its proposals are duplicates in a space of 4^60 points).
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from archspec.search.rungs import Values, fronts_of
from archspec.search.space import Gene
from archspec.search.study import Sampler


def distribution(gene: Gene) -> BaseDistribution:
    """A gene as Optuna sees it: a numeric range stays a range, anything else is a choice among labels."""
    if gene.low is None or gene.high is None:
        return CategoricalDistribution(gene.choices)
    if isinstance(gene.low, int) and isinstance(gene.high, int):
        return IntDistribution(gene.low, gene.high, log=gene.log, step=1 if gene.log else int(gene.step or 1))
    return FloatDistribution(gene.low, gene.high, log=gene.log, step=None if gene.log else gene.step)


def _tpe(sampler: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    startup = sampler.startup
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=True)


_SAMPLERS: dict[str, Callable[[Sampler, int], optuna.samplers.BaseSampler]] = {
    "tpe": _tpe,
    "random": lambda sampler, seed: optuna.samplers.RandomSampler(seed=seed),
    "nsga2": lambda sampler, seed: optuna.samplers.NSGAIISampler(population_size=sampler.population, seed=seed),
    "gp": lambda sampler, seed: optuna.samplers.GPSampler(seed=seed, n_startup_trials=sampler.startup),
    "regularised_evolution": lambda sampler, seed: RegularisedEvolution(sampler.population, sampler.tournament, seed),
}


def inner_sampler(sampler: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler that proposes, of the name in the study."""
    return _SAMPLERS[sampler.name](sampler, seed)


class RegularisedEvolution(optuna.samplers.BaseSampler):
    """Aging evolution (Real et al. 2019, arXiv 1802.01548): the best of a few of the youngest has one gene changed.

    Args:
        population: the youngest so many are alive; before there are so many, points are drawn at random.
        tournament: so many of them are compared. With several objectives the one on the first front wins, by lot.
    """

    def __init__(self, population: int, tournament: int, seed: int) -> None:
        self._population, self._tournament = population, tournament
        self._rng = random.Random(seed)
        self._random = optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        done = self._alive(study)
        return dict(done[-1].distributions) if done else {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        alive = self._alive(study)
        if len(alive) < self._population or not search_space:
            return {}
        fighters = self._rng.sample(alive, min(self._tournament, len(alive)))
        values = [_larger_is_better(study, fighter) for fighter in fighters]
        fronts = fronts_of(values)
        parent = fighters[self._rng.choice([each for each, front in enumerate(fronts) if front == 0])]
        child = {name: parent.params[name] for name in search_space if name in parent.params}
        name = self._rng.choice([name for name, each in search_space.items() if not each.single()])
        others = [value for value in _values(search_space[name]) if value != child[name]]
        return child | {name: self._rng.choice(others)}

    def _alive(self, study: optuna.Study) -> list[FrozenTrial]:
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return done[-self._population :]

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        self._rng.seed()
        self._random.reseed_rng()


def _larger_is_better(study: optuna.Study, trial: FrozenTrial) -> Values:
    signs = [1.0 if direction.name == "MAXIMIZE" else -1.0 for direction in study.directions]
    return tuple(sign * value for sign, value in zip(signs, trial.values, strict=True))


def _values(distribution: BaseDistribution) -> Sequence[Any]:
    """Everything that a gene can be; of a range of real numbers, a few."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    if isinstance(distribution, FloatDistribution):
        steps = 16
        return [distribution.low + (distribution.high - distribution.low) * n / steps for n in range(steps + 1)]
    raise TypeError(f"no gene is a {type(distribution).__name__}")
