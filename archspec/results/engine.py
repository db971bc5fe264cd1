"""A database URL goes in, a SQLAlchemy engine comes out that several processes can write.

SQLite is opened as a queue needs it: write-ahead log, one writer at a
time taken at the start of a transaction. PostgreSQL is spoken to through psycopg 3. Nothing here knows our
tables.
"""

import itertools
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from archspec.errors import StoreError

Result = TypeVar("Result")

BUSY_MILLISECONDS = 60_000
TRIES = 5
LONGEST_WAIT = 2.0  # seconds between two tries
# Waiting times need no seed: they change when a row is written, never what is written.
_jitter = random.SystemRandom()

# The write-ahead log shares memory between processes, which these cannot do between hosts
# (https://sqlite.org/wal.html, "All processes using a database must be on the same host computer").
NETWORK_FILESYSTEMS = (
    *(
        "nfs",
        "nfs3",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "afs",
        "ceph",
        "lustre",
        "gpfs",
        "beegfs",
    ),
    *(
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.gcsfuse",
        "fuse.s3fs",
        "fuse.rclone",
        "fuse.juicefs",
    ),
)
READ_ONLY = "archspec_read_only"  # execution option: begin without taking SQLite's write lock


def database_url(text: str) -> URL:
    """The URL with its driver written out; text without a scheme is the path of a SQLite file.

    SQLAlchemy 2.0 and 2.1 understand a bare `postgresql://` differently, so the driver is always named here.

    Raises:
        StoreError: the text is no URL, or names a database other than SQLite and PostgreSQL.
    """
    if "://" not in text:
        return URL.create("sqlite", database=text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise StoreError(f"not a database URL: {text!r} ({error})") from error
    backend = url.drivername.split("+")[0]
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        return url
    raise StoreError(
        f"results are stored in SQLite or PostgreSQL\n    found: {url.drivername}"
        "\n    nearest: sqlite:///results.db, postgresql://user@host/database"
    )


def open_engine(text: str) -> Engine:
    """An engine for one process; make it after a fork, never before.

    Raises:
        StoreError: not a URL of SQLite or PostgreSQL, or a SQLite file on a network filesystem.
    """
    url = database_url(text)
    if url.get_backend_name() == "sqlite":
        path = sqlite_path(url)
        if path is not None:
            _refuse_network_filesystem(path)
        return tune_sqlite(create_engine(url))
    try:
        # A worker writes one row at a time: a small pool leaves connections for the other workers.
        return create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=2)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise StoreError(f"PostgreSQL needs psycopg 3: pip install 'psycopg[binary]' ({error})") from error


def tune_sqlite(engine: Engine) -> Engine:
    """Make a SQLite engine (ours or Optuna's) safe for several writing processes; others are left alone.

    SQLite ignores `SELECT ... FOR UPDATE`, so a transaction that reads and then writes must own the write
    lock from its start: otherwise two workers pop the same queued trial (Optuna 5.0: 75 starts of 60). Idempotent;
    returns the engine. An Optuna RDBStorage that is pickled makes a new engine and must be tuned again.
    """
    if engine.dialect.name != "sqlite" or event.contains(engine, "connect", _on_connect):
        return engine
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    engine.dispose()  # connections made before the listeners would keep the old behaviour
    return engine


def _on_connect(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # sqlite3 must not begin transactions itself
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA journal_mode")
    if cursor.fetchone() not in (("wal",), ("memory",)):
        # Changing the mode needs an exclusive lock for which SQLite does not wait busy_timeout.
        retry(lambda: cursor.execute("PRAGMA journal_mode=WAL"), sqlite3.OperationalError)
    cursor.close()


def _on_begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def retry(
    action: Callable[[], Result], *transient: type[Exception], waits: Callable[[float], bool] = lambda seconds: False
) -> Result:
    """The action's result; a transient error is answered by trying again with growing waits.

    At least five times, and as long as `waits`, asked with the seconds since the first try, says so: a database that is
    restarted is away for some. The action must be idempotent: who loses a connection cannot tell whether the commit
    arrived.
    """
    began = time.monotonic()
    for attempt in itertools.count():
        try:
            return action()
        except transient as error:
            if not is_transient(error) or (attempt >= TRIES - 1 and not waits(time.monotonic() - began)):
                raise
        time.sleep(min(0.05 * 2**attempt, LONGEST_WAIT) * (0.5 + _jitter.random()))
    raise AssertionError("unreachable: the count has no end")


def is_transient(error: Exception) -> bool:
    """Whether trying again may help: the database is busy, away or full."""
    if isinstance(error, DBAPIError):
        return (isinstance(error, OperationalError) and not _is_permanent(error)) or error.connection_invalidated
    return True


def _is_permanent(error: OperationalError) -> bool:
    # SQLite says with one class that a table is missing and that the database is busy.
    return isinstance(error.orig, sqlite3.Error) and str(error.orig).startswith(("no such", "near "))


def sqlite_path(url: URL) -> Path | None:
    """The file of a SQLite URL; None for a database in memory or any other database."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name == ":memory:" or name.startswith("file:"):
        return None
    return Path(name)


def _refuse_network_filesystem(path: Path) -> None:
    kind = filesystem_of(path)
    if kind in NETWORK_FILESYSTEMS:
        raise StoreError(
            f"SQLite cannot be shared safely on a network filesystem\n    found: {path} on {kind}"
            "\n    nearest: a local path, or postgresql://user@host/database"
        )


def filesystem_of(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of the filesystem that holds the path, as Linux names it; empty where that is not known."""
    try:
        rows = [line.split(" ") for line in mounts.read_text().splitlines()]
    except OSError:
        return ""
    target = path.resolve()
    # Later rows cover earlier ones; a deeper mount point wins over a shallower one.
    found = ("", 0)
    for row in rows:
        point = Path(row[1].replace("\\040", " "))
        if target.is_relative_to(point) and len(point.parts) >= found[1]:
            found = (row[2], len(point.parts))
    return found[0]
