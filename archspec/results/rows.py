"""An open session goes in, rows are found and made, frozen records come out: the store's statements."""

import hashlib
import math
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from archspec.errors import StoreError, nearest
from archspec.results.records import (
    STATE_OF_CAUSE,
    AttemptRecord,
    Cause,
    EpochRecord,
    EvaluationRecord,
    EvaluationRequest,
    Objective,
    StudyRecord,
)
from archspec.results.tables import (
    AttemptRow,
    EpochRow,
    EvaluationRow,
    StudyRow,
    TrialRow,
)

# The same statement, INSERT ... ON CONFLICT, in the dialects of both databases.
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_OF_ONE_STUDY = "+"
# Columns of an evaluation's row that its record takes as they are.
_SAME = (
    *(
        "uuid",
        "digest",
        "protocol",
        "seed",
        "spec",
        "cost",
        "state",
        "cause",
        "message",
        "started",
        "finished",
    ),
    *("seconds", "starts", "checkpoint", "environment"),
)


def put(
    session: Session, table: Any, values: Mapping[str, Any], keys: Sequence[str] = (), replace: bool = False
) -> None:
    """Insert a row; where one of the same keys exists, leave it or replace its other columns."""
    statement = _INSERT[session.get_bind().dialect.name](table).values(values)
    if replace:
        others = {name: statement.excluded[name] for name in values if name not in keys}
        session.execute(statement.on_conflict_do_update(index_elements=list(keys), set_=others))
    else:
        session.execute(statement.on_conflict_do_nothing())


def study_row(session: Session, name: str) -> StudyRow:
    """The row of a study.

    Raises:
        StoreError: there is none; the message names the nearest.
    """
    row = session.get(StudyRow, name)
    if row is None:
        names = session.scalars(select(StudyRow.name).order_by(StudyRow.name)).all()
        near = ", ".join(nearest(name, names) or names[:5]) or "none: the database holds no study yet"
        raise StoreError(f"no study of this name\n    found: {name!r}\n    nearest: {near}")
    return row


def study_values(study: StudyRecord) -> dict[str, Any]:
    """The columns of a study's row."""
    values = {field.name: getattr(study, field.name) for field in fields(StudyRecord)}
    for name in ("sampler", "data", "recipe", "axes", "environment", "genes"):
        values[name] = dict(values[name])
    values["objectives"] = [asdict(objective) for objective in study.objectives]
    values["constraints"] = list(study.constraints)
    values["created"] = study.created or datetime.now(UTC)
    return values


def study_record(row: StudyRow) -> StudyRecord:
    """The record of a study's row."""
    values = {field.name: getattr(row, field.name) for field in fields(StudyRecord)}
    values["objectives"] = tuple(Objective(**objective) for objective in row.objectives)
    values["constraints"] = tuple(row.constraints)
    return StudyRecord(**values)


def start(session: Session, request: EvaluationRequest) -> EvaluationRecord:
    """Find or make the evaluation that a trial asks for; see `Store.start_evaluation`."""
    if (request.trial is None) == (request.reference is None):
        raise StoreError("a request names either a trial or a reference point, not both and not neither")
    study_row(session, request.study)
    own = {"study": request.study, "number": request.trial, "reference": request.reference}
    row = session.scalar(select(TrialRow).filter_by(**own))
    if row is None:
        _make(session, request, own)
        row = session.scalars(select(TrialRow).filter_by(**own)).one()
    record = evaluation_records(session, [row])[0]
    begun = {"architecture": record.digest, "protocol": shared_protocol(record.protocol), "seed": record.seed}
    asked = {"architecture": request.digest, "protocol": request.protocol, "seed": request.seed}
    apart = [name for name in begun if begun[name] != asked[name]]
    if apart:
        raise StoreError(
            f"{record.name} of study {record.study!r} was started with another {' and '.join(apart)}"
            f"\n    found: {', '.join(str(asked[name]) for name in apart)}"
            f"\n    nearest: {', '.join(str(begun[name]) for name in apart)}"
        )
    return record


def _make(session: Session, request: EvaluationRequest, own: Mapping[str, Any]) -> None:
    key = {"digest": request.digest, "protocol": request.protocol, "seed": request.seed}
    if not _answers(session.scalar(select(EvaluationRow).filter_by(**key)), session, request):
        study = hashlib.sha256(request.study.encode()).hexdigest()[:8]
        key["protocol"] = f"{request.protocol}{_OF_ONE_STUDY}{study}"
    now, identity = datetime.now(UTC), str(uuid.uuid4())
    new = key | {"uuid": identity, "spec": request.spec, "cost": dict(request.cost), "state": "running"}
    new |= {
        "environment": dict(request.environment),
        "message": "",
        "measured": {},
        "started": now,
        "starts": 0,
    }
    put(session, EvaluationRow, new)
    found = session.scalars(select(EvaluationRow.uuid).filter_by(**key)).one()
    trial = {**own, "uuid": str(uuid.uuid4())}
    trial |= {"evaluation": found, "owns": found == identity, "params": dict(request.params), "asked": now}
    put(session, TrialRow, trial)


def _answers(row: EvaluationRow | None, session: Session, request: EvaluationRequest) -> bool:
    """Whether the evaluation that there is, if there is one, is what the request asks for.

    What was stopped early or failed says as much of the study that ran it (its pruner, its limits, its device) as of
    the network: it answers nobody else, and no named point, which is trained to its end.
    """
    if row is None or row.state in ("running", "complete"):
        return True
    own = select(TrialRow.uuid).where(TrialRow.evaluation == row.uuid, TrialRow.study == request.study)
    to_the_end = row.state == "pruned" and request.reference is not None
    return not to_the_end and session.scalar(own.limit(1)) is not None


def shared_protocol(protocol: str) -> str:
    """The protocol of an evaluation, also of one that is of one study alone."""
    return protocol.partition(_OF_ONE_STUDY)[0]


def put_epoch(session: Session, evaluation: str, epoch: EpochRecord) -> None:
    """Write one epoch of a curve; one trained again replaces the old."""
    values = asdict(epoch) | {"evaluation": evaluation}
    put(session, EpochRow, values, keys=("evaluation", "epoch"), replace=True)


def attempt_records(session: Session, evaluation: str) -> tuple[AttemptRecord, ...]:
    """The attempts of an evaluation, oldest first."""
    query = select(AttemptRow).where(AttemptRow.evaluation == evaluation).order_by(AttemptRow.token)
    names = [field.name for field in fields(AttemptRecord)]
    return tuple(AttemptRecord(**{name: getattr(row, name) for name in names}) for row in session.scalars(query))


def outcome(cause: Cause, values: Mapping[str, float], message: str) -> dict[str, Any]:
    """The columns that say how an evaluation ended.

    Raises:
        StoreError: unknown cause, or a value that is not finite.
    """
    if cause not in STATE_OF_CAUSE:
        raise StoreError(f"unknown cause: {cause!r}\n    nearest: {', '.join(STATE_OF_CAUSE)}")
    if not all(math.isfinite(value) for value in values.values()):
        raise StoreError(f"objective values must be finite\n    found: {dict(values)}")
    clean = message.replace("\0", "")  # PostgreSQL keeps no NUL, and messages come from anywhere
    ended = {"state": STATE_OF_CAUSE[cause], "cause": cause, "message": clean, "measured": dict(values)}
    return ended | {"finished": datetime.now(UTC)}


def finish(session: Session, evaluation: str, changes: Mapping[str, Any]) -> EvaluationRecord:
    """Write the outcome of an evaluation unless it has one, and return what stands."""
    running = EvaluationRow.uuid == evaluation, EvaluationRow.state == "running", EvaluationRow.owner.is_(None)
    session.execute(update(EvaluationRow).where(*running).values(**changes))
    row = session.scalar(select(TrialRow).where(TrialRow.evaluation == evaluation, TrialRow.owns))
    if row is None:
        raise StoreError(f"no such evaluation\n    found: {evaluation}")
    return evaluation_records(session, [row])[0]


def evaluation_records(session: Session, trials: Iterable[TrialRow]) -> list[EvaluationRecord]:
    """The records of trials, in their order, in three queries however many there are."""
    trials = list(trials)
    wanted = {row.evaluation for row in trials}
    found = {row.uuid: row for row in _by_evaluation(session, EvaluationRow, EvaluationRow.uuid, wanted)}
    curves: dict[str, list[EpochRecord]] = defaultdict(list)
    epochs = _by_evaluation(session, EpochRow, EpochRow.evaluation, wanted)
    for row in sorted(epochs, key=lambda row: row.epoch):
        values = {field.name: getattr(row, field.name) for field in fields(EpochRecord)}
        curves[row.evaluation].append(EpochRecord(**values))
    cached = {row.evaluation for row in trials if not row.owns}
    askers = _by_evaluation(session, TrialRow, TrialRow.evaluation, cached)
    owners = {row.evaluation: row for row in askers if row.owns}
    keys = [(row, row.evaluation) for row in trials]
    return [_evaluation_record(row, found[key], owners.get(key), tuple(curves[key])) for row, key in keys]


def _by_evaluation(session: Session, table: Any, column: Any, wanted: Iterable[str]) -> list[Any]:
    # In portions: a statement takes a limited number of parameters (SQLite 32,766, PostgreSQL 65,535).
    names = sorted(wanted)
    portions = (names[start : start + 1000] for start in range(0, len(names), 1000))
    return [row for portion in portions for row in session.scalars(select(table).where(column.in_(portion)))]


def _evaluation_record(
    trial: TrialRow, row: EvaluationRow, owner: TrialRow | None, curve: tuple[EpochRecord, ...]
) -> EvaluationRecord:
    values: dict[str, Any] = {name: getattr(row, name) for name in _SAME}
    cached_from = None
    if owner is not None and not trial.owns:
        cached_from = f"{owner.study}: {owner.reference if owner.number is None else f'trial {owner.number}'}"
    return EvaluationRecord(
        study=trial.study,
        trial=trial.number,
        reference=trial.reference,
        params=trial.params,
        values=row.measured,
        cached_from=cached_from,
        curve=curve,
        **values,
    )
