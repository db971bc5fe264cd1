"""The database under the store: its schema, several processes writing, and Optuna beside it."""

import multiprocessing
import os
import pickle
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import Connection, create_engine, insert, inspect, make_url, select, update
from sqlalchemy.orm import Session
from store_requests import STUDY, ask

from archspec.errors import StoreError
from archspec.results import schema
from archspec.results.engine import database_url, tune_sqlite
from archspec.results.leases import Lease, Leases
from archspec.results.records import EpochRecord, StudyRecord
from archspec.results.store import Store
from archspec.results.tables import (
    SCHEMA_VERSION,
    Base,
    EpochRow,
    EvaluationRow,
    SchemaRow,
    StudyRow,
    TrialRow,
)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        opened.save_study(STUDY)
        yield opened


# --- the database


def test_every_name_is_ours_and_no_key_leaves(store: Store) -> None:
    inspector = inspect(store.engine)
    ours = set(Base.metadata.tables)
    assert set(inspector.get_table_names()) == ours
    assert all(name.startswith("archspec_") for name in ours)
    for name in ours:
        assert {key["referred_table"] for key in inspector.get_foreign_keys(name)} <= ours
        assert all(key["name"] for key in inspector.get_unique_constraints(name))


def test_the_database_itself_refuses_what_the_store_never_does(store: Store) -> None:
    store.start_evaluation(ask())
    with Session(store.engine) as session:
        row = session.scalars(select(EvaluationRow)).one()
        twin = {column.name: getattr(row, column.name) for column in EvaluationRow.__table__.columns}
    broken = [
        insert(EvaluationRow).values(twin | {"uuid": "other"}),  # the same digest, protocol and seed
        insert(EpochRow).values(evaluation="nobody", epoch=1),  # a foreign key to nothing
        update(TrialRow).values(reference="both"),  # a number and a reference
    ]
    for statement in broken:
        with (
            pytest.raises(Exception, match=r"(?i)unique|foreign|check") as caught,
            store.engine.begin() as connection,
        ):
            connection.execute(statement)
        assert "IntegrityError" in type(caught.value).__name__


def test_times_without_a_zone_are_refused_and_others_become_utc(store: Store) -> None:
    eastern = timezone(timedelta(hours=9))
    when = datetime(2026, 11, 21, 8, 0, tzinfo=eastern)
    store.save_study(replace(STUDY, name="east", created=when))
    created = store.get_study("east").created
    assert created == when
    assert created.tzinfo is UTC
    with pytest.raises(StoreError, match="without a zone"):
        store.save_study(replace(STUDY, name="naive", created=datetime(2026, 1, 1)))


@pytest.mark.parametrize(("version", "word"), [(SCHEMA_VERSION + 1, "newer"), (0, "older")])
def test_another_schema_version_is_refused(store: Store, version: int, word: str) -> None:
    with store.engine.begin() as connection:
        connection.execute(update(SchemaRow).values(version=version))
    with pytest.raises(StoreError, match=f"schema version {version}.*\n.*{word} archspec"):
        Store.open(store.url)


def _of_version_1(url: str) -> None:
    """Fill an empty database as archspec 0.1.0 left it: a study with a finished, a failed and a running trial."""
    kind = make_url(url).get_backend_name()
    statements = (Path(__file__).parent / "databases" / f"version_1.{kind}.sql").read_text()
    engine = create_engine(database_url(url))
    with engine.begin() as connection:
        driver: Any = connection.connection.driver_connection
        driver.executescript(statements) if kind == "sqlite" else driver.execute(statements)
    engine.dispose()


def test_a_database_of_version_1_is_upgraded_and_goes_on(url: str) -> None:
    _of_version_1(url)
    with Store.open(url, create=False) as store:
        assert [(r.trial, r.state, r.starts) for r in store.evaluations("first")] == [
            (0, "complete", 1), (1, "failed", 1), (2, "running", 1),
        ]  # fmt: skip
        assert store.get_study("first").generation == 0
        assert store.get_study("first").genes == {}
        running = store.evaluations("first")[2]
        leases = Leases(store, "me", "here", 60)
        lease = leases.claim(running)
        assert lease == Lease(running.uuid, 2)
        leases.finish(lease, "ok", values={"accuracy": 0.5})
        assert store.evaluations("first")[2].state == "complete"
        columns = {t: {c["name"] for c in inspect(store.engine).get_columns(t)} for t in Base.metadata.tables}
    assert columns == {name: {column.name for column in table.c} for name, table in Base.metadata.tables.items()}
    Store.open(url, create=False).close()


def test_an_upgrade_that_is_killed_leaves_the_old_version(url: str) -> None:
    _of_version_1(url)
    child = multiprocessing.get_context("spawn").Process(target=_die_while_upgrading, args=(url,))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    engine = create_engine(database_url(url))
    with engine.connect() as connection:
        assert connection.scalar(select(SchemaRow.version)) == 1
        assert "owner" not in {column["name"] for column in inspect(connection).get_columns("archspec_evaluations")}
    engine.dispose()
    Store.open(url, create=False).close()


def _die_while_upgrading(url: str) -> None:
    upgrade = schema.UPGRADES[1]

    def half(connection: Connection) -> None:
        upgrade(connection)
        os.kill(os.getpid(), signal.SIGKILL)

    schema.UPGRADES[1] = half
    Store.open(url, create=False)


def test_tables_without_a_version_are_refused(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(SchemaRow.__table__.delete())
    with pytest.raises(StoreError, match="version row is missing"):
        Store.open(store.url)


def test_an_empty_database_is_not_filled_unless_asked(url: str) -> None:
    with pytest.raises(StoreError, match=r"no results|no archspec results"):
        Store.open(url, create=False)
    if url.startswith("sqlite"):
        assert not Path(make_url(url).database or "").exists()
    Store.open(url).close()
    Store.open(url, create=False).close()


def test_the_store_is_picklable_and_reopens(store: Store) -> None:
    store.start_evaluation(ask())
    copy = pickle.loads(pickle.dumps(store))
    assert copy.evaluations("first") == store.evaluations("first")
    copy.close()
    assert len(copy.evaluations("first")) == 1
    copy.close()


def _in_child(store: Store, results: "multiprocessing.Queue[tuple[bool, int]]") -> None:
    engine = store._engine
    count = len(store.evaluations("first"))
    results.put((store._engine is engine, count))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_makes_its_own_engine(store: Store) -> None:
    store.start_evaluation(ask())
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[tuple[bool, int]] = context.Queue()
    child = context.Process(target=_in_child, args=(store, results))
    child.start()
    assert results.get(timeout=30) == (False, 1)
    child.join()
    assert len(store.evaluations("first")) == 1  # the parent's connection still works


def _work(url: str, worker: int, points: int, ready: "multiprocessing.Barrier") -> None:  # type: ignore[valid-type]
    ready.wait()  # type: ignore[attr-defined]
    with Store.open(url) as store:
        store.save_study(STUDY)
        for point in range(points):
            record = store.start_evaluation(ask(worker * points + point, digest=f"shared-{point}"))
            if record.cached_from is None:
                store.record_epoch(record.uuid, EpochRecord(1, val_accuracy=point / points))
                store.finish_evaluation(record.uuid, "ok", values={"accuracy": point / points}, message=str(worker))
            store.record_event("first", "duplicate", point)


def test_four_processes_on_an_empty_database_train_each_point_once(url: str) -> None:
    workers, points = 4, 10
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers)
    children = [context.Process(target=_work, args=(url, worker, points, ready)) for worker in range(workers)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0] * workers
    with Store.open(url, create=False) as store:
        records = store.evaluations("first")
        assert len(records) == workers * points
        assert len({record.uuid for record in records}) == points
        own = [record for record in records if record.cached_from is None]
        assert sorted(record.digest for record in own) == sorted(f"shared-{point}" for point in range(points))
        assert all(record.state == "complete" and len(record.curve) == 1 for record in records)
        assert store.count_events("first") == {"duplicate": workers * points}


def _die_in_transaction(url: str) -> None:
    store = Store.open(url)
    with Session(store.engine) as session, session.begin():
        session.execute(update(EvaluationRow).values(state="complete", cause="ok"))
        session.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_writer_killed_inside_a_transaction_leaves_nothing(store: Store) -> None:
    store.start_evaluation(ask())
    child = multiprocessing.get_context("spawn").Process(target=_die_in_transaction, args=(store.url,))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert store.evaluations("first")[0].state == "running"
    record = store.start_evaluation(ask())
    assert store.finish_evaluation(record.uuid, "ok", values={"accuracy": 1.0}).state == "complete"


def test_optuna_lives_in_the_same_database(store: Store) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(database_url(store.url).render_as_string(hide_password=False))
    tune_sqlite(storage.engine)
    study = optuna.create_study(storage=storage, study_name="first", sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(4):
        trial = study.ask()
        width = trial.suggest_categorical("width", [16, 32])
        record = store.start_evaluation(ask(trial.number, digest=f"width-{width}"))
        if not record.is_finished:
            record = store.finish_evaluation(record.uuid, "ok", values={"accuracy": width / 32})
        study.tell(trial, record.values["accuracy"])
    assert [trial.value for trial in study.trials] == [r.values["accuracy"] for r in store.evaluations("first")]
    optuna.delete_study(study_name="first", storage=storage)
    assert optuna.get_all_study_names(storage) == []
    assert len(store.evaluations("first")) == 4
    Store.open(store.url).close()  # Optuna's tables do not disturb the check of the schema
    again = optuna.storages.RDBStorage(database_url(store.url).render_as_string(hide_password=False))
    for used in (storage, again):
        used.remove_session()
        used.engine.dispose()


def test_names_of_columns_cover_the_record() -> None:
    assert {column.name for column in StudyRow.__table__.columns} == set(StudyRecord.__dataclass_fields__)
