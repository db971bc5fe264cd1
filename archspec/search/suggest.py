"""The one place that knows Optuna: assignments of genes come out, outcomes go in.

`FeasibleSampler` wraps any Optuna sampler. A suggestion that breaks a constraint or was evaluated before is drawn again
before Optuna records it, so that every trial of the study is one evaluation: none wasted, none run twice.
"""

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from archspec.errors import StudyError
from archspec.results.engine import tune_sqlite
from archspec.results.records import EvaluationRecord, Objective
from archspec.search.space import Assignment, Gene
from archspec.search.study import Pruner, Sampler

Verdict = Literal["new", "duplicate", "infeasible", "illegal"]

ATTEMPTS_OF_THE_SAMPLER = 64
_DIRECTIONS = {"maximise": StudyDirection.MAXIMIZE, "minimise": StudyDirection.MINIMIZE}


def distribution(gene: Gene) -> BaseDistribution:
    """A gene as Optuna sees it: a numeric range stays a range, anything else is a choice among labels."""
    if gene.low is None or gene.high is None:
        return CategoricalDistribution(gene.choices)
    if isinstance(gene.low, int) and isinstance(gene.high, int):
        return IntDistribution(gene.low, gene.high, log=gene.log, step=1 if gene.log else int(gene.step or 1))
    return FloatDistribution(gene.low, gene.high, log=gene.log, step=None if gene.log else gene.step)


def inner_sampler(sampler: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler with every argument that matters written out: the defaults changed in Optuna 5."""
    if sampler.name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if sampler.name == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=sampler.population, seed=seed)
    if sampler.name == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=sampler.startup)
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=sampler.startup, multivariate=True, constant_liar=True
    )


class FeasibleSampler(optuna.samplers.BaseSampler):
    """Any sampler, asked again until its suggestion is feasible and new.

    Args:
        inner: the sampler that proposes.
        distributions: every gene of the space.
        judge: says of an assignment whether it is new, a duplicate, infeasible or illegal.
        draw: a random feasible and new assignment, or None when none was found: the way out when the inner sampler
            keeps proposing what cannot be used.
        propose: called with (trial number, assignment) before Optuna records anything; `recall` gives it back, so that
            a trial interrupted while it was being recorded goes on with the same assignment.
    """

    def __init__(
        self,
        inner: optuna.samplers.BaseSampler,
        distributions: Mapping[str, BaseDistribution],
        judge: Callable[[int, Assignment], Verdict],
        draw: Callable[[int], Assignment | None],
        propose: Callable[[int, Assignment], None],
        recall: Callable[[int], Assignment | None],
    ) -> None:
        self._inner, self._distributions = inner, dict(distributions)
        self._judge, self._draw, self._propose, self._recall = judge, draw, propose, recall

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._distributions)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        known = self._recall(trial.number)
        if known is not None:
            return dict(known)
        chosen = self._new_assignment(study, trial)
        self._propose(trial.number, chosen)
        return dict(chosen)

    def _new_assignment(self, study: optuna.Study, trial: FrozenTrial) -> Assignment:
        for _ in range(ATTEMPTS_OF_THE_SAMPLER):
            suggested = self._suggestion(study, trial)
            if self._judge(trial.number, suggested) == "new":
                return suggested
        drawn = self._draw(trial.number)
        if drawn is None:
            raise SpaceExhausted("no feasible point of the space is left to evaluate")
        return drawn

    def _suggestion(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        together = self._inner.infer_relative_search_space(study, trial)
        suggested = self._inner.sample_relative(study, trial, together)
        for name, each in self._distributions.items():
            if name not in suggested:
                suggested[name] = self._inner.sample_independent(study, trial, name, each)
        return suggested

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        self._inner.reseed_rng()


class SpaceExhausted(StudyError):
    """Every feasible point that could be found has been evaluated."""


class Suggestions:
    """Optuna's book of a study: which trial is next, and what each trial got."""

    def __init__(
        self, url: str, name: str, objectives: tuple[Objective, ...], sampler: optuna.samplers.BaseSampler
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._objectives = objectives
        with _quiet():
            self._storage = optuna.storages.RDBStorage(url)
            tune_sqlite(self._storage.engine)
            directions = [_DIRECTIONS[objective.direction] for objective in objectives]
            self._study = optuna.create_study(
                storage=self._storage, study_name=name, sampler=sampler, directions=directions, load_if_exists=True
            )
        if self._study.directions != directions:
            found = ", ".join(direction.name.lower() for direction in self._study.directions)
            raise StudyError(f"study {name!r} exists with other objectives: rename it\n    found: {found}")

    def close(self) -> None:
        """Give the connections of the database back."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def interrupted(self) -> Iterator[int]:
        """Numbers of trials that were started and never told, oldest first."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            yield trial.number

    def ask(self, distributions: Mapping[str, BaseDistribution]) -> int:
        """Start the next trial; its assignment went to `propose`. Raises SpaceExhausted."""
        with _quiet():
            try:
                return self._study.ask(fixed_distributions=dict(distributions)).number
            except SpaceExhausted:
                for number in self.interrupted():
                    self._study.tell(number, state=TrialState.FAIL)
                raise

    def resume(self, number: int, distributions: Mapping[str, BaseDistribution]) -> None:
        """Finish recording the parameters of an interrupted trial; those already recorded stay."""
        frozen = next(t for t in self._study.get_trials(deepcopy=False) if t.number == number)
        with _quiet():
            trial = optuna.trial.Trial(self._study, frozen._trial_id)
            for name, each in distributions.items():
                trial._suggest(name, each)

    def tell(self, number: int, record: EvaluationRecord) -> None:
        """Pass on an outcome. Telling twice changes nothing.

        An evaluation that ran out of memory counts as pruned and infeasible, which is what teaches TPE to avoid its
        like (measured: a third of later proposals instead of two thirds).
        """
        with _quiet():
            if record.state == "complete":
                values = [record.measure(objective.name) for objective in self._objectives]
                if all(value is not None for value in values):
                    self._study.tell(number, [float(v) for v in values if v is not None], skip_if_finished=True)
                    return
            if record.cause == "out_of_memory":
                self._set_infeasible(number)
            pruned = record.state == "pruned" or record.cause == "out_of_memory"
            state = TrialState.PRUNED if pruned else TrialState.FAIL
            self._study.tell(number, state=state, skip_if_finished=True)

    def _set_infeasible(self, number: int) -> None:
        frozen = next(t for t in self._study.get_trials(deepcopy=False) if t.number == number)
        if not frozen.state.is_finished() and "memory" not in frozen.constraints:
            trial_id = self._study._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
            trial = optuna.trial.Trial(self._study, trial_id)
            trial.set_constraint("memory", 1.0)


class EarlyStopping:
    """Asks Optuna's pruners whether a trial stops now, judged by accuracy, with one objective or several.

    Optuna refuses to prune with several objectives, so its pruners are asked about a study in memory that has one, the
    accuracy. It is filled from our own store, epoch by epoch, which gives every pruner the history it keeps.
    """

    def __init__(self, pruner: Pruner, name: str, epochs: int, finished: Sequence[EvaluationRecord]) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(study_name=name, direction="maximize", pruner=_pruner(pruner, epochs))
        self._trial: optuna.Trial | None = None
        for record in finished:
            self.start()
            for epoch in record.curve:
                self.report(epoch.epoch, epoch.val_accuracy)
            self.finish(record)

    def start(self) -> None:
        """A trial begins."""
        self._trial = self._study.ask()

    def report(self, epoch: int, accuracy: float | None) -> bool:
        """An epoch ended: whether to stop. A resumed trial reports its earlier epochs again first."""
        if self._trial is None or accuracy is None:
            return False
        self._trial.report(accuracy, epoch)
        return self._trial.should_prune()

    def finish(self, record: EvaluationRecord) -> None:
        """The trial has its outcome."""
        if self._trial is None:
            return
        last = record.curve[-1].val_accuracy if record.curve else None
        if record.state == "complete" and last is not None:
            self._study.tell(self._trial, last)
        else:
            self._study.tell(self._trial, state=TrialState.PRUNED if record.state == "pruned" else TrialState.FAIL)
        self._trial = None


def _pruner(pruner: Pruner, epochs: int) -> optuna.pruners.BasePruner:
    lowest = max(1, pruner.warmup)
    if pruner.name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=pruner.startup, n_warmup_steps=pruner.warmup)
    if pruner.name == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=lowest, reduction_factor=pruner.reduction)
    if pruner.name == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=lowest, max_resource=epochs, reduction_factor=pruner.reduction
        )
    return optuna.pruners.NopPruner()


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="optuna")
        yield


def seeded(seed: int, *words: object) -> random.Random:
    """A random stream of its own for each purpose of a study."""
    return random.Random(f"{seed}|{'|'.join(map(str, words))}")


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"
