"""Optuna's book of a study as several workers share it: who asks and tells, and what goes into it when a space changes.

What is here beside `suggest.Suggestions` is what one process did not need. Our own outcome is always written first, so
this book may lag behind: `untold` says by what.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy.exc import DBAPIError

from archspec.results.database import DatabaseAway
from archspec.results.records import EvaluationRecord, Objective, StudyRecord
from archspec.search.space import Assignment
from archspec.search.suggest import Suggestions


class SharedBook(Suggestions):
    """The book of one generation of a study: after its space was edited, the next generation has a book of its own.

    Args:
        url, name, objectives, sampler: see `Suggestions`.
        ours: the numbers of the trials that are in our own store.
    """

    def __init__(
        self,
        url: str,
        name: str,
        objectives: tuple[Objective, ...],
        sampler: optuna.samplers.BaseSampler,
        ours: Callable[[], frozenset[int]],
    ) -> None:
        with _told_away():
            super().__init__(url, name, objectives, sampler)
        self._ours = ours

    def untold(self) -> frozenset[int]:
        """The trials that have no outcome here."""
        with _told_away():
            found = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return frozenset(trial.number for trial in found)

    def interrupted(self) -> Iterator[int]:
        """The trials that a worker began to ask for when it died: they are here, and not in our store."""
        yield from sorted(self.untold() - self._ours())

    def ask(self, distributions: Mapping[str, BaseDistribution]) -> int:
        with _told_away():
            return super().ask(distributions)

    def complete(self, number: int, distributions: Mapping[str, BaseDistribution]) -> None:
        """Record what is missing of an interrupted trial's parameters."""
        with _told_away():
            frozen = next((t for t in self._study.get_trials(deepcopy=False) if t.number == number), None)
            if frozen is not None and not frozen.state.is_finished() and len(frozen.params) < len(distributions):
                self.resume(number, distributions)

    def tell(self, number: int, record: EvaluationRecord) -> None:
        with _told_away():
            try:
                super().tell(number, record)
            except UpdateFinishedTrialError:
                return  # another worker told it between the look and the write

    def seed(
        self,
        records: Sequence[tuple[EvaluationRecord, Assignment | None]],
        distributions: Mapping[str, BaseDistribution],
    ) -> None:
        """Fill a new book with the trials of the one before, each under its own number; what is there already stays.

        A record comes with its assignment in the new space, or None where it is no point of it: then its place is
        taken by a failed trial, from which no sampler learns.
        """
        by_number = {record.trial or 0: (record, found) for record, found in records}
        for number in range(len(self._study.get_trials(deepcopy=False)), max(by_number, default=-1) + 1):
            record, found = by_number.get(number, (None, None))
            if record is None or found is None:
                self._study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))
                continue
            params: dict[str, Any] = {name: found[name] for name in distributions}
            trial = optuna.trial.create_trial(
                state=TrialState.RUNNING, params=params, distributions=dict(distributions)
            )
            self._study.add_trial(trial)
            if record.is_finished:
                self.tell(number, record)


def book_name(record: StudyRecord) -> str:
    """The name of a study in Optuna's book: after each edit of its space it has a new one."""
    return record.name if not record.generation else f"{record.name}@{record.generation}-{record.space_digest[:8]}"


@contextmanager
def _told_away() -> Iterator[None]:
    try:
        yield
    except (StorageInternalError, DBAPIError) as error:
        raise DatabaseAway(f"the database of the sampler failed: {error.__cause__ or error}") from error
