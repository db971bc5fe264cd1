"""How databases are opened: URLs, locks, tuning, filesystems and trying again."""

import sqlite3
from pathlib import Path

import optuna
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from archspec.errors import StoreError
from archspec.results import engine as engines
from archspec.results.engine import database_url, filesystem_of, open_engine, retry, tune_sqlite
from archspec.results.store import Store


def test_sqlite_is_tuned(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a.db")
    assert tune_sqlite(engine) is engine
    with engine.connect() as connection:
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        ]
    assert values == ["wal", 1, 60_000, 1]
    engine.dispose()


def test_a_transaction_owns_the_write_lock_from_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "BUSY_MILLISECONDS", 50)
    engine = open_engine(f"sqlite:///{tmp_path}/a.db")
    reading = engine.execution_options(**{engines.READ_ONLY: True})
    with engine.begin() as first:
        first.exec_driver_sql("CREATE TABLE a (b INTEGER)")
    with engine.begin() as first:
        first.exec_driver_sql("SELECT * FROM a")  # only reads, yet nobody else may write
        with pytest.raises(OperationalError, match="locked"), engine.begin():
            pass
        with reading.begin() as second:
            assert second.scalar(select(func.count()).select_from(text("a"))) == 0
    engine.dispose()


def test_tuning_an_engine_in_use_replaces_its_connections(tmp_path: Path) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/optuna.db")
    tune_sqlite(storage.engine)
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    storage.engine.dispose()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgres://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql+psycopg2://u@h/d", "postgresql+psycopg://u@h/d"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("runs/a.db", "sqlite:///runs/a.db"),
    ],
)
def test_urls(given: str, expected: str) -> None:
    assert database_url(given).render_as_string() == expected


@pytest.mark.parametrize("given", ["mysql://u@h/d", "://", "redis://x", "sqlite+aiosqlite:///a"])
def test_other_urls_are_refused(given: str) -> None:
    with pytest.raises(StoreError):
        Store.open(given)


def test_unreachable_databases_say_so_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open("postgresql://someone:secret@127.0.0.1:9/none?connect_timeout=1")
    assert "secret" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="folder of the database"):
        Store.open(f"sqlite:///{tmp_path}/file/below/a.db")
    (tmp_path / "no.db").write_text("this is not a database, it is a text file that is long enough" * 20)
    with pytest.raises(StoreError, match="not a database"):
        Store.open(str(tmp_path / "no.db"))


def test_network_filesystems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x {tmp_path}/with\\040space nfs4 rw 0 0\n")
    assert filesystem_of(tmp_path / "with space" / "deep" / "a.db", mounts) == "nfs4"
    assert filesystem_of(tmp_path / "elsewhere.db", mounts) == "ext4"
    assert filesystem_of(tmp_path, tmp_path / "missing") == ""
    monkeypatch.setattr(engines, "filesystem_of", lambda path: filesystem_of(path, mounts))
    with pytest.raises(StoreError, match=r"network filesystem(.|\n)*nfs4(.|\n)*postgresql://"):
        open_engine(f"sqlite:///{tmp_path}/with space/a.db")


def test_retry_is_bounded_and_only_for_transient_errors() -> None:
    calls: list[int] = []

    def fail_until(success: int) -> int:
        calls.append(1)
        if len(calls) < success:
            raise sqlite3.OperationalError("database is locked")
        return len(calls)

    assert retry(lambda: fail_until(3), sqlite3.OperationalError) == 3
    calls.clear()
    with pytest.raises(sqlite3.OperationalError):
        retry(lambda: fail_until(99), sqlite3.OperationalError)
    assert len(calls) == engines.TRIES
    calls.clear()
    with pytest.raises(sqlite3.OperationalError):
        retry(lambda: fail_until(2), ValueError)
    assert len(calls) == 1
