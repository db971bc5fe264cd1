"""Tables: written and read again, asked by studies, made from real trainings, killed and gone on with."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_table import synthetic_table

from archspec.errors import StoreError, StudyError
from archspec.results.records import EpochRecord
from archspec.search.data.config import DataConfig
from archspec.search.recipe import Recipe
from archspec.search.runner import open_store, search
from archspec.search.space import load_space
from archspec.search.study import Study, load_study
from archspec.search.table import Table, read_table, replay, write_table
from archspec.search.tabulate import Tabulation, enrol, tabulate
from studies import SPACE, Recorder

DATA = DataConfig(name="fractal", size=16, train=64, val=32, classes=4, seed=1)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHSPEC_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def space_file(folder: Path) -> Path:
    (folder / "space.yaml").write_text(SPACE)
    return folder / "space.yaml"


def small(folder: Path, **changes: object) -> Tabulation:
    recipe = Recipe(epochs=2, batch=16, lr=1e-3)
    asked = Tabulation(space_file(folder), DATA, recipe, 2, folder / "table.parquet", sample=4)
    return replace(asked, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return synthetic_table(load_space(space_file(tmp_path_factory.mktemp("space"))), seeds=3)


def test_a_table_comes_back_as_it_was_written(made: Table, tmp_path: Path) -> None:
    entries = (replace(made.entries[0], cause="diverged", message="at epoch 1", curve=()), *made.entries[1:])
    read = read_table(write_table(tmp_path / "t.parquet", made.facts, entries))
    assert read.entries == entries
    assert read.facts == made.facts
    assert read.digest == Table(made.facts, entries).digest != made.digest


def test_a_table_in_another_tool_has_plain_columns(made: Table, tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    found = parquet.read_table(write_table(tmp_path / "t.parquet", made.facts, made.entries)).to_pydict()
    assert set(found["gene.stages.0.width"]) == {8, 12, 16}
    assert found["cost.params"][0] == made.entries[0].cost["params"]
    assert len(found["val_accuracy"][0]) == 6


@pytest.mark.parametrize("content", [b"", b"PAR1 nothing of the kind", None])
def test_what_is_no_table_is_refused_in_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(StoreError, match=r"table"):
        read_table(tmp_path / "t.parquet")


def test_a_parquet_file_of_something_else_is_refused(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(StoreError, match="not a table of archspec"):
        read_table(tmp_path / "t.parquet")


def test_a_trial_gets_one_seed_of_its_point_always_the_same(made: Table) -> None:
    digest = made.entries[0].digest
    drawn = [made.answer(digest, 0, trial).seed for trial in range(60)]
    assert drawn == [made.answer(digest, 0, trial).seed for trial in range(60)]
    assert set(drawn) == {0, 1, 2}
    assert drawn != [made.answer(digest, 1, trial).seed for trial in range(60)]
    with pytest.raises(StoreError, match="no such point"):
        made.answer("0" * 64, 0, 0)


def test_a_replay_is_stopped_where_training_would_be(made: Table) -> None:
    entry, seen = made.entries[0], list[EpochRecord]()

    def until(last: int) -> tuple[str, dict[str, float], str]:
        seen.clear()
        return replay(entry, 6, lambda epoch: seen.append(epoch) or epoch.epoch < last)  # type: ignore[func-returns-value]

    assert until(3) == ("pruned", {"accuracy": entry.curve[2].val_accuracy, "val_loss": entry.curve[2].val_loss}, "")
    assert len(seen) == 3
    assert until(6)[0] == "ok"  # what ends at its last epoch is complete
    failed = replace(entry, cause="diverged", message="nan", curve=entry.curve[:2])
    assert replay(failed, 6, lambda _: True) == ("diverged", {}, "nan")
    assert replay(failed, 2, lambda _: True)[0] == "ok"  # a shorter study never met it


def test_points_are_trained_and_the_table_says_where_it_comes_from(tmp_path: Path) -> None:
    asked = small(tmp_path)
    path, found, wanted = tabulate(asked)
    assert (found, wanted) == (8, 8)
    table = read_table(path)
    assert {len(entries) for entries in table.by_digest.values()} == {2}
    assert all(len(entry.curve) == 2 and entry.cause == "ok" for entry in table.entries)
    assert all(entry.cost["params"] <= 3000 for entry in table.entries)
    one, other = table.by_digest[table.entries[0].digest]
    assert one.curve[0].train_loss != other.curve[0].train_loss
    facts = table.facts
    assert facts.space_text == SPACE
    assert facts.recipe["lr"] == 1e-3
    assert facts.sampled == 4 < facts.points
    assert facts.machines[0]["threads"] == 1
    assert not asked.parts.exists()


def test_points_of_a_table_may_begin_narrow(tmp_path: Path) -> None:
    recipe = Recipe.model_validate({"epochs": 2, "batch": 16, "rungs": [{"epochs": 1, "width": 0.5}]})
    table = read_table(tabulate(small(tmp_path, recipe=recipe))[0])
    assert {(entry.cause, entry.message) for entry in table.entries} == {("ok", "")}


def test_a_table_that_was_cut_short_goes_on_and_equals_one_that_was_not(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    tabulate(small(whole, seeds=1))
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests');"
        "from test_table import small; from archspec.search.tabulate import tabulate;"
        f"tabulate(small(Path({str(cut)!r}), seeds=1))"
    )
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], env=os.environ | {"PYTHONPATH": "."})
    parts = small(cut).parts
    while process.poll() is None and not list(parts.glob("*-0.json")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(list(parts.glob("*-0.json"))) < 4
    _, found, _ = tabulate(small(cut, seeds=1))
    assert found == 4

    def measured(folder: Path) -> list[tuple[str, list[float | None]]]:
        entries = read_table(folder / "table.parquet").entries
        return [(entry.digest, [epoch.val_loss for epoch in entry.curve]) for entry in entries]

    assert measured(cut) == measured(whole)


def test_a_deadline_leaves_a_table_of_what_is_there(tmp_path: Path) -> None:
    path, found, _ = tabulate(small(tmp_path, deadline=0.0))
    assert found == 0
    assert not path.exists()


def test_parts_of_another_table_are_not_mixed_in(tmp_path: Path) -> None:
    asked = small(tmp_path, deadline=0.0)
    tabulate(asked)
    with pytest.raises(StoreError, match=r"another table(.|\n)*recipe"):
        tabulate(replace(asked, recipe=asked.recipe.model_copy(update={"lr": 5e-3})))


def test_more_seeds_and_points_are_added_to_the_table_that_is_there(tmp_path: Path) -> None:
    asked = small(tmp_path, seeds=1, sample=2)
    tabulate(asked)
    first = read_table(asked.out).entries
    more = replace(asked, seeds=2, sample=3)
    assert tabulate(more)[1:] == (6, 6)
    table = read_table(asked.out)
    assert all(entry in table.entries for entry in first)  # not one of them trained again: seconds are equal too
    assert (len(table.entries), table.facts.sampled, table.facts.seeds) == (6, 3, 2)
    tabulate(asked)
    assert read_table(asked.out).entries == table.entries  # asking for less takes nothing away
    with pytest.raises(StoreError, match="another table"):
        tabulate(replace(asked, recipe=asked.recipe.model_copy(update={"lr": 5e-3})))


def asking(tmp_path: Path) -> tuple[Study, Table]:
    """A study that asks a table of SPACE, and the table."""
    space = load_space(space_file(tmp_path))
    table = synthetic_table(space, seeds=2)
    data, recipe = DataConfig(name="imagefolder", root="nowhere.tar", size=16), Recipe(epochs=6)
    facts = replace(table.facts, data=data.protocol(), recipe=recipe.fingerprint, size=(16, 16), classes=4)
    write_table(tmp_path / "t.parquet", facts, table.entries)
    (tmp_path / "study.yaml").write_text(
        "study: 1\nname: asks\nspace: space.yaml\nbudget: {trials: 6}\npruner: {name: successive_halving}\n"
        f"data: {{name: imagefolder, root: nowhere.tar, size: 16}}\nrecipe: {{epochs: 6}}\noutput: {tmp_path / 'out'}\n"
        "evaluate: {table: t.parquet}\nobjectives: [{maximise: accuracy}, {minimise: macs}]\n"
    )
    return load_study(str(tmp_path / "study.yaml")), table


def test_a_table_of_a_few_points_of_a_large_space_is_searched(tmp_path: Path) -> None:
    """24 of 4 million points, under other names of genes: drawing finds none of them."""
    _, table = asking(tmp_path)
    large = SPACE.replace("{choose: [8, 12, 16]}", "{range: [8, 2008], step: 4}").replace("params <= 3K", "params >= 1")
    large = large.replace("ratio: 2", "ratio: {range: [1, 200], name: hidden}").replace("[1, 2]}", "[1, 4]}")
    (tmp_path / "space.yaml").write_text(large)
    study = load_study(str(tmp_path / "study.yaml"), ("sampler.name=random", "budget.trials=2"))
    search(study, Recorder())
    with open_store(study) as store:
        assert {record.digest in table for record in store.evaluations("asks")} == {True}


def test_a_table_without_a_point_of_the_space_is_refused(tmp_path: Path) -> None:
    asking(tmp_path)
    (tmp_path / "space.yaml").write_text(
        SPACE.replace("[8, 12, 16]", "[20, 24]").replace("params <= 3K", "params >= 1")
    )
    study = load_study(str(tmp_path / "study.yaml"))
    with pytest.raises(StudyError, match=r"the table has no feasible point of the space 'tiny'\n.*t.parquet"):
        search(study, Recorder())


def test_a_reference_that_is_not_in_the_table_is_refused(tmp_path: Path) -> None:
    asking(tmp_path)
    study = load_study(str(tmp_path / "study.yaml"), ("references=[dw_conv_nano]",))
    with pytest.raises(StudyError, match=r"references of the table(.|\n)*found: dw_conv_nano"):
        search(study, Recorder())


def test_a_study_asks_a_table_without_its_images(tmp_path: Path) -> None:
    """The images of the table are gone; the study is answered, and refused where it says something else."""
    study, table = asking(tmp_path)
    search(study, Recorder())
    with open_store(study) as store:
        records = store.evaluations("asks")
    assert len({record.digest for record in records}) == 6
    assert {record.state for record in records} <= {"complete", "pruned"}
    assert any(record.state == "pruned" for record in records)  # with two objectives
    for record in records:
        answered = table.answer(record.digest, study.seed, record.trial or 0)
        assert record.curve[-1].val_accuracy == answered.curve[len(record.curve) - 1].val_accuracy
    other = load_study(str(tmp_path / "study.yaml"), ("recipe.lr=1e-3", "name=other"))
    with pytest.raises(StudyError, match=r"the same data and recipe(.|\n)*recipe.lr: 0.002 there, 0.001 here"):
        search(other, Recorder())


def test_a_space_that_is_too_large_asks_for_a_sample(tmp_path: Path) -> None:
    large = replace(small(tmp_path, sample=None), space=Path("search_spaces/connectivity_nano.yaml"))
    with pytest.raises(StudyError, match="--sample"):
        enrol(large)
