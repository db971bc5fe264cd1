"""Who may write an evaluation: claims go in, leases come out, and every write names the lease it is made under.

A lease is a token and an end by the database's clock. A claim is one conditional UPDATE that takes what is free and
raises the token; renewing, recording and finishing hold only for the token of the last claim. So an evaluation may be
attempted several times and is recorded once, however long a worker slept. Optuna's own heartbeats do not do this: they
fail the trial of a slow worker and leave it to run on (tried with Optuna 5.0).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Float, Update, cast, func, or_, select, update
from sqlalchemy.orm import Session

from archspec.errors import StoreError
from archspec.results import rows
from archspec.results.records import (
    AttemptRecord,
    Cause,
    EpochRecord,
    EvaluationRecord,
    EvaluationRequest,
    Exit,
    Gene,
    StudyRecord,
)
from archspec.results.store import Store
from archspec.results.tables import AttemptRow, EvaluationRow, ProposerRow, StudyRow, TrialRow

Row = TypeVar("Row", EvaluationRow, ProposerRow)

_JULIAN_1970 = 2440587.5  # 1970-01-01 00:00 UTC as a Julian day number
RECLAIMS = 50  # so often an evaluation is begun again after its worker was lost


class LeaseLost(StoreError):
    """Another worker has the evaluation: what this one did is to be thrown away."""


@dataclass(frozen=True)
class Lease:
    """The right to write one evaluation, until another worker claims it."""

    evaluation: str
    token: int


@dataclass(frozen=True)
class Turn:
    """The right to propose the next trial of a study."""

    study: str
    token: int


def database_clock(session: Session) -> ColumnElement[float]:
    """Seconds since 1970 by the database's clock: the only clock that all workers share."""
    if session.get_bind().dialect.name == "postgresql":
        return cast(func.extract("epoch", func.clock_timestamp()), Float(53))
    return (func.julianday("now") - _JULIAN_1970) * 86400.0


class Leases:
    """The claims of one worker on a store.

    Args:
        store: the database of results.
        owner: a uuid of the worker, never used before.
        place: host and process, for people.
        seconds: how long a lease lasts without renewal.
    """

    def __init__(self, store: Store, owner: str, place: str, seconds: float) -> None:
        self.store, self.owner, self.place, self.seconds = store, owner, place, seconds

    # --- the turn to propose

    def take_turn(self, study: str) -> Turn | None:
        """The turn to propose, or None while another worker has it."""

        def taken(session: Session) -> bool:
            busy = select(ProposerRow.token).where(ProposerRow.study == study, ~self._free(session, ProposerRow))
            return session.scalar(busy) is not None

        def write(session: Session) -> Turn | None:
            rows.put(session, ProposerRow, {"study": study, "token": 0})
            free = self._free(session, ProposerRow), ProposerRow.study == study
            mine: dict[str, Any] = {"owner": self.owner, "place": self.place, "token": ProposerRow.token + 1}
            mine["lease_until"] = self._end(session)
            token = session.scalar(update(ProposerRow).where(*free).values(mine).returning(ProposerRow.token))
            return None if token is None else Turn(study, token)

        # Those who wait only look: they leave the lock of the database to those who work.
        return None if self.store.read(taken) else self.store.write(write)

    def end_turn(self, turn: Turn) -> None:
        """Let the next worker propose; a turn that was lost is no longer ours to end."""
        ended = _of_turn(turn).values(owner=None, lease_until=None)
        self.store.write(lambda session: session.execute(ended))

    def propose(self, turn: Turn, request: EvaluationRequest) -> tuple[EvaluationRecord, Lease | None]:
        """Ask for an evaluation in one's turn, see `Store.start_evaluation`, and claim it if it is free.

        Raises:
            LeaseLost: another worker has the turn: nothing was written.
        """

        def write(session: Session) -> tuple[EvaluationRecord, Lease | None]:
            self.hold(session, turn)
            record = rows.start(session, request)
            return record, None if record.is_finished else self._claim(session, record)

        return self.store.write(write)

    def hold(self, session: Session, turn: Turn) -> None:
        """Lock the turn to the end of the transaction. Raises LeaseLost."""
        if not _changes(session, _of_turn(turn).values(token=turn.token)):
            raise LeaseLost(f"another worker proposes for study {turn.study!r}")

    def edit_space(self, turn: Turn, study: StudyRecord, params: Mapping[int, Mapping[str, Gene]]) -> None:
        """Give a study its new space, and trials their values of its genes, in one's turn. Raises LeaseLost."""
        values = rows.study_values(study)
        names = ("space", "space_digest", "axes", "genes", "constraints", "generation", "study", "trials")

        def write(session: Session) -> None:
            self.hold(session, turn)
            changed = {name: values[name] for name in names}
            session.execute(update(StudyRow).where(StudyRow.name == study.name).values(changed))
            for number, genes in params.items():
                one = TrialRow.study == study.name, TrialRow.number == number
                session.execute(update(TrialRow).where(*one).values(params=dict(genes)))

        self.store.write(write)

    # --- evaluations

    def claim(self, record: EvaluationRecord) -> Lease | None:
        """The lease of an evaluation on behalf of a trial, or None: it is finished, or another worker has it."""
        return self.store.write(lambda session: self._claim(session, record))

    def renew(self, *held: Lease | Turn) -> tuple[Lease | Turn, ...]:
        """Put the end of the leases off; those that were lost come back."""

        def write(session: Session) -> tuple[Lease | Turn, ...]:
            end = self._end(session)
            changed = [(each, _of(each).values(lease_until=end)) for each in held]
            return tuple(each for each, statement in changed if not _changes(session, statement))

        return self.store.write(write) if held else ()

    def record_epoch(self, lease: Lease, epoch: EpochRecord, checkpoint: str | None = None) -> None:
        """Record one epoch; one trained again replaces the old. Raises LeaseLost."""
        changes = {} if checkpoint is None else {"checkpoint": checkpoint}

        def write(session: Session) -> None:
            # The update locks the row, so that no claim comes between it and the insert.
            if not _changes(session, _of(lease).values(starts=lease.token, **changes)):
                raise _lost(lease)
            rows.put_epoch(session, lease.evaluation, epoch)

        self.store.write(write)

    def finish(
        self,
        lease: Lease,
        cause: Cause,
        *,
        values: Mapping[str, float] | None = None,
        message: str = "",
        seconds: float | None = None,
    ) -> None:
        """Record the outcome. Doing it twice under one lease changes nothing.

        Raises:
            LeaseLost: another worker has claimed the evaluation: its outcome counts, not this one.
        """
        changes = rows.outcome(cause, values or {}, message) | {"seconds": seconds, "owner": None, "lease_until": None}

        def write(session: Session) -> None:
            if _changes(session, _of(lease).values(changes)):
                self._end_attempt(session, lease, cause, message)
                return
            # A commit whose answer was lost is tried again: then the outcome is there, under the same token.
            row = session.get(EvaluationRow, lease.evaluation)
            if row is None or row.starts != lease.token or row.state == "running":
                raise _lost(lease)

        self.store.write(write)

    def release(self, lease: Lease, exit_: Exit, message: str = "") -> None:
        """Give an evaluation back without an outcome, for any worker to claim; nothing when it was lost."""

        def write(session: Session) -> None:
            if _changes(session, _of(lease).values(owner=None, lease_until=None)):
                self._end_attempt(session, lease, exit_, message)

        self.store.write(write)

    def attempts(self, evaluation: str) -> tuple[AttemptRecord, ...]:
        """All attempts of an evaluation, oldest first."""
        return self.store.attempts(evaluation)

    def expire(self, owner: str) -> None:
        """End everything that a worker known to be dead had: others need not wait for its leases to run out."""

        def write(session: Session) -> None:
            for table in (EvaluationRow, ProposerRow):
                session.execute(update(table).where(table.owner == owner).values(lease_until=0.0))

        self.store.write(write)

    # --- statements

    def _end(self, session: Session) -> ColumnElement[float]:
        return database_clock(session) + self.seconds

    def _free(self, session: Session, table: type[Row]) -> ColumnElement[bool]:
        # What is our own already was claimed by a commit whose answer was lost.
        return or_(table.lease_until.is_(None), table.lease_until < database_clock(session), table.owner == self.owner)

    def _claim(self, session: Session, record: EvaluationRecord) -> Lease | None:
        free = EvaluationRow.uuid == record.uuid, EvaluationRow.state == "running", self._free(session, EvaluationRow)
        taken = {"starts": EvaluationRow.starts + 1, "owner": self.owner, "lease_until": self._end(session)}
        token = session.scalar(update(EvaluationRow).where(*free).values(taken).returning(EvaluationRow.starts))
        if token is None:
            return None
        now = datetime.now(UTC)
        open_ = AttemptRow.evaluation == record.uuid, AttemptRow.exit.is_(None)
        session.execute(update(AttemptRow).where(*open_).values(ended=now, exit="lost"))
        begun: dict[str, Any] = {"evaluation": record.uuid, "token": token, "owner": self.owner, "place": self.place}
        rows.put(session, AttemptRow, begun | {"started": now, "message": ""})
        _own(session, record)
        return Lease(record.uuid, token)

    @staticmethod
    def _end_attempt(session: Session, lease: Lease, exit_: Exit, message: str) -> None:
        this = AttemptRow.evaluation == lease.evaluation, AttemptRow.token == lease.token
        ended = {"ended": datetime.now(UTC), "exit": exit_, "message": message.replace("\0", "")}
        session.execute(update(AttemptRow).where(*this).values(ended))


def _own(session: Session, record: EvaluationRecord) -> None:
    """The trial that claims an evaluation owns it; others that asked for it get the result."""
    askers = session.scalars(select(TrialRow).where(TrialRow.evaluation == record.uuid)).all()
    for row in askers:
        row.owns = (row.study, row.number, row.reference) == (record.study, record.trial, record.reference)
    session.flush()


def _of(held: Lease | Turn) -> Update:
    return _of_turn(held) if isinstance(held, Turn) else _of_lease(held)


def _of_lease(lease: Lease) -> Update:
    mine = EvaluationRow.uuid == lease.evaluation, EvaluationRow.starts == lease.token
    # A lease that its worker gave back, or that ended with the evaluation, is nobody's.
    return update(EvaluationRow).where(*mine, EvaluationRow.state == "running", EvaluationRow.owner.is_not(None))


def _of_turn(turn: Turn) -> Update:
    mine = ProposerRow.study == turn.study, ProposerRow.token == turn.token
    return update(ProposerRow).where(*mine, ProposerRow.owner.is_not(None))


def _changes(session: Session, statement: Update) -> bool:
    found: Any = session.execute(statement.execution_options(synchronize_session=False))
    return bool(found.rowcount == 1)


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"another worker has the evaluation\n    found: {lease.evaluation}, token {lease.token}")
