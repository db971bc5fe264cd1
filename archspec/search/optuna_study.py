"""Our view of Optuna's study: assignments of genes come out (`ask`), outcomes go in (`tell`); several workers share it.

Our own store is always written first, so Optuna's study may lag behind: `untold` says by what. Optuna's categorical
choices cannot change, so a study whose space is edited begins another one of Optuna's (`copy_trials`).
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import DBAPIError

from archspec.errors import StudyError
from archspec.results.database import DatabaseAway
from archspec.results.engine import tune_sqlite
from archspec.results.records import EvaluationRecord, Objective, StudyRecord
from archspec.search.samplers import RegularisedEvolution
from archspec.search.space import Assignment
from archspec.search.suggest import FeasibleSampler, SpaceExhausted

_DIRECTIONS = {"maximise": StudyDirection.MAXIMIZE, "minimise": StudyDirection.MINIMIZE}
# These learn from complete trials alone; the others read what a pruned one measured too.
_READ_COMPLETE = (optuna.samplers.NSGAIISampler, optuna.samplers.GPSampler, RegularisedEvolution)


class OptunaStudy:
    """Which trial is next, and what each trial got.

    Every method raises DatabaseAway while the database cannot be reached.

    Args:
        url: of a database; None: in memory.
        name, objectives, sampler: of the study, which is made when there is none.
        ours: the numbers of the trials that are in our own store.

    Raises:
        StudyError: a study of that name has other objectives.
    """

    def __init__(
        self,
        url: str | None,
        name: str,
        objectives: tuple[Objective, ...],
        sampler: optuna.samplers.BaseSampler,
        ours: Callable[[], frozenset[int]] = frozenset,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._objectives, self._sampler, self._ours = objectives, sampler, ours
        directions = [_DIRECTIONS[objective.direction] for objective in objectives]
        with _translated():
            self._storage = _storage(url)
            self._study = optuna.create_study(
                storage=self._storage, study_name=name, sampler=sampler, directions=directions, load_if_exists=True
            )
        if self._study.directions != directions:
            found = ", ".join(direction.name.lower() for direction in self._study.directions)
            raise StudyError(f"study {name!r} exists with other objectives: rename it\n    found: {found}")

    def close(self) -> None:
        """Give the connections to the database back."""
        if isinstance(self._storage, optuna.storages.RDBStorage):
            self._storage.remove_session()
            self._storage.engine.dispose()

    # --- ask

    def ask(self, distributions: Mapping[str, BaseDistribution]) -> int:
        """Start the next trial; its sampler was asked for an assignment. Raises SpaceExhausted."""
        with _translated():
            try:
                return self._study.ask(fixed_distributions=dict(distributions)).number
            except SpaceExhausted:
                for number in self.interrupted():
                    self._study.tell(number, state=TrialState.FAIL)
                raise

    def untold(self) -> frozenset[int]:
        """The trials that have no outcome here."""
        with _translated():
            found = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return frozenset(trial.number for trial in found)

    def interrupted(self) -> Iterator[int]:
        """The trials that a worker began to ask for when it died: they are here, and not in our store; oldest first."""
        yield from sorted(self.untold() - self._ours())

    def complete(self, number: int, distributions: Mapping[str, BaseDistribution]) -> None:
        """Record what is missing of an interrupted trial's parameters; those already recorded stay."""
        with _translated():
            frozen = self._frozen(number)
            if not frozen.state.is_finished() and len(frozen.params) < len(distributions):
                trial = self._trial(frozen)
                for name, distribution in distributions.items():
                    trial._suggest(name, distribution)

    # --- tell

    def tell(self, number: int, record: EvaluationRecord) -> None:
        """Pass on an outcome, in the way that this study's sampler reads it. Telling twice changes nothing.

        A trial that was pruned has measured something: TPE reads it beside its epoch, the samplers that look at
        complete trials only (evolution, GP) are told it as a value. One that ran out of memory is infeasible, which
        teaches a sampler to avoid its like (measured for TPE: a third of later proposals instead of two thirds): TPE
        reads the constraints of pruned trials, the others those of complete ones, with the worst value.
        """
        with _translated():
            try:
                self._tell(number, record)
            except UpdateFinishedTrialError:
                return  # another worker told it between the look and the write

    def _tell(self, number: int, record: EvaluationRecord) -> None:
        values, out_of_memory = self._values(record), record.cause == "out_of_memory"
        inner = self._sampler.inner if isinstance(self._sampler, FeasibleSampler) else self._sampler
        reads_complete = isinstance(inner, _READ_COMPLETE)
        frozen = self._frozen(number)
        if frozen.state.is_finished():
            return
        if out_of_memory:
            values = self._worst(record)
            if "memory" not in frozen.constraints:
                self._trial(frozen).set_constraint("memory", 1.0)
        if values is not None:
            if record.state == "complete" or (reads_complete and (record.state == "pruned" or out_of_memory)):
                self._study.tell(number, values, skip_if_finished=True)
                return
            if record.state == "pruned" and len(values) == 1 and len(record.curve) not in frozen.intermediate_values:
                self._trial(frozen).report(values[0], len(record.curve))
        state = TrialState.PRUNED if record.state == "pruned" or out_of_memory else TrialState.FAIL
        self._study.tell(number, state=state, skip_if_finished=True)

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

    # --- another space

    def copy_trials(
        self,
        records: Sequence[tuple[EvaluationRecord, Assignment | None]],
        distributions: Mapping[str, BaseDistribution],
    ) -> None:
        """Fill a new study with the trials of the one before, each under its own number; what is there already stays.

        A record comes with its assignment in the new space, or None where it is no point of it: then its place is
        taken by a failed trial, from which no sampler learns.
        """
        by_number = {record.trial: (record, found) for record, found in records if record.trial is not None}
        with _translated():
            for number in range(len(self._study.get_trials(deepcopy=False)), max(by_number, default=-1) + 1):
                record, found = by_number.get(number, (None, None))
                if record is None or found is None:
                    self._study.add_trial(create_trial(state=TrialState.FAIL))
                    continue
                params: dict[str, Any] = {name: found[name] for name in distributions}
                self._study.add_trial(
                    create_trial(state=TrialState.RUNNING, params=params, distributions=dict(distributions))
                )
        for number in sorted(self.untold() & by_number.keys()):
            record, _ = by_number[number]
            if record.is_finished:
                self.tell(number, record)

    def _frozen(self, number: int) -> FrozenTrial:
        storage = self._study._storage
        return storage.get_trial(storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number))

    def _trial(self, frozen: FrozenTrial) -> optuna.trial.Trial:
        return optuna.trial.Trial(self._study, frozen._trial_id)


def optuna_name(record: StudyRecord) -> str:
    """The name of Optuna's study: after each edit of the space it has a new one."""
    return record.name if not record.generation else f"{record.name}@{record.generation}-{record.space_digest[:8]}"


def _storage(url: str | None) -> optuna.storages.BaseStorage:
    if url is None:
        return optuna.storages.InMemoryStorage()
    storage = optuna.storages.RDBStorage(url)
    tune_sqlite(storage.engine)
    return storage


@contextmanager
def _translated() -> Iterator[None]:
    """Optuna's warnings of what is experimental are silent; its errors of a database are DatabaseAway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=ExperimentalWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="optuna")
        try:
            yield
        except (StorageInternalError, DBAPIError) as error:
            raise DatabaseAway(f"the database of the sampler failed: {error.__cause__ or error}") from error
