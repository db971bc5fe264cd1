"""A database goes in; it has our tables of this version when it comes out: made, upgraded, or refused.

One function an older version, which adds what that version lacks. All run in the transaction that holds the lock of the
schema, so that a kill in its midst leaves the older tables whole.
"""

from collections.abc import Callable

from sqlalchemy import Connection, Engine, func, insert, inspect, select, text, update
from sqlalchemy.schema import CreateColumn

from archspec.errors import StoreError
from archspec.results.tables import (
    SCHEMA_VERSION,
    AttemptRow,
    Base,
    EvaluationRow,
    ProposerRow,
    SchemaRow,
    StudyRow,
)

_CREATION_LOCK = 2106_04263  # a PostgreSQL advisory lock: the paper's arXiv number


def _add(connection: Connection, table: type[Base], *names: str) -> None:
    for name in names:
        column = Base.metadata.tables[table.__tablename__].c[name]
        # CreateColumn writes the type and the default of the dialect; there are no placeholders in this statement.
        written = CreateColumn(column).compile(dialect=connection.dialect)
        connection.execute(text(f"ALTER TABLE {table.__tablename__} ADD COLUMN {written}"))


def _from_1(connection: Connection) -> None:
    """Version 1 knew one process a study: no leases, no attempts, no edited spaces."""
    _add(connection, StudyRow, "genes", "constraints", "generation")
    _add(connection, EvaluationRow, "owner", "lease_until")
    new = (AttemptRow, ProposerRow)
    Base.metadata.create_all(connection, tables=[Base.metadata.tables[table.__tablename__] for table in new])


UPGRADES: dict[int, Callable[[Connection], None]] = {1: _from_1}


def prepare(engine: Engine, create: bool) -> None:
    """Make our tables under a lock when there are none, upgrade older ones, and refuse those of another version.

    Raises:
        StoreError: no tables and not to be created, or tables of another schema version.
    """
    # On SQLite the transaction itself is the lock (BEGIN IMMEDIATE, see engine.py).
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_CREATION_LOCK)))
        found = set(inspect(connection).get_table_names())
        if not any(name.startswith("archspec_") for name in found):
            if not create:
                raise StoreError("no archspec results in this database\n    found: no table named archspec_*")
            Base.metadata.create_all(connection)
            connection.execute(insert(SchemaRow).values(version=SCHEMA_VERSION))
            found.add(SchemaRow.__tablename__)
        known = SchemaRow.__tablename__ in found
        version = connection.scalar(select(SchemaRow.version)) if known else None
        while version in UPGRADES:
            UPGRADES[version](connection)
            version += 1
            connection.execute(update(SchemaRow).values(version=version))
    if version != SCHEMA_VERSION:
        raise StoreError(_version_message(version))


def _version_message(version: int | None) -> str:
    if version is None:
        advice = "the version row is missing: the database was not made by archspec, or not to the end"
    elif version > SCHEMA_VERSION:
        advice = "it was written by a newer archspec: upgrade this one"
    else:
        advice = "it was written by an older archspec: start a new database, or read it with that version"
    return f"results have schema version {version}, this archspec reads {SCHEMA_VERSION}\n    found: {advice}"
