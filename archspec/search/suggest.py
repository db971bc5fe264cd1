"""A sampler of Optuna's goes in; one that wastes no trial comes out.

`FeasibleSampler` wraps any Optuna sampler. A suggestion that breaks a constraint or was evaluated before is drawn again
before Optuna records it, so that every trial of the study is one evaluation: none wasted, none run twice.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from archspec.errors import StudyError
from archspec.search.samplers import distribution as distribution
from archspec.search.samplers import inner_sampler as inner_sampler
from archspec.search.space import Assignment

Verdict = Literal["new", "duplicate", "infeasible", "illegal"]

REDRAWS = 8
"""How often a sampler is asked again before what it proposes is repaired."""
PROPOSALS = 4
"""How many feasible and new proposals of a sampler a guide chooses from."""


class Guide(Protocol):
    """Who chooses among proposals (see guidance.py)."""

    def first(self, number: int) -> Assignment | None: ...

    def pick(self, number: int, proposals: Sequence[Assignment]) -> Assignment: ...

    def look(self, assignment: Assignment) -> object | None: ...


class FeasibleSampler(optuna.samplers.BaseSampler):
    """Any sampler, asked again until its suggestion is feasible and new, or repaired until it is.

    Args:
        inner: the sampler that proposes.
        distributions: every gene of the space.
        judge: says of an assignment whether it is new, a duplicate, infeasible or illegal.
        draw: a random feasible and new assignment, or None when none was found: the way out when the inner sampler
            keeps proposing what cannot be used.
        propose: called with (trial number, assignment) before Optuna records anything; `recall` gives it back, so that
            a trial interrupted while it was being recorded goes on with the same assignment.
        repair: the nearest assignment that is feasible and new, or None.
        guide: chooses the first trials, and among several proposals.
    """

    def __init__(
        self,
        inner: optuna.samplers.BaseSampler,
        distributions: Mapping[str, BaseDistribution],
        judge: Callable[[int, Assignment], Verdict],
        draw: Callable[[int], Assignment | None],
        propose: Callable[[int, Assignment], None],
        recall: Callable[[int], Assignment | None],
        repair: Callable[[int, Assignment], Assignment | None] | None = None,
        guide: Guide | None = None,
    ) -> None:
        self._inner, self._distributions = inner, dict(distributions)
        self._judge, self._draw, self._propose, self._recall = judge, draw, propose, recall
        self._repair, self._guide = repair or (lambda number, assignment: None), guide

    @property
    def inner(self) -> optuna.samplers.BaseSampler:
        """The sampler that proposes."""
        return self._inner

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
        guide, number = self._guide, trial.number
        if guide is None:
            return self._proposal(study, trial)
        first = guide.first(number)
        if first is not None and self._judge(number, first) == "new":
            return first
        proposals = [self._proposal(study, trial)]
        for _ in range(PROPOSALS - 1):
            another = self._suggestion(study, trial)
            if guide.look(another) is not None and another not in proposals:
                proposals.append(another)
        chosen = guide.pick(number, proposals)
        # Judged last is what is evaluated.
        return chosen if self._judge(number, chosen) == "new" else self._proposal(study, trial)

    def _proposal(self, study: optuna.Study, trial: FrozenTrial) -> Assignment:
        """What the sampler wants, as near as it can be had: asked again, then repaired, then drawn."""
        suggested: Assignment = {}
        for _ in range(REDRAWS):
            suggested = self._suggestion(study, trial)
            if self._judge(trial.number, suggested) == "new":
                return suggested
        mended = self._repair(trial.number, suggested)
        if mended is not None and self._judge(trial.number, mended) == "new":
            return mended
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


def seeded(seed: int, *words: object) -> random.Random:
    """A random stream of its own for each purpose of a study."""
    return random.Random(f"{seed}|{'|'.join(map(str, words))}")
