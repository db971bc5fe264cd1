"""The audit: its numbers against scipy, its intervals and its rule of trust, and the whole on a real study."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from archspec.cli.app import app
from archspec.errors import SpecError, StudyError
from archspec.results.audit import MINIMUM, Asked, Row, audit, tau_b
from archspec.results.records import EpochRecord
from archspec.search.auditing import Pool, Trained, audited, chosen, of_study
from archspec.search.data.config import DataConfig
from archspec.search.runner import search
from studies import SPACE, Recorder, write_study

GENERATOR = np.random.default_rng(0)


def one(scores: list[float], truth: list[float], **changes: object) -> Row:
    asked = Asked("p", tuple(scores), **changes)  # type: ignore[arg-type]
    base = Asked("params", tuple(GENERATOR.normal(size=len(truth))), "baseline")
    return audit("t", truth, [base, asked]).rows[1]


def test_numbers_are_scipys() -> None:
    truth = [round(each, 1) for each in GENERATOR.normal(size=40)]  # with ties
    scores = [round(t + each, 1) for t, each in zip(truth, GENERATOR.normal(size=40), strict=True)]
    found = one(scores, truth)
    assert found.tau.value == pytest.approx(stats.kendalltau(scores, truth).statistic)
    assert found.rho.value == pytest.approx(stats.spearmanr(scores, truth).statistic)
    top = np.array(truth) >= np.quantile(truth, 0.75)
    assert found.top.value == pytest.approx(stats.kendalltau(np.array(scores)[top], np.array(truth)[top]).statistic)
    assert found.n == 40


def test_a_draw_of_the_bootstrap_is_tau_of_what_was_drawn() -> None:
    x, y = GENERATOR.normal(size=15).round(1), GENERATOR.normal(size=15).round(1)
    draw = GENERATOR.integers(0, 15, 15)
    weights = np.bincount(draw, minlength=15)[None].astype(float)
    assert tau_b(x, y, weights)[0] == pytest.approx(stats.kendalltau(x[draw], y[draw]).statistic)


def test_regret_is_to_the_disadvantage_of_the_proxy() -> None:
    truth = [0.1 * number for number in range(10)]
    assert one(truth, truth).regret.value == 0
    assert one([-each for each in truth], truth).regret.value == pytest.approx(0.9)
    assert one([1.0] * 10, truth).regret.value == pytest.approx(0.9)  # equal scores: the worst of them
    several = audit("t", truth, [Asked("p", tuple([0.0] * 9 + [-1.0]))], share=0.2)
    assert (several.k, several.rows[0].regret.value) == (2, pytest.approx(0.8))


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Pairs of normals with correlation r have tau = 2/pi asin r."""
    r, covered = 0.7, 0
    truth = 2 / np.pi * np.arcsin(r)
    for _ in range(60):
        x = GENERATOR.normal(size=40)
        y = r * x + np.sqrt(1 - r * r) * GENERATOR.normal(size=40)
        found = audit("t", list(y), [Asked("p", tuple(x))]).rows[0].tau
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert 50 <= covered <= 60


def test_the_rule_of_trust() -> None:
    truth = list(np.linspace(0, 1, 60) + GENERATOR.normal(0, 0.05, 60))
    good = [each + noise for each, noise in zip(truth, GENERATOR.normal(0, 0.05, 60), strict=True)]
    assert one(good, truth).verdict == "may be trusted here"
    assert "order may be chance" in one(list(GENERATOR.normal(size=60)), truth).verdict
    assert "order may be chance" in one([-each for each in good], truth).verdict
    assert f"only {MINIMUM - 1} networks" in one(good[: MINIMUM - 1], truth[: MINIMUM - 1]).verdict
    assert "saw the training" in one(good, truth, saw_truth=True).verdict
    some = [float("nan") if n % 2 else each for n, each in enumerate(good)]
    assert one(some, truth).verdict == "may be trusted here, for 30 of 60 networks"
    assert one([float("nan")] * 60, truth).verdict == "refused"


def test_no_better_than_a_baseline_is_not_to_be_trusted() -> None:
    truth = list(np.linspace(0, 1, 60))
    counts = tuple(each + noise for each, noise in zip(truth, GENERATOR.normal(0, 0.1, 60), strict=True))
    rows = audit("t", truth, [Asked("params", counts, "baseline"), Asked("p", tuple(c + 0 for c in counts))]).rows
    assert rows[1].tau.low is not None
    assert rows[1].tau.low > 0.5
    assert "no better than counting" in rows[1].verdict
    assert (rows[0].verdict, rows[1].ahead.value) == ("baseline", 0.0)


def trained(number: int, accuracies: dict[int, float], imagenet: float | None = None) -> Trained:
    from archspec.schema.load import load, network_yaml

    curves = {s: tuple(EpochRecord(e, 1.0, 1.0, a * e / 4) for e in (1, 2, 3, 4)) for s, a in accuracies.items()}
    return Trained(f"n{number}", f"d{number}", network_yaml(load("dw_conv_nano")), accuracies, curves, imagenet)


def test_a_proxy_does_not_see_the_seed_that_is_the_truth() -> None:
    data = DataConfig(name="fractal", size=32, train=64, val=32)
    # Seed 0 says the opposite of seeds 1 and 2.
    networks = tuple(trained(n, {0: 1 - n / 20, 1: n / 20, 2: n / 20}, 0.8 + n / 100) for n in range(12))
    found = audited(Pool("p", networks, data, 4), {"params": [float(n) for n in range(12)]}, 0)
    by_name = {row.asked.name: row for row in found.training.rows}
    assert by_name["accuracy@2"].tau.value == pytest.approx(-1)
    assert by_name["another seed, to the end"].verdict == "ceiling"
    assert by_name["another seed, to the end"].tau.value == pytest.approx(-1)
    assert by_name["params"].tau.value == pytest.approx(1)
    assert "no proxy saw" in found.training.truth
    assert found.imagenet is not None
    assert {row.asked.name: row.tau.value for row in found.imagenet.rows}["training, 4 epochs"] == pytest.approx(1)
    alone = tuple(trained(n, {0: n / 20}) for n in range(12))
    same = audited(Pool("p", alone, data, 4), {"params": [0.0] * 12}, 0)
    assert "saw the training" in {row.asked.name: row for row in same.training.rows}["accuracy@2"].verdict
    assert same.imagenet is None


def test_a_study_is_audited_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    references = "references=[dw_conv_nano, swin_nano, pvt_nano]"
    study = write_study(tmp_path, "budget.trials=3", "recipe.epochs=2", "data.size=32", references)
    search(study, Recorder(), workers=1)
    words = ["--set", f"output={study.folder}", "--set", "budget.trials=3", "--set", "data.size=32"]
    words += ["--set", "recipe.epochs=2", "--set", references, "--images", "8"]
    runner = CliRunner()
    first = runner.invoke(app, ["audit", str(tmp_path / "study.yaml"), *words, "--json"])
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    assert len(found["networks"]) == 6
    rows = {row["asked"]["name"]: row for row in found["audits"]["training"]["rows"]}
    assert {"params", "macs", "acts", "zico", "accuracy@1"} <= set(rows)
    assert rows["params"]["verdict"] == rows["macs"]["verdict"] == "baseline"
    assert "only 6 networks" in rows["zico"]["verdict"]
    assert found["audits"]["imagenet"]["networks"] == 3
    kept = json.loads((study.folder / "audit-scores.json").read_text())
    marked = {key: 1.5 if "|zico|" in key else value for key, value in kept.items()}
    (study.folder / "audit-scores.json").write_text(json.dumps(marked))
    again = runner.invoke(app, ["audit", str(tmp_path / "study.yaml"), *words, "--json", "--proxy", "zico"])
    rows = {row["asked"]["name"]: row for row in json.loads(again.stdout)["audits"]["training"]["rows"]}
    assert set(rows["zico"]["asked"]["scores"]) == {1.5}  # not scored again
    assert "synflow" not in rows
    assert "params" in rows  # always beside it
    page = (study.folder / "audit.html").read_text()
    assert "not to be trusted" in page
    assert "https://cdn" not in page.partition("<body>")[2]


def test_what_cannot_be_audited_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nearest: zico"):
        chosen(["zicco"])
    study = write_study(tmp_path, "budget.trials=1", "recipe.epochs=1")
    search(study, Recorder(), workers=1)
    with pytest.raises(StudyError, match="at least two trained networks"):
        of_study(str(tmp_path / "study.yaml"), (f"output={study.folder}",))


def test_a_space_is_audited_at_two_lengths_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a table of its own; the second does not ask for another place, which nobody could give."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)
    words = ["audit", "space.yaml", "--points", "2", "--seeds", "1", "--images", "8", "--proxy", "params"]
    for change in ("data.size=16", "data.classes=4", "data.train=32", "data.val=16", "recipe.batch=16"):
        words += ["--set", change]
    for epochs in ("2", "3"):
        result = CliRunner().invoke(app, [*words, "--epochs", epochs])
        assert result.exit_code == 0, result.output
        assert f"after {epochs} epochs" in result.output
    assert len(list((tmp_path / "results" / "audit").glob("*.parquet"))) == 2
