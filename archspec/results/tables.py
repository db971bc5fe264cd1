"""The tables of results as SQLAlchemy classes: names, types and keys, no queries.

Everything is prefixed `archspec_`, so that the tables live beside Optuna's in one database or in another
one. No foreign key points at Optuna's tables: on PostgreSQL one would make `optuna.delete_study` silently
delete nothing (tried with Optuna 5.0).

    archspec_studies 1 ── n archspec_trials n ── 1 archspec_evaluations 1 ── n archspec_epochs
                     1 ── n archspec_events                             1 ── n archspec_attempts
                     1 ── 1 archspec_proposers

An evaluation is work: one architecture trained under one protocol with one seed, unique. A trial (or a named
reference point) asks for an evaluation; several may share one, and then it was trained only once.

A running evaluation is leased to one worker at a time. `starts` counts the claims and is the fencing token: whoever
writes names the token it was given, and a worker that slept through its lease changes nothing when it wakes up. The end
of a lease is in seconds of the database's clock, so that no worker's clock matters.
"""

import math
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = 2

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """Aware times, kept in UTC: SQLite forgets the zone, PostgreSQL answers in the session's."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone cannot be stored: {value}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class FiniteFloat(TypeDecorator[float]):
    """NaN and infinities become NULL: SQLite would do so silently for NaN, PostgreSQL would not."""

    impl = Float(53)
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        return None if value is None or not math.isfinite(value) else float(value)


Json = JSON().with_variant(JSONB(), "postgresql")
Mapping = dict[str, Any]


class Base(DeclarativeBase):
    """The metadata of our tables only; Optuna's are never mapped."""

    metadata = MetaData(naming_convention=_NAMES)


class SchemaRow(Base):
    """One row: the version of these tables."""

    __tablename__ = "archspec_schema"
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)


class StudyRow(Base):
    """One study and its provenance."""

    __tablename__ = "archspec_studies"
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    space: Mapped[str] = mapped_column(Text)
    study: Mapped[str] = mapped_column(Text)
    space_digest: Mapped[str] = mapped_column(String(80))
    seed: Mapped[int] = mapped_column(BigInteger)
    objectives: Mapped[list[Mapping]] = mapped_column(Json)
    sampler: Mapped[Mapping] = mapped_column(Json)
    trials: Mapped[int | None] = mapped_column(Integer)
    data: Mapped[Mapping] = mapped_column(Json)
    recipe: Mapped[Mapping] = mapped_column(Json)
    axes: Mapped[Mapping] = mapped_column(Json)
    archspec_version: Mapped[str] = mapped_column(String(80))
    environment: Mapped[Mapping] = mapped_column(Json)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    genes: Mapped[Mapping] = mapped_column(Json, server_default="{}")
    constraints: Mapped[list[str]] = mapped_column(Json, server_default="[]")
    generation: Mapped[int] = mapped_column(Integer, server_default="0")


class EvaluationRow(Base):
    """One training: an architecture under a protocol with a seed. `cause` is NULL while it runs."""

    __tablename__ = "archspec_evaluations"
    __table_args__ = (UniqueConstraint("digest", "protocol", "seed"),)
    uuid: Mapped[str] = mapped_column(String(36), primary_key=True)
    digest: Mapped[str] = mapped_column(String(80))
    protocol: Mapped[str] = mapped_column(String(80))
    seed: Mapped[int] = mapped_column(BigInteger)
    spec: Mapped[str] = mapped_column(Text)
    cost: Mapped[Mapping] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(20))
    cause: Mapped[str | None] = mapped_column(String(20))
    message: Mapped[str] = mapped_column(Text, default="")
    measured: Mapped[Mapping] = mapped_column(Json)
    started: Mapped[datetime] = mapped_column(UtcDateTime)
    finished: Mapped[datetime | None] = mapped_column(UtcDateTime)
    seconds: Mapped[float | None] = mapped_column(FiniteFloat)
    starts: Mapped[int] = mapped_column(Integer)
    checkpoint: Mapped[str | None] = mapped_column(Text)
    environment: Mapped[Mapping] = mapped_column(Json)
    owner: Mapped[str | None] = mapped_column(String(36))
    lease_until: Mapped[float | None] = mapped_column(Float(53))


class TrialRow(Base):
    """Who asked for an evaluation. `owns`: it began the training; otherwise the result is a cached one."""

    __tablename__ = "archspec_trials"
    __table_args__ = (
        UniqueConstraint("study", "number"),
        UniqueConstraint("study", "reference"),
        CheckConstraint("(number IS NULL) <> (reference IS NULL)", name="number_or_reference"),
    )
    uuid: Mapped[str] = mapped_column(String(36), primary_key=True)
    study: Mapped[str] = mapped_column(ForeignKey(StudyRow.name))
    number: Mapped[int | None] = mapped_column(Integer)
    reference: Mapped[str | None] = mapped_column(String(200))
    evaluation: Mapped[str] = mapped_column(ForeignKey(EvaluationRow.uuid), index=True)
    owns: Mapped[bool]
    params: Mapped[Mapping] = mapped_column(Json)
    asked: Mapped[datetime] = mapped_column(UtcDateTime)


class AttemptRow(Base):
    """One claim of an evaluation and how it ended. `exit` is NULL while it lasts."""

    __tablename__ = "archspec_attempts"
    evaluation: Mapped[str] = mapped_column(ForeignKey(EvaluationRow.uuid), primary_key=True)
    token: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    owner: Mapped[str] = mapped_column(String(36))
    place: Mapped[str] = mapped_column(String(200))
    started: Mapped[datetime] = mapped_column(UtcDateTime)
    ended: Mapped[datetime | None] = mapped_column(UtcDateTime)
    exit: Mapped[str | None] = mapped_column(String(20))
    message: Mapped[str] = mapped_column(Text, default="")


class ProposerRow(Base):
    """Who may propose the next trial of a study: one worker at a time, so that none is proposed twice."""

    __tablename__ = "archspec_proposers"
    study: Mapped[str] = mapped_column(ForeignKey(StudyRow.name), primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(36))
    place: Mapped[str | None] = mapped_column(String(200))
    token: Mapped[int] = mapped_column(Integer)
    lease_until: Mapped[float | None] = mapped_column(Float(53))


class EpochRow(Base):
    """One point of a learning curve."""

    __tablename__ = "archspec_epochs"
    evaluation: Mapped[str] = mapped_column(ForeignKey(EvaluationRow.uuid), primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    train_loss: Mapped[float | None] = mapped_column(FiniteFloat)
    val_loss: Mapped[float | None] = mapped_column(FiniteFloat)
    val_accuracy: Mapped[float | None] = mapped_column(FiniteFloat)
    lr: Mapped[float | None] = mapped_column(FiniteFloat)
    seconds: Mapped[float | None] = mapped_column(FiniteFloat)


class EventRow(Base):
    """A suggestion that was not trained (`duplicate`, `infeasible`), or anything else worth counting."""

    __tablename__ = "archspec_events"
    uuid: Mapped[str] = mapped_column(String(36), primary_key=True)
    study: Mapped[str] = mapped_column(ForeignKey(StudyRow.name), index=True)
    kind: Mapped[str] = mapped_column(String(40))
    trial: Mapped[int | None] = mapped_column(Integer)
    detail: Mapped[Mapping] = mapped_column(Json)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
