"""The one place that knows Optuna: assignments of genes come out, outcomes go in.

`FeasibleSampler` wraps any Optuna sampler. A suggestion that breaks a constraint or was evaluated before is drawn again
before Optuna records it, so that every trial of the study is one evaluation: none wasted, none run twice.
"""

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from archspec.errors import StudyError
from archspec.results.engine import tune_sqlite
from archspec.results.records import EvaluationRecord, Objective
from archspec.search.samplers import RegularisedEvolution
from archspec.search.samplers import distribution as distribution
from archspec.search.samplers import inner_sampler as inner_sampler
from archspec.search.space import Assignment
from archspec.search.stopping import EarlyStopping as EarlyStopping

Verdict = Literal["new", "duplicate", "infeasible", "illegal"]

REDRAWS = 8
"""How often a sampler is asked again before what it proposes is repaired."""
PROPOSALS = 4
"""How many feasible and new proposals of a sampler a guide chooses from."""
_DIRECTIONS = {"maximise": StudyDirection.MAXIMIZE, "minimise": StudyDirection.MINIMIZE}


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


class Suggestions:
    """Optuna's book of a study: which trial is next, and what each trial got."""

    def __init__(
        self, url: str | None, name: str, objectives: tuple[Objective, ...], sampler: optuna.samplers.BaseSampler
    ) -> None:
        """Open the book at a database, or one in memory (None)."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._objectives, self._sampler = objectives, sampler
        with _quiet():
            self._storage = _storage(url)
            directions = [_DIRECTIONS[objective.direction] for objective in objectives]
            self._study = optuna.create_study(
                storage=self._storage, study_name=name, sampler=sampler, directions=directions, load_if_exists=True
            )
        if self._study.directions != directions:
            found = ", ".join(direction.name.lower() for direction in self._study.directions)
            raise StudyError(f"study {name!r} exists with other objectives: rename it\n    found: {found}")

    def close(self) -> None:
        """Give the connections of the database back."""
        if isinstance(self._storage, optuna.storages.RDBStorage):
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
        """Pass on an outcome, in the way that this study's sampler reads it. Telling twice changes nothing.

        A trial that was pruned has measured something: TPE reads it beside its epoch, the samplers that look at
        complete trials only (evolution, GP) are told it as a value. One that ran out of memory is infeasible, which
        teaches a sampler to avoid its like (measured for TPE: a third of later proposals instead of two thirds): TPE
        reads the constraints of pruned trials, the others those of complete ones, with the worst value.
        """
        with _quiet():
            values = self._values(record)
            out_of_memory = record.cause == "out_of_memory"
            if out_of_memory:
                self._set_infeasible(number)
                values = self._worst(record)
            told = record.state == "complete" or (self._reads_complete and (record.state == "pruned" or out_of_memory))
            if told and values is not None:
                self._study.tell(number, values, skip_if_finished=True)
                return
            if record.state == "pruned" and values is not None and len(values) == 1:
                self._report(number, len(record.curve), values[0])
            state = TrialState.PRUNED if record.state == "pruned" or out_of_memory else TrialState.FAIL
            self._study.tell(number, state=state, skip_if_finished=True)

    @property
    def _reads_complete(self) -> bool:
        """Whether the sampler learns from complete trials alone."""
        inner = self._sampler.inner if isinstance(self._sampler, FeasibleSampler) else self._sampler
        alone = (optuna.samplers.NSGAIISampler, optuna.samplers.GPSampler, RegularisedEvolution)
        return isinstance(inner, alone)

    def _values(self, record: EvaluationRecord) -> list[float] | None:
        values = [record.measure(objective.name) for objective in self._objectives]
        known = [float(value) for value in values if value is not None]
        return known if len(known) == len(values) else None

    def _worst(self, record: EvaluationRecord) -> list[float] | None:
        """As bad as anything seen in what was not measured; costs are known."""
        values = []
        for place, objective in enumerate(self._objectives):
            known = record.measure(objective.name)
            if known is None:
                told = [t.values[place] for t in self._study.get_trials(deepcopy=False) if t.values]
                if not told:
                    return None
                known = min(told) if objective.direction == "maximise" else max(told)
            values.append(float(known))
        return values

    def _report(self, number: int, epoch: int, value: float) -> None:
        frozen = next(t for t in self._study.get_trials(deepcopy=False) if t.number == number)
        if not frozen.state.is_finished() and epoch not in frozen.intermediate_values:
            optuna.trial.Trial(self._study, frozen._trial_id).report(value, epoch)

    def _set_infeasible(self, number: int) -> None:
        frozen = next(t for t in self._study.get_trials(deepcopy=False) if t.number == number)
        if not frozen.state.is_finished() and "memory" not in frozen.constraints:
            trial_id = self._study._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
            trial = optuna.trial.Trial(self._study, trial_id)
            trial.set_constraint("memory", 1.0)


def _storage(url: str | None) -> optuna.storages.BaseStorage:
    if url is None:
        return optuna.storages.InMemoryStorage()
    storage = optuna.storages.RDBStorage(url)
    tune_sqlite(storage.engine)
    return storage


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
