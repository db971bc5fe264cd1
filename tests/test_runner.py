"""A study as it runs: totals, resume, constraints, duplicates, failures, pruning, an edited space, kills, Ctrl-C."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from archspec.errors import StoreError, StudyError
from archspec.results.tables import EvaluationRow, StudyRow
from archspec.search.processes import ForkServer
from archspec.search.runner import finished, open_store, urls_of
from archspec.search.runner import search as search_with
from archspec.search.study import Study
from archspec.search.suggest import SpaceExhausted
from studies import SPACE, Recorder, Terminal, check_invariants, optuna_trials, trials_of, wait_for, write_study

Search = Callable[[Study, Recorder], None]


@pytest.fixture
def search(server: ForkServer) -> Search:
    def run(study: Study, observer: Recorder) -> None:
        search_with(study, observer, server=server)

    return run


def test_a_study_runs_to_its_total_and_again_only_to_a_larger_one(tmp_path: Path, search: Search) -> None:
    study = write_study(tmp_path, "references=[dw_conv_nano]")
    watched = Recorder()
    search(study, watched)
    check_invariants(study, 6)
    assert watched.started == ["dw_conv_nano", *(f"trial {number}" for number in range(6))]
    again = Recorder()
    search(study, again)
    assert again.started == []
    search(write_study(tmp_path, "references=[dw_conv_nano]", "budget.trials=8"), again)
    check_invariants(study, 8)
    assert again.started == ["trial 6", "trial 7"]


def test_every_trial_keeps_the_constraints_and_has_its_provenance(tmp_path: Path, search: Search) -> None:
    study = write_study(tmp_path, "budget.trials=8")
    search(study, Recorder())
    for record in trials_of(study):
        assert record.cost["params"] <= 3000
        assert record.environment["threads"] == 1
        assert "archspec: 1" in record.spec
    with open_store(study) as store:
        assert store.get_study(study.name).trials == 8


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "gp"])
def test_no_sampler_runs_a_point_twice(tmp_path: Path, sampler: str, search: Search) -> None:
    study = write_study(tmp_path, f"sampler.name={sampler}", "recipe.epochs=1", "budget.trials=12")
    search(study, Recorder())
    check_invariants(study, 12)


def test_an_exhausted_space_says_so_and_keeps_what_was_found(tmp_path: Path, search: Search) -> None:
    one_axis = SPACE.replace("{choose: [8, 12, 16]}", "8").replace("{range: [1, 2]}", "1")
    study = write_study(tmp_path, "recipe.epochs=1", "budget.trials=50", space=one_axis)
    with pytest.raises(SpaceExhausted, match="no feasible point"):
        search(study, Recorder())
    found = trials_of(study)
    # A kernel of one tap is the same in every channel only when it is shared: 3 sizes times 2 kinds of sharing.
    assert len(found) == len({record.digest for record in found}) == 6


def test_a_space_without_a_feasible_point_says_so_before_any_training(tmp_path: Path, search: Search) -> None:
    study = write_study(tmp_path, space=SPACE.replace("params <= 3K", "params <= 100"))
    with pytest.raises(StudyError, match=r"no feasible point .*\n.*params <= 100: 100 %"):
        search(study, Recorder())
    assert not finished(study)


def test_what_another_study_evaluated_is_not_trained_again(tmp_path: Path, search: Search) -> None:
    storage = f"storage=sqlite:///{tmp_path / 'shared.db'}"
    one_axis = SPACE.replace("{choose: [8, 12, 16]}", "8").replace("{range: [1, 2]}", "1")
    first = write_study(tmp_path, storage, "recipe.epochs=1", "budget.trials=6", space=one_axis)
    search(first, Recorder())
    second = write_study(tmp_path, storage, "recipe.epochs=1", "budget.trials=6", "name=second", space=one_axis)
    watched = Recorder()
    search(second, watched)
    assert watched.started == []
    assert all(record.cached_from for record in trials_of(second))
    assert sorted(r.values["accuracy"] for r in trials_of(second)) == sorted(
        r.values["accuracy"] for r in trials_of(first)
    )


def test_failures_are_recorded_with_their_cause_and_end_a_hopeless_study(tmp_path: Path, search: Search) -> None:
    study = write_study(tmp_path, "recipe.lr=1e30", "budget.trials=20")
    with pytest.raises(StudyError, match=r"the last 8 trials failed.*diverged"):
        search(study, Recorder())
    records = trials_of(study)
    assert [record.cause for record in records] == ["diverged"] * 8
    assert all("epoch 1" in record.message for record in records), records[0].message
    check_invariants(study, 8)


@pytest.mark.parametrize("pruner", ["median", "successive_halving", "hyperband"])
def test_trials_are_pruned_with_two_objectives(tmp_path: Path, pruner: str, search: Search) -> None:
    study = write_study(
        tmp_path, f"pruner={{name: {pruner}, startup: 2, warmup: 1}}", "recipe.epochs=6", "budget.trials=12"
    )
    search(study, Recorder())
    check_invariants(study, 12)
    states = {record.state for record in trials_of(study)}
    assert states == {"complete", "pruned"}


def test_a_study_with_another_seed_or_objective_under_the_same_name_is_refused(tmp_path: Path, search: Search) -> None:
    search(write_study(tmp_path, "budget.trials=1", "recipe.epochs=1"), Recorder())
    for change in ("seed=1", "objectives=[{maximise: accuracy}]"):
        with pytest.raises(StoreError, match="exists and differs"):
            search(write_study(tmp_path, "budget.trials=1", "recipe.epochs=1", change), Recorder())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("recipe.epochs=2", "recipe.epochs: 1 there, 2 here"),
        ("data.train=48", "data.train: 64 there, 48 here"),
        ("recipe.eval_batch=16", None),
    ],
)
def test_results_of_two_recipes_are_not_mixed(tmp_path: Path, change: str, found: str | None, search: Search) -> None:
    search(write_study(tmp_path, "budget.trials=1", "recipe.epochs=1"), Recorder())
    study = write_study(tmp_path, "budget.trials=2", "recipe.epochs=1", change)
    if found is None:
        search(study, Recorder())
    else:
        with pytest.raises(StudyError, match=rf"'small' was begun with other data or another recipe(.|\n)*{found}"):
            search(study, Recorder())
    assert len(trials_of(study)) == (2 if found is None else 1)


def test_what_another_study_stopped_early_is_trained_here(tmp_path: Path, search: Search) -> None:
    one_axis = SPACE.replace("{choose: [8, 12, 16]}", "8").replace("{range: [1, 2]}", "1")
    shared = (f"storage=sqlite:///{tmp_path / 'shared.db'}", "budget.trials=6")
    halving = "pruner={name: successive_halving, reduction: 2}"
    first = write_study(tmp_path, *shared, halving, space=one_axis)
    search(first, Recorder())
    stopped = {record.digest for record in trials_of(first) if record.state == "pruned"}
    assert stopped
    second = write_study(tmp_path, *shared, "name=second", space=one_axis)
    search(second, Recorder())
    found = trials_of(second)
    assert {record.state for record in found} == {"complete"}
    assert {record.digest for record in found if record.cached_from is None} == stopped


@pytest.mark.parametrize("written", ["postgres://me:secret@host/db", "postgresql://me:secret@host/db"])
def test_both_books_are_told_one_url_with_its_driver(tmp_path: Path, written: str) -> None:
    urls = urls_of(write_study(tmp_path, f"storage={written}"))
    assert urls.store == urls.optuna == "postgresql+psycopg://me:secret@host/db"


def test_storage_may_be_the_path_of_a_file(tmp_path: Path, search: Search) -> None:
    study = write_study(tmp_path, f"storage={tmp_path / 'all.db'}", "budget.trials=1", "recipe.epochs=1")
    search(study, Recorder())
    check_invariants(study, 1)
    assert (tmp_path / "all.db").exists()


def test_a_wide_range_of_which_hardly_a_point_is_feasible_is_searched(tmp_path: Path, search: Search) -> None:
    """Three widths of 64 choices, of which only the smallest few keep the constraint: no draw finds them."""
    stages = ", ".join(["{width: {range: [8, 512], step: 8}, depth: 1, block: dw}"] * 3)
    wide = SPACE.replace(
        "stages:\n    - {width: {choose: [8, 12, 16]}, depth: {range: [1, 2]}, block: dw}", f"stages: [{stages}]"
    )
    wide = wide.replace("params <= 3K", "params <= 8K").replace(
        "stem: {patch: 4, norm: layer}", "stem: {patch: 1}\n  downsample: {merge: 2}"
    )
    study = write_study(tmp_path, "sampler.name=random", "recipe.epochs=1", "budget.trials=3", space=wide)
    search(study, Recorder())
    check_invariants(study, 3)
    assert all(record.cost["params"] <= 8000 for record in trials_of(study))


def epochs_recorded(study: Study) -> int:
    try:
        return sum(len(record.curve) for record in trials_of(study))
    except StoreError:
        return 0


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments_a_study_ends_as_if_it_never_was(
    tmp_path: Path, seed: int, search: Search, server: ForkServer
) -> None:
    """kill -9 three times, each after a random number of further epochs and a random part of one."""
    study = write_study(tmp_path, "recipe.epochs=4")
    rng = random.Random(seed)
    for _ in range(3):
        goal = epochs_recorded(study) + rng.randint(1, 5)
        running = Terminal(server, tmp_path, "recipe.epochs=4")
        wait_for(
            lambda goal=goal, running=running: epochs_recorded(study) >= goal or running.process.poll() is not None
        )
        time.sleep(rng.random() * 0.1)
        running.process.send_signal(signal.SIGKILL)
        running.end()
    finished = Terminal(server, tmp_path, "recipe.epochs=4")
    errors = finished.end()
    assert finished.process.returncode == 0, errors
    check_invariants(study, 6)
    # A killed run trains to the same result, bit for bit.
    alone = write_study(tmp_path, "recipe.epochs=4", "name=alone", f"output={tmp_path / 'alone'}", "budget.trials=1")
    search(alone, Recorder())
    first = trials_of(alone)[0]
    same = next(record for record in trials_of(study) if record.digest == first.digest)
    assert [epoch.val_loss for epoch in same.curve] == [epoch.val_loss for epoch in first.curve]


def test_a_ctrl_c_is_told_and_resumed(tmp_path: Path, search: Search, server: ForkServer) -> None:
    study = write_study(tmp_path, "recipe.epochs=40", "budget.trials=2")
    running = Terminal(server, tmp_path, "recipe.epochs=40", "budget.trials=2")
    wait_for(lambda: epochs_recorded(study) > 3)
    running.process.send_signal(signal.SIGINT)
    errors = running.end()
    assert running.process.returncode == 130
    assert "Traceback" not in errors
    assert "the same command goes on" in errors
    watched = Recorder()
    search(study, watched)
    check_invariants(study, 2)


@pytest.mark.postgresql
def test_a_study_on_postgresql_is_killed_and_resumed(
    tmp_path: Path, postgresql_url: str, search: Search, server: ForkServer
) -> None:
    name = f"postgres{tmp_path.name.replace('-', '_')}"
    changes = (f"storage={postgresql_url}", f"name={name}", "recipe.epochs=4", "budget.trials=4")
    study = write_study(tmp_path, *changes)
    running = Terminal(server, tmp_path, *changes)
    wait_for(lambda: epochs_recorded(study) >= 5)
    running.process.kill()
    running.end()
    search(study, Recorder())
    check_invariants(study, 4)


def test_constraints_hold_at_the_size_that_the_space_writes(tmp_path: Path, search: Search) -> None:
    """Trained at half the size, a point has about a quarter of the multiply-adds that its constraint is about."""
    bounded = SPACE.replace("params <= 3K", "macs in [20K, 60K]")
    study = write_study(tmp_path, "data.size=8", "recipe.epochs=1", "budget.trials=3", space=bounded)
    search(study, Recorder())
    assert all(4_000 < record.cost["macs"] < 20_000 for record in trials_of(study))


def test_a_space_that_cannot_stand_at_the_size_of_the_data_says_why(tmp_path: Path, search: Search) -> None:
    inside = SPACE.replace("{sliding: {choose: [1, 3, 5]}}", "{sliding: {size: {choose: [3, 4]}, padding: none}}")
    inside = inside.replace("residual:\n          - norm", "sequence:\n          - norm")
    study = write_study(tmp_path, "data.size=8", space=inside)
    with pytest.raises(StudyError, match=r"no feasible point at 8x8 pixels(.|\n)*must fit into the map"):
        search(study, Recorder())


def test_networks_are_timed_on_the_device(tmp_path: Path, search: Search) -> None:
    """With a sampler that learns from times, and rungs, at which there are none yet."""
    objectives = "objectives=[{minimise: latency}, {maximise: accuracy}, {maximise: throughput}]"
    halving = "pruner={name: successive_halving, reduction: 3}"
    changes = (objectives, halving, "sampler.startup=4", "recipe.epochs=4")
    study = write_study(tmp_path, *changes, "budget.trials=8")
    search(study, Recorder())
    records = trials_of(study)
    assert {record.state for record in records} == {"complete", "pruned"}
    for record in records:
        # A batch of 16 takes longer than an image, and less than 16 of them one after the other.
        assert 1 / 16 < record.values["latency"] * record.values["throughput"] / 16 < 16
    told = {trial.number: trial.values for trial in optuna_trials(study)}
    for record in records:
        if record.state == "complete":
            assert told[record.trial or 0] == [record.values[name] for name in ("latency", "accuracy", "throughput")]
    with open_store(study) as store, store.engine.begin() as connection:
        environment = {"device": "cpu", "processor": "Intel 8086", "threads": 1}
        connection.execute(update(StudyRow).values(environment=environment))
        connection.execute(update(EvaluationRow).values(protocol="of that machine"))
    with pytest.raises(StudyError, match=r"machine\.processor: Intel 8086 there, "):
        search(write_study(tmp_path, *changes, "budget.trials=9"), Recorder())
