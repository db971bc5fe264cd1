"""What the store promises, on real SQLite and PostgreSQL: studies, evaluations, events."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from store_requests import STUDY, ask

from archspec.errors import StoreError
from archspec.results.records import Cause, EpochRecord, Objective
from archspec.results.store import Store


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        opened.save_study(STUDY)
        yield opened


# --- studies


def test_study_round_trips(store: Store) -> None:
    before = datetime.now(UTC)
    record = store.get_study("first")
    assert record.created is not None
    assert record.created.tzinfo is UTC
    assert before - timedelta(minutes=1) < record.created <= before
    assert replace(record, created=None) == STUDY


def test_saving_an_equal_study_keeps_it_and_takes_the_new_budget(store: Store) -> None:
    first = store.get_study("first")
    again = store.save_study(replace(STUDY, trials=24, study="trials: 24"))
    assert again == replace(first, trials=24, study="trials: 24") == store.get_study("first")
    assert store.studies() == (again,)


@pytest.mark.parametrize(
    "changes",
    [{"space_digest": "space-2"}, {"seed": 5}, {"objectives": (Objective("accuracy", "minimise"),)}],
)
def test_saving_another_study_under_the_name_is_refused(store: Store, changes: dict[str, object]) -> None:
    with pytest.raises(StoreError, match=f"exists and differs(.|\n)*{next(iter(changes))}: was"):
        store.save_study(replace(STUDY, **changes))  # type: ignore[arg-type]
    assert replace(store.get_study("first"), created=None) == STUDY


def test_unknown_study_names_the_nearest(store: Store) -> None:
    for call in (store.get_study, store.evaluations):
        with pytest.raises(StoreError, match="nearest: first"):
            call("frist")
    with pytest.raises(StoreError, match="no study of this name"):
        store.start_evaluation(ask(study="second"))


# --- evaluations


def test_evaluation_from_start_to_finish(store: Store) -> None:
    request = ask()
    started = store.start_evaluation(request)
    assert (started.state, started.cause, started.starts, started.cached_from) == ("running", None, 0, None)
    for epoch in (2, 1):  # the curve comes back in order, whatever the order of writing
        store.record_epoch(started.uuid, EpochRecord(epoch, 1.0 / epoch, 1.5 / epoch, 0.25 * epoch, 1e-3, 12.5))
    store.record_epoch(started.uuid, EpochRecord(3), checkpoint="runs/first/0.pt")
    done = store.finish_evaluation(started.uuid, "ok", values={"accuracy": 0.5}, seconds=37.5, message="fine")
    assert store.evaluations("first") == (done,)
    assert (done.state, done.cause, done.values, done.seconds) == ("complete", "ok", {"accuracy": 0.5}, 37.5)
    assert done.checkpoint == "runs/first/0.pt"
    assert done.curve[1] == EpochRecord(2, 0.5, 0.75, 0.5, 1e-3, 12.5)
    assert [epoch.epoch for epoch in done.curve] == [1, 2, 3]
    assert (done.cost, done.params, done.environment) == (request.cost, request.params, request.environment)
    assert done.finished is not None
    assert done.finished >= done.started
    assert done.finished.utcoffset() == timedelta(0)
    assert done.measure("accuracy") == 0.5
    assert done.measure("params") == 28_288_354
    assert done.measure("x") is None


@pytest.mark.parametrize(
    ("cause", "state"),
    [
        ("ok", "complete"),
        ("pruned", "pruned"),
        ("diverged", "failed"),
        ("out_of_memory", "failed"),
        ("shape", "failed"),
        ("timeout", "failed"),
        ("killed", "failed"),
        ("data", "failed"),
        ("error", "failed"),
    ],
)
def test_the_cause_decides_the_state(store: Store, cause: str, state: str) -> None:
    started = store.start_evaluation(ask())
    assert store.finish_evaluation(started.uuid, cause, message="a\0b").state == state  # type: ignore[arg-type]


def test_asking_again_gives_the_same_evaluation(store: Store) -> None:
    first = store.start_evaluation(ask())
    store.record_epoch(first.uuid, EpochRecord(1, val_accuracy=0.1))
    again = store.start_evaluation(ask())
    assert again.uuid == first.uuid
    assert len(again.curve) == 1
    done = store.finish_evaluation(first.uuid, "ok", values={"accuracy": 0.1})
    assert store.start_evaluation(ask()) == done
    assert len(store.evaluations("first")) == 1


def test_an_epoch_trained_again_replaces_the_old_one(store: Store) -> None:
    uuid_ = store.start_evaluation(ask()).uuid
    store.record_epoch(uuid_, EpochRecord(1, val_accuracy=0.1, lr=1.0))
    store.record_epoch(uuid_, EpochRecord(1, val_accuracy=0.2))
    assert store.evaluations("first")[0].curve == (EpochRecord(1, val_accuracy=0.2),)


def test_a_finished_evaluation_never_changes(store: Store) -> None:
    uuid_ = store.start_evaluation(ask()).uuid
    store.record_epoch(uuid_, EpochRecord(1, val_accuracy=0.1))
    done = store.finish_evaluation(uuid_, "ok", values={"accuracy": 0.5}, seconds=1.0)
    assert store.finish_evaluation(uuid_, "diverged", message="late", checkpoint="late.pt") == done
    with pytest.raises(StoreError, match="not running"):
        store.record_epoch(uuid_, EpochRecord(1, val_accuracy=0.9))
    assert store.evaluations("first") == (done,)


def test_an_equal_point_is_never_trained_twice(store: Store) -> None:
    store.save_study(replace(STUDY, name="second"))
    first = store.start_evaluation(ask(3, digest="same"))
    waiting = store.start_evaluation(ask(4, digest="same", params={"space": "sliding"}))
    assert waiting.uuid == first.uuid
    assert waiting.state == "running"
    assert waiting.cached_from == "first: trial 3"
    done = store.finish_evaluation(first.uuid, "ok", values={"accuracy": 0.75})
    cached = store.start_evaluation(ask(None, study="second", reference="swin_nano", digest="same"))
    assert (cached.state, cached.values, cached.cached_from) == (
        "complete",
        {"accuracy": 0.75},
        "first: trial 3",
    )
    assert cached.name == "swin_nano"
    assert cached.trial is None
    assert store.find_evaluation("same", "protocol-1", 0) == done
    assert [record.cached_from for record in store.evaluations("first")] == [None, "first: trial 3"]
    assert store.evaluations("first")[1].params == {"space": "sliding"}
    assert store.evaluations("second") == (cached,)


@pytest.mark.parametrize("cause", ["pruned", "timeout"])
def test_what_did_not_come_to_its_end_answers_no_other_study(store: Store, cause: Cause) -> None:
    store.save_study(replace(STUDY, name="second"))
    first = store.start_evaluation(ask(3, digest="same"))
    store.finish_evaluation(first.uuid, cause)
    assert store.start_evaluation(ask(4, digest="same")).cached_from == "first: trial 3"
    again = ask(0, study="second", digest="same")
    own = store.start_evaluation(again)
    assert (own.uuid != first.uuid, own.state, own.cached_from) == (True, "running", None)
    assert store.start_evaluation(again).uuid == own.uuid
    store.finish_evaluation(own.uuid, "ok", values={"accuracy": 0.5})
    named = store.start_evaluation(ask(None, reference="swin_nano", digest="same"))
    # A named point is trained to its end, in the study of the trial that was not as well.
    assert (named.state, named.cached_from) == (
        ("running", None) if cause == "pruned" else ("failed", "first: trial 3")
    )


def test_another_protocol_or_seed_is_another_evaluation(store: Store) -> None:
    uuids = {
        store.start_evaluation(ask(trial, digest="same", protocol=protocol, seed=seed)).uuid
        for trial, (protocol, seed) in enumerate([("a", 0), ("a", 1), ("b", 0)])
    }
    assert len(uuids) == 3
    assert store.find_evaluation("same", "b", 1) is None


def test_a_trial_cannot_change_what_it_asked_for(store: Store) -> None:
    store.start_evaluation(ask())
    with pytest.raises(StoreError, match="trial 0 of study 'first' was started with another architecture"):
        store.start_evaluation(ask(0, digest="other"))
    with pytest.raises(StoreError, match="either a trial or a reference"):
        store.start_evaluation(ask(None))


def test_references_follow_trials_in_order(store: Store) -> None:
    for number in (10, 2):
        store.start_evaluation(ask(number))
    for name in ("mixer_nano", "dw_conv_nano"):
        store.start_evaluation(ask(None, reference=name, digest=name))
    names = [record.name for record in store.evaluations("first")]
    assert names == ["trial 2", "trial 10", "dw_conv_nano", "mixer_nano"]


def test_numbers_that_are_not_finite(store: Store) -> None:
    uuid_ = store.start_evaluation(ask()).uuid
    store.record_epoch(uuid_, EpochRecord(1, float("nan"), float("inf"), 0.0))
    assert store.evaluations("first")[0].curve == (EpochRecord(1, None, None, 0.0),)
    with pytest.raises(StoreError, match="must be finite"):
        store.finish_evaluation(uuid_, "ok", values={"accuracy": float("nan")})
    with pytest.raises(StoreError, match=r"nearest: .*diverged"):
        store.finish_evaluation(uuid_, "exploded")  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="no such evaluation"):
        store.finish_evaluation("nobody", "ok")
    assert store.evaluations("first")[0].state == "running"


def test_events_are_counted_per_study_and_kind(store: Store) -> None:
    store.save_study(replace(STUDY, name="second"))
    for trial in range(3):
        store.record_event("first", "duplicate", trial, {"digest": "abc"})
    store.record_event("first", "infeasible", detail={"params": 40_000_000})
    assert store.count_events("first") == {"duplicate": 3, "infeasible": 1}
    assert store.count_events("second") == {}
    with pytest.raises(StoreError):
        store.record_event("third", "duplicate")
