"""A study's results go in as they happen, frozen records come out: every query on our tables is here.

A finished evaluation never changes: the first outcome stands. What workers write while they train goes through
leases.py; what is recorded here without a lease is refused while a worker has one.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from archspec.errors import StoreError
from archspec.results import rows
from archspec.results.database import Database
from archspec.results.records import (
    AttemptRecord,
    Cause,
    EpochRecord,
    EvaluationRecord,
    EvaluationRequest,
    StudyRecord,
)
from archspec.results.tables import EvaluationRow, EventRow, StudyRow, TrialRow

# What makes two studies of one name the same study. The YAML, the total number of trials and the rest may
# change.
IDENTITY = ("space_digest", "seed", "objectives")


class Store(Database):
    """The results of studies in one database."""

    # --- studies

    def save_study(self, study: StudyRecord) -> StudyRecord:
        """Save a new study, or carry on with an equal one: its YAML and number of trials may have changed.

        Raises:
            StoreError: a study of that name has another space, seed or other objectives.
        """
        wanted = rows.study_values(study)

        def write(session: Session) -> StudyRecord:
            rows.put(session, StudyRow, wanted)
            row = session.get_one(StudyRow, study.name, populate_existing=True)
            _refuse_another(row, wanted)
            row.study, row.trials = study.study, study.trials
            row.genes, row.constraints = dict(study.genes), list(study.constraints)
            return rows.study_record(row)

        return self.write(write)

    def check_same(self, study: StudyRecord) -> None:
        """Raise StoreError when the study of that name has another space, seed or other objectives."""
        wanted = rows.study_values(study)
        self.read(lambda session: _refuse_another(rows.study_row(session, study.name), wanted))

    def get_study(self, name: str) -> StudyRecord:
        """The study of that name.

        Raises:
            StoreError: there is none; the message names the nearest.
        """
        return self.read(lambda session: rows.study_record(rows.study_row(session, name)))

    def studies(self) -> tuple[StudyRecord, ...]:
        """All studies, oldest first."""
        query = select(StudyRow).order_by(StudyRow.created, StudyRow.name)
        return self.read(lambda session: tuple(rows.study_record(row) for row in session.scalars(query)))

    # --- evaluations

    def start_evaluation(self, request: EvaluationRequest) -> EvaluationRecord:
        """Ask for an evaluation on behalf of a trial or a reference point. Idempotent per study and trial.

        The answer says what to do: finished: use its outcome; running: claim it (see leases.py), and train it
        from its checkpoint, when there is one.

        Raises:
            StoreError: unknown study, or the trial asked before for another architecture, protocol or seed.
        """
        return self.write(lambda session: rows.start(session, request))

    def find_evaluation(self, digest: str, protocol: str, seed: int) -> EvaluationRecord | None:
        """The evaluation of an architecture under a protocol with a seed, in any study, or None."""
        key = EvaluationRow.digest == digest, EvaluationRow.protocol == protocol, EvaluationRow.seed == seed

        def read(session: Session) -> EvaluationRecord | None:
            query = select(TrialRow).join(EvaluationRow, TrialRow.evaluation == EvaluationRow.uuid)
            row = session.scalar(query.where(*key, TrialRow.owns))
            return None if row is None else rows.evaluation_records(session, [row])[0]

        return self.read(read)

    def record_epoch(self, evaluation: str, epoch: EpochRecord, checkpoint: str | None = None) -> None:
        """Record one epoch and the checkpoint written after it; an epoch trained again replaces the old.

        Raises:
            StoreError: the evaluation (a uuid) is unknown, already finished, or a worker's (see leases.py).
        """
        changes = {"state": "running"} | ({} if checkpoint is None else {"checkpoint": checkpoint})
        running = EvaluationRow.uuid == evaluation, EvaluationRow.state == "running", EvaluationRow.owner.is_(None)

        def write(session: Session) -> None:
            # The update locks the row, so that no finish comes between it and the insert.
            locked = update(EvaluationRow).where(*running).values(changes).returning(EvaluationRow.uuid)
            if session.scalar(locked) is None:
                raise StoreError(f"the evaluation is not running\n    found: {evaluation}, epoch {epoch.epoch}")
            rows.put_epoch(session, evaluation, epoch)

        self.write(write)

    def finish_evaluation(
        self,
        evaluation: str,
        cause: Cause,
        *,
        values: Mapping[str, float] | None = None,
        message: str = "",
        seconds: float | None = None,
        checkpoint: str | None = None,
    ) -> EvaluationRecord:
        """Record the outcome and return what stands: the outcome recorded first, if there was one.

        `values` are the measured objectives by name; `seconds` the time spent training and evaluating, all
        starts together. Tell a sampler what this returns, and both books agree whenever the process died.

        Raises:
            StoreError: unknown evaluation, unknown cause, or a value that is not finite.
        """
        changes = rows.outcome(cause, values or {}, message) | {"seconds": seconds}
        changes |= {} if checkpoint is None else {"checkpoint": checkpoint}
        return self.write(lambda session: rows.finish(session, evaluation, changes))

    def evaluations(self, study: str) -> tuple[EvaluationRecord, ...]:
        """What every trial and reference point of a study got: trials by number, then references by name.

        Raises:
            StoreError: no study of that name.
        """

        def read(session: Session) -> tuple[EvaluationRecord, ...]:
            rows.study_row(session, study)
            found = session.scalars(select(TrialRow).where(TrialRow.study == study)).all()
            ordered = sorted(found, key=lambda row: (row.number is None, row.number, row.reference))
            return tuple(rows.evaluation_records(session, ordered))

        return self.read(read)

    def attempts(self, evaluation: str) -> tuple[AttemptRecord, ...]:
        """How often an evaluation (a uuid) was begun, by whom, and how each attempt ended; oldest first."""
        return self.read(lambda session: rows.attempt_records(session, evaluation))

    # --- events

    def record_event(
        self, study: str, kind: str, trial: int | None = None, detail: Mapping[str, object] | None = None
    ) -> None:
        """Count something that was not trained, say a suggestion that was `duplicate` or `infeasible`."""
        self._record([self._event(study, kind, trial, detail)])

    def record_events(self, study: str, events: Sequence[tuple[str, int]]) -> None:
        """Count several at once, each a kind and a trial."""
        if events:
            self._record([self._event(study, kind, trial, None) for kind, trial in events])

    @staticmethod
    def _event(study: str, kind: str, trial: int | None, detail: Mapping[str, object] | None) -> dict[str, object]:
        values: dict[str, object] = {"uuid": str(uuid.uuid4()), "study": study, "kind": kind, "trial": trial}
        return values | {"detail": dict(detail or {}), "at": datetime.now(UTC)}

    def _record(self, events: Sequence[dict[str, object]]) -> None:
        def write(session: Session) -> None:
            rows.study_row(session, str(events[0]["study"]))
            for values in events:
                rows.put(session, EventRow, values)

        self.write(write)

    def count_events(self, study: str) -> dict[str, int]:
        """How often each kind of event happened in a study."""
        query = select(EventRow.kind, func.count()).where(EventRow.study == study).group_by(EventRow.kind)
        return self.read(lambda session: {kind: count for kind, count in sorted(session.execute(query))})


def _refuse_another(row: StudyRow, wanted: Mapping[str, object]) -> None:
    differing = [key for key in IDENTITY if getattr(row, key) != wanted[key]]
    if differing:
        found = "; ".join(f"{key}: was {getattr(row, key)}, now {wanted[key]}" for key in differing)
        raise StoreError(f"study {row.name!r} exists and differs: rename it\n    found: {found}")
