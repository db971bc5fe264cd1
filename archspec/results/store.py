"""A study's results go in as they happen, frozen records come out: every query on our tables is here.

Every write is one short transaction, idempotent by unique keys, and tried again a bounded number of times
when the database is busy or a connection is lost. A finished evaluation never changes: the first outcome
stands.
"""

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Engine, func, select, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from archspec.errors import StoreError
from archspec.results import rows
from archspec.results.engine import READ_ONLY, database_url, open_engine, retry, sqlite_path
from archspec.results.records import (
    Cause,
    EpochRecord,
    EvaluationRecord,
    EvaluationRequest,
    StudyRecord,
)
from archspec.results.tables import EpochRow, EvaluationRow, EventRow, StudyRow, TrialRow

Result = TypeVar("Result")

# What makes two studies of one name the same study. The YAML, the total number of trials and the rest may
# change.
IDENTITY = ("space_digest", "seed", "objectives")


class Store:
    """The results of studies in one database. One engine per process, made when first needed; picklable."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine: Engine | None = None
        self._process = -1

    @classmethod
    def open(cls, url: str, create: bool = True) -> "Store":
        """Open the database, making our tables when there are none and `create` is true.

        Raises:
            StoreError: unreachable, without results, of another schema version, or SQLite on a network
            filesystem.
        """
        store = cls(url)
        path = sqlite_path(database_url(url))
        if path is not None and not create and not path.exists():
            raise StoreError(f"no results: the file does not exist\n    found: {path}")
        if path is not None and create:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"the folder of the database cannot be made: {error}") from error
        try:
            store._guard(lambda: rows.prepare(store.engine, create))
        except StoreError:
            store.close()
            raise
        return store

    @property
    def engine(self) -> Engine:
        """This process's engine. After a fork the parent's connections are dropped without being closed."""
        if self._engine is not None and self._process != os.getpid():
            self._engine.dispose(close=False)
            self._engine = None
        if self._engine is None:
            self._engine, self._process = open_engine(self.url), os.getpid()
        return self._engine

    def close(self) -> None:
        """Close all connections of this process; the store opens again when used."""
        if self._engine is not None:
            self._engine.dispose(close=self._process == os.getpid())
            self._engine = None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, object]:
        return {"url": self.url, "_engine": None, "_process": -1}

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
            differing = [key for key in IDENTITY if getattr(row, key) != wanted[key]]
            if differing:
                found = "; ".join(f"{key}: was {getattr(row, key)}, now {wanted[key]}" for key in differing)
                raise StoreError(f"study {study.name!r} exists and differs: rename it\n    found: {found}")
            row.study, row.trials = study.study, study.trials
            return rows.study_record(row)

        return self._write(write)

    def get_study(self, name: str) -> StudyRecord:
        """The study of that name.

        Raises:
            StoreError: there is none; the message names the nearest.
        """
        return self._read(lambda session: rows.study_record(rows.study_row(session, name)))

    def studies(self) -> tuple[StudyRecord, ...]:
        """All studies, oldest first."""
        query = select(StudyRow).order_by(StudyRow.created, StudyRow.name)
        return self._read(lambda session: tuple(rows.study_record(row) for row in session.scalars(query)))

    # --- evaluations

    def start_evaluation(self, request: EvaluationRequest) -> EvaluationRecord:
        """Ask for an evaluation on behalf of a trial or a reference point. Idempotent per study and trial.

        The answer says what to do: `state` running and `cached_from` None: train it (from its checkpoint,
        when there is one); finished: use its outcome; running and `cached_from` set: that other trial is
        training it.

        Raises:
            StoreError: unknown study, or the trial asked before for another architecture, protocol or seed.
        """
        return self._write(lambda session: rows.start(session, request))

    def take_over(self, record: EvaluationRecord) -> EvaluationRecord:
        """Make a cached, still running evaluation this trial's own: its first owner is known to be gone.

        Only the caller can know that. If the owner still lives, both train and the first outcome stands.

        Raises:
            StoreError: the evaluation is finished: there is nothing left to train.
        """
        return self._write(lambda session: rows.take_over(session, record))

    def find_evaluation(self, digest: str, protocol: str, seed: int) -> EvaluationRecord | None:
        """The evaluation of an architecture under a protocol with a seed, in any study, or None."""
        key = EvaluationRow.digest == digest, EvaluationRow.protocol == protocol, EvaluationRow.seed == seed

        def read(session: Session) -> EvaluationRecord | None:
            query = select(TrialRow).join(EvaluationRow, TrialRow.evaluation == EvaluationRow.uuid)
            row = session.scalar(query.where(*key, TrialRow.owns))
            return None if row is None else rows.evaluation_records(session, [row])[0]

        return self._read(read)

    def record_epoch(self, evaluation: str, epoch: EpochRecord, checkpoint: str | None = None) -> None:
        """Record one epoch and the checkpoint written after it; an epoch trained again replaces the old.

        Raises:
            StoreError: the evaluation (a uuid) is unknown or already finished.
        """
        changes = {"state": "running"} | ({} if checkpoint is None else {"checkpoint": checkpoint})
        running = EvaluationRow.uuid == evaluation, EvaluationRow.state == "running"

        def write(session: Session) -> None:
            # The update locks the row, so that no finish comes between it and the insert.
            locked = update(EvaluationRow).where(*running).values(changes).returning(EvaluationRow.uuid)
            if session.scalar(locked) is None:
                raise StoreError(f"the evaluation is not running\n    found: {evaluation}, epoch {epoch.epoch}")
            values = asdict(epoch) | {"evaluation": evaluation}
            rows.put(session, EpochRow, values, keys=("evaluation", "epoch"), replace=True)

        self._write(write)

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
        return self._write(lambda session: rows.finish(session, evaluation, changes))

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

        return self._read(read)

    # --- events

    def record_event(
        self, study: str, kind: str, trial: int | None = None, detail: Mapping[str, object] | None = None
    ) -> None:
        """Count something that was not trained, say a suggestion that was `duplicate` or `infeasible`."""
        values: dict[str, object] = {"uuid": str(uuid.uuid4()), "study": study, "kind": kind, "trial": trial}
        values |= {"detail": dict(detail or {}), "at": datetime.now(UTC)}

        def write(session: Session) -> None:
            rows.study_row(session, study)
            rows.put(session, EventRow, values)

        self._write(write)

    def count_events(self, study: str) -> dict[str, int]:
        """How often each kind of event happened in a study."""
        query = select(EventRow.kind, func.count()).where(EventRow.study == study).group_by(EventRow.kind)
        return self._read(lambda session: {kind: count for kind, count in sorted(session.execute(query))})

    # --- transactions

    def _write(self, action: Callable[[Session], Result]) -> Result:
        def attempt() -> Result:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                return action(session)

        return self._guard(attempt)

    def _read(self, action: Callable[[Session], Result]) -> Result:
        def attempt() -> Result:
            with Session(self.engine.execution_options(**{READ_ONLY: True})) as session:
                return action(session)

        return self._guard(attempt)

    def _guard(self, action: Callable[[], Result]) -> Result:
        try:
            return retry(action, DBAPIError)
        except SQLAlchemyError as error:
            name = database_url(self.url).render_as_string(hide_password=True)
            reason = str(error.orig if isinstance(error, DBAPIError) else error).strip()
            raise StoreError(f"the database of results failed: {reason}\n    found: {name}") from error
