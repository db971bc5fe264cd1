"""Leases, tokens and turns on real SQLite and PostgreSQL: who lost them changes nothing, whatever it still believes."""

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.synchronize import Barrier

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from store_requests import STUDY, ask

from archspec.results.leases import Lease, LeaseLost, Leases, database_clock
from archspec.results.records import EpochRecord, EvaluationRecord
from archspec.results.status import StudyStatus
from archspec.results.store import Store
from archspec.results.tables import EvaluationRow, ProposerRow


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        opened.save_study(STUDY)
        yield opened


def worker(store: Store, name: str, seconds: float = 60) -> Leases:
    return Leases(store, name, f"process of {name}", seconds)


def run_out(store: Store) -> None:
    """Every lease is over by the clock of the database."""
    with Session(store.engine) as session, session.begin():
        past = database_clock(session) - 1.0
        for table in (EvaluationRow, ProposerRow):
            session.execute(update(table).where(table.owner.is_not(None)).values(lease_until=past))


def exits(store: Store, record: EvaluationRecord) -> list[tuple[int, str, str | None]]:
    return [(attempt.token, attempt.owner, attempt.exit) for attempt in store.attempts(record.uuid)]


def test_one_worker_has_an_evaluation_until_its_lease_runs_out(store: Store) -> None:
    record = store.start_evaluation(ask())
    first, second = worker(store, "a"), worker(store, "b")
    lease = first.claim(record)
    assert lease == Lease(record.uuid, 1)
    assert second.claim(record) is None
    assert StudyStatus(store, "first").free("b") == ()
    assert first.renew(lease) == ()
    run_out(store)
    assert [free.uuid for free in StudyStatus(store, "first").free("b")] == [record.uuid]
    assert second.claim(record) == Lease(record.uuid, 2)
    assert first.renew(lease) == (lease,)
    assert exits(store, record) == [(1, "a", "lost"), (2, "b", None)]


def test_a_worker_that_slept_through_its_lease_changes_nothing(store: Store) -> None:
    record = store.start_evaluation(ask())
    slow, quick = worker(store, "slow"), worker(store, "quick")
    old = slow.claim(record)
    assert old is not None
    slow.record_epoch(old, EpochRecord(1, val_accuracy=0.1), "old.pt")
    run_out(store)
    new = quick.claim(record)
    assert new is not None
    quick.record_epoch(new, EpochRecord(1, val_accuracy=0.2), "new.pt")
    for late in (
        lambda: slow.record_epoch(old, EpochRecord(1, val_accuracy=0.9), "late.pt"),
        lambda: slow.finish(old, "ok", values={"accuracy": 0.9}),
    ):
        with pytest.raises(LeaseLost, match="another worker has the evaluation"):
            late()
    slow.release(old, "released")
    assert store.evaluations("first")[0].state == "running"
    assert exits(store, record)[1] == (2, "quick", None)
    quick.finish(new, "ok", values={"accuracy": 0.2})
    with pytest.raises(LeaseLost):
        slow.finish(old, "diverged")
    done = store.evaluations("first")[0]
    assert (done.values, done.checkpoint, done.curve) == (
        {"accuracy": 0.2},
        "new.pt",
        (EpochRecord(1, None, None, 0.2),),
    )


def test_a_commit_whose_answer_was_lost_can_be_tried_again(store: Store) -> None:
    record = store.start_evaluation(ask())
    leases = worker(store, "a")
    assert leases.claim(record) == Lease(record.uuid, 1)
    lease = leases.claim(record)  # the same worker did not hear of its first claim
    assert lease == Lease(record.uuid, 2)
    for _ in range(2):
        leases.finish(lease, "ok", values={"accuracy": 0.5})
    assert exits(store, record) == [(1, "a", "lost"), (2, "a", "ok")]
    assert leases.claim(record) is None


def test_what_was_given_back_is_free_at_once(store: Store) -> None:
    record = store.start_evaluation(ask())
    first, second = worker(store, "a"), worker(store, "b")
    lease = first.claim(record)
    assert lease is not None
    first.release(lease, "out_of_memory", "no room")
    with pytest.raises(LeaseLost):
        first.record_epoch(lease, EpochRecord(1))
    assert second.claim(record) == Lease(record.uuid, 2)
    assert StudyStatus(store, "first").exits() == {"out_of_memory": 1}


def test_what_a_dead_worker_had_is_free_at_once_when_somebody_knows(store: Store) -> None:
    record = store.start_evaluation(ask())
    dead, other = worker(store, "dead"), worker(store, "other")
    assert dead.claim(record) is not None
    assert dead.take_turn("first") is not None
    assert other.take_turn("first") is None
    other.expire("dead")
    assert other.claim(record) is not None
    assert other.take_turn("first") is not None


def test_nothing_is_recorded_without_the_lease_of_a_worker_that_has_one(store: Store) -> None:
    record = store.start_evaluation(ask())
    lease = worker(store, "a").claim(record)
    assert lease is not None
    with pytest.raises(Exception, match="not running"):
        store.record_epoch(record.uuid, EpochRecord(1))
    assert store.finish_evaluation(record.uuid, "ok", values={"accuracy": 1.0}).state == "running"


def test_only_the_worker_whose_turn_it_is_proposes(store: Store) -> None:
    slow, quick = worker(store, "slow"), worker(store, "quick")
    old = slow.take_turn("first")
    assert old is not None
    assert quick.take_turn("first") is None
    run_out(store)
    new = quick.take_turn("first")
    assert new is not None
    with pytest.raises(LeaseLost, match="another worker proposes"):
        slow.propose(old, ask(0))
    record, lease = quick.propose(new, ask(0))
    assert lease == Lease(record.uuid, 1)
    slow.end_turn(old)
    assert slow.take_turn("first") is None
    quick.end_turn(new)
    assert slow.take_turn("first") is not None
    assert [record.trial for record in store.evaluations("first")] == [0]


def test_a_trial_that_claims_what_another_study_began_owns_it(store: Store) -> None:
    store.save_study(replace(STUDY, name="second"))
    first = store.start_evaluation(ask(3, digest="same"))
    waiting = store.start_evaluation(ask(0, study="second", digest="same"))
    assert waiting.cached_from == "first: trial 3"
    lease = worker(store, "a").claim(waiting)
    assert lease is not None
    assert store.evaluations("second")[0].cached_from is None
    assert store.evaluations("first")[0].cached_from == "second: trial 0"
    worker(store, "a").finish(lease, "ok", values={"accuracy": 0.5})
    assert store.find_evaluation("same", "protocol-1", 0) == store.evaluations("second")[0]
    assert first.uuid == waiting.uuid


def _propose(url: str, name: str, budget: int, ready: Barrier) -> None:
    with Store.open(url) as store:
        leases, status = worker(store, name), StudyStatus(store, "first")
        ready.wait()
        while True:
            turn = leases.take_turn("first")
            if turn is None:
                time.sleep(0.002)
                continue
            number = status.trials()
            if number < budget:
                leases.propose(turn, ask(number))
            leases.end_turn(turn)
            if number >= budget:
                return


def test_four_processes_allot_each_trial_once_up_to_the_budget(store: Store) -> None:
    budget, context = 40, multiprocessing.get_context("spawn")
    ready = context.Barrier(4)
    workers = [context.Process(target=_propose, args=(store.url, str(n), budget, ready)) for n in range(4)]
    for process in workers:
        process.start()
    for process in workers:
        process.join(60)
    assert [process.exitcode for process in workers] == [0] * 4
    assert [record.trial for record in store.evaluations("first")] == list(range(budget))
    with Session(store.engine) as session:
        assert session.scalar(select(ProposerRow.token)) >= budget
    owners = {store.attempts(record.uuid)[0].owner for record in store.evaluations("first")}
    assert len(owners) > 1
