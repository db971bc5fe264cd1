"""Training one network and promoting a trial: spec, weights and curve are kept, a rerun resumes, the seed decides."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import archspec
from archspec.artifacts import load_weights
from archspec.cli.app import app
from archspec.errors import SpecError, StudyError
from archspec.search.data.load import open_data
from archspec.search.evaluation import evaluate
from archspec.search.longer import promoted, train_longer
from archspec.search.runner import search
from studies import Recorder, trials_of, write_study


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHSPEC_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    torch.set_num_threads(1)


def quiet(line: str) -> None: ...


def test_a_promoted_trial_is_its_spec_trained_longer(tmp_path: Path) -> None:
    study = write_study(tmp_path, "budget.trials=2")
    search(study, Recorder())
    network, recipe, folder = promoted(study, 1, epochs=5, output=None)
    found = train_longer(network, study.data, recipe, study.seed, folder, "cpu", quiet)
    record = trials_of(study)[1]
    assert archspec.digest(folder / "spec.yaml") == record.digest == found["digest"]
    assert [epoch["epoch"] for epoch in found["curve"]] == [1, 2, 3, 4, 5]
    assert json.loads((folder / "training.json").read_text())["accuracy"] == found["accuracy"]
    # The weights that were written are the ones that were measured.
    module = archspec.compile(folder / "spec.yaml", seed=9)
    load_weights(module, folder / "weights.safetensors", record.digest)
    _, accuracy = evaluate(module, open_data(study.data).val, recipe)
    assert accuracy == found["accuracy"]


def test_trials_that_begin_narrow_and_small_end_as_what_they_are(tmp_path: Path) -> None:
    study = write_study(tmp_path, "budget.trials=2", "recipe.rungs=[{epochs: 2, width: 0.5, size: 8}]")
    search(study, Recorder())
    assert [(record.cause, len(record.curve)) for record in trials_of(study)] == [("ok", 3)] * 2
    network, recipe, folder = promoted(study, 1, epochs=4, output=None)
    found = train_longer(network, study.data, recipe, study.seed, folder, "cpu", quiet)
    module = archspec.compile(folder / "spec.yaml", seed=9)
    load_weights(module, folder / "weights.safetensors", found["digest"])
    assert evaluate(module, open_data(study.data).val, recipe)[1] == found["accuracy"]


def test_a_trial_that_is_not_there_is_told(tmp_path: Path) -> None:
    study = write_study(tmp_path, "budget.trials=1", "recipe.epochs=1")
    search(study, Recorder())
    with pytest.raises(StudyError, match=r"no trial 7\n.*trials 0 to 0"):
        promoted(study, 7, None, None)


def test_so_few_epochs_that_the_recipe_does_not_hold_are_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path, "budget.trials=1", "recipe={epochs: 2, batch: 16, warmup_epochs: 1}")
    search(study, Recorder())
    assert promoted(study, 0, None, None)[1].epochs == 6
    with pytest.raises(SpecError, match=r"warmup_epochs \(1.0\) must be less than epochs \(1\)"):
        promoted(study, 0, 1, None)
    words = ["promote", str(tmp_path / "study.yaml"), "0", "--epochs", "-5"]
    assert CliRunner().invoke(app, words).exit_code == 2


TRAIN = ("train", "dw_conv_nano", "--size", "16", "--set", "data.train=64", "--set", "data.val=32", "--device", "cpu")


def test_train_runs_resumes_and_follows_its_seed(tmp_path: Path) -> None:
    runner = CliRunner()
    first = runner.invoke(app, [*TRAIN, "--epochs", "2", "-o", str(tmp_path / "a"), "--json"])
    assert first.exit_code == 0, first.output
    again = runner.invoke(app, [*TRAIN, "--epochs", "2", "-o", str(tmp_path / "a"), "--json"])
    assert json.loads(again.stdout)["curve"] == json.loads(first.stdout)["curve"]
    other = runner.invoke(app, [*TRAIN, "--epochs", "2", "--seed", "3", "-o", str(tmp_path / "b"), "--json"])
    assert json.loads(other.stdout)["curve"] != json.loads(first.stdout)["curve"]


def test_bench_compares_networks_in_one_run() -> None:
    words = ["bench", "dw_conv_nano", "mixer_nano", "--rounds", "1", "--batch", "2", "--device", "cpu", "--json"]
    rows = json.loads(CliRunner().invoke(app, words).stdout)
    assert [row["name"] for row in rows] == ["dw_conv_nano", "mixer_nano"]
    assert rows[0]["forward_ratio"] == 1.0
    assert all(row["forward"] > 0 and row["training"] > 0 for row in rows)
