"""A database URL goes in; transactions on our tables come out, tried again while the database is away.

Every write is one short transaction, idempotent by unique keys and tokens. One engine per process.
"""

import os
from collections.abc import Callable
from typing import Self, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from archspec.errors import StoreError
from archspec.results import schema
from archspec.results.engine import READ_ONLY, database_url, is_transient, open_engine, retry, sqlite_path

Result = TypeVar("Result")


class DatabaseAway(StoreError):
    """The database cannot be reached, or cannot write: what was asked for may succeed later."""


class Database:
    """Our tables in one database. One engine per process, made when first needed; picklable."""

    waits: Callable[[float], bool] = staticmethod(lambda seconds: False)
    """Whether a database that has been away for so many seconds is waited for; a few quick tries are always made."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine: Engine | None = None
        self._process = -1

    @classmethod
    def open(cls, url: str, create: bool = True) -> Self:
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
            store._guard(lambda: schema.prepare(store.engine, create))
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, object]:
        return {"url": self.url, "_engine": None, "_process": -1}

    # --- transactions

    def write(self, action: Callable[[Session], Result]) -> Result:
        """The action's result, in a transaction of its own. It may be run again, so it must be idempotent."""

        def attempt() -> Result:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                return action(session)

        return self._guard(attempt)

    def read(self, action: Callable[[Session], Result]) -> Result:
        """The action's result, without taking a lock of SQLite's."""

        def attempt() -> Result:
            with Session(self.engine.execution_options(**{READ_ONLY: True})) as session:
                return action(session)

        return self._guard(attempt)

    def _guard(self, action: Callable[[], Result]) -> Result:
        try:
            return retry(action, DBAPIError, waits=self.waits)
        except SQLAlchemyError as error:
            name = database_url(self.url).render_as_string(hide_password=True)
            reason = str(error.orig if isinstance(error, DBAPIError) else error).strip()
            kind = DatabaseAway if is_transient(error) else StoreError
            raise kind(f"the database of results failed: {reason}\n    found: {name}") from error
