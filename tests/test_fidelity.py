"""Rungs of smaller and fewer images: one run with one set of weights, resumed as it was, and judged at their ends."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from archspec.compiler import build
from archspec.errors import SpecError, StudyError
from archspec.resolve import resolve
from archspec.results.records import EpochRecord, EvaluationRecord, Objective
from archspec.schema.load import load
from archspec.search.augment import create_batch_maker
from archspec.search.candidate import adapted
from archspec.search.cheaper import check_rungs, demanding
from archspec.search.data.config import DataConfig
from archspec.search.data.images import ImageData
from archspec.search.data.load import open_data
from archspec.search.pruning import EarlyStopping
from archspec.search.recipe import Recipe
from archspec.search.spaces import spaces_of
from archspec.search.study import load_study
from archspec.search.train import TrainingFailed, train

RECIPE = Recipe(
    epochs=3, batch=16, lr=1e-3, rungs=({"epochs": 1, "size": 16, "subset": 0.5}, {"epochs": 2, "size": 24})
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ImageData:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHSPEC_CACHE", str(tmp_path_factory.mktemp("cache")))
        return open_data(DataConfig(name="fractal", size=32, train=96, val=32, classes=4))


def trained(
    data: ImageData, recipe: Recipe = RECIPE, **options: object
) -> tuple[list[tuple[object, ...]], torch.nn.Module]:
    """(epoch, images, validation loss) of a network that has no parameter of a position, and its module."""
    network = adapted(load("dw_conv_nano"), data)
    module = build(resolve(network), seed=0, written=network)
    result = train(module, data, recipe, seed=0, **options)  # type: ignore[arg-type]
    return [(epoch.epoch, epoch.images, epoch.val_loss) for epoch in result.history], module


def test_a_rung_has_smaller_and_fewer_images_and_the_weights_go_on(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    maker = create_batch_maker(RECIPE, 32, 4, data.mean, data.std, torch.device("cpu"))
    plain = type(maker).plain

    def noted(self: object, *images: object) -> object:
        x, target = plain(self, *images)  # type: ignore[arg-type]
        sizes.append(x.shape[-1])
        return x, target

    monkeypatch.setattr(type(maker), "plain", noted)
    curve, _ = trained(data)
    assert [images for _, images, _ in curve] == [48, 96, 96]
    assert sizes == [16] * 4 + [24] * 7 + [32] * 7  # 3, 6 and 6 steps, and a validation each
    whole, _ = trained(data, RECIPE.model_copy(update={"rungs": ()}))
    assert whole[-1][2] != curve[-1][2]


def test_what_was_interrupted_at_a_rung_goes_on_from_its_checkpoint(data: ImageData, tmp_path: Path) -> None:
    whole, module = trained(data)
    cut, _ = trained(data, checkpoint=tmp_path / "c.pt", on_epoch=lambda epoch: epoch.epoch < 2)
    assert [epoch for epoch, *_ in cut] == [1, 2]
    resumed, again = trained(data, checkpoint=tmp_path / "c.pt")
    assert resumed == whole
    for one, other in zip(module.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_images_are_averaged_down(data: ImageData) -> None:
    maker = create_batch_maker(RECIPE, 32, 4, data.mean, data.std, torch.device("cpu"))
    images, labels = data.val.take(torch.arange(2).numpy())
    full, small = maker.plain(images, labels)[0], replace(maker, size=16).plain(images, labels)[0]
    assert torch.allclose(small, full.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)), atol=1e-5)


def test_recipes_without_rungs_are_what_they_were_and_wrong_rungs_are_refused(data: ImageData) -> None:
    assert "rungs" not in Recipe().fingerprint
    assert RECIPE.fingerprint["rungs"][0] == {"epochs": 1, "size": 16, "subset": 0.5}
    for rungs in (
        [{"epochs": 3}],
        [{"epochs": 2}, {"epochs": 1}],
        [{"epochs": 1, "subset": 0.9}],
        [{"epochs": 1}, {"epochs": 2, "width": 0.5}],
    ):
        with pytest.raises(ValueError, match="rung"):
            Recipe(epochs=3, subset=0.5, rungs=rungs)  # type: ignore[arg-type]
    with pytest.raises(TrainingFailed, match="64 pixels, the data have 32"):
        trained(data, Recipe(epochs=2, batch=16, rungs=({"epochs": 1, "size": 64},)))


def test_a_network_with_a_parameter_of_a_position_is_no_point_of_such_a_study(tmp_path: Path) -> None:
    check_rungs(load("dw_conv_nano"), resolve(load("dw_conv_nano")), demanding(RECIPE))
    with pytest.raises(SpecError, match="no parameter may belong to a position"):
        check_rungs(load("mixer_nano"), resolve(load("mixer_nano")), demanding(RECIPE))
    space = (
        Path("search_spaces/table_nano.yaml")
        .read_text()
        .replace("stages:\n", "stem: {patch: 2, norm: layer, position_embedding: true}\n  stages:\n", 1)
    )
    (tmp_path / "space.yaml").write_text(space)
    (tmp_path / "study.yaml").write_text(
        "study: 1\nname: rungs\nspace: space.yaml\nbudget: {trials: 6}\ndata: {name: fractal, train: 64, val: 32}\n"
        "recipe: {epochs: 3, rungs: [{epochs: 1, size: 16}]}\n"
    )
    study = load_study(str(tmp_path / "study.yaml"))
    with pytest.raises(StudyError, match=r"no network of 'table_nano' can be trained on the rungs of the recipe"):
        spaces_of(study, open_data(study.data))


class Status:
    """The trials of a study, as every worker sees them."""

    def __init__(self, *records: EvaluationRecord) -> None:
        self.known = {record.trial: record for record in records}

    def numbers(self) -> frozenset[int | None]:
        return frozenset(self.known)

    def records(self, numbers: frozenset[int]) -> tuple[EvaluationRecord, ...]:
        return tuple(self.known[number] for number in sorted(numbers))


def record(trial: int, state: str, macs: int, *accuracies: float) -> EvaluationRecord:
    known: dict[str, object] = dict.fromkeys(EvaluationRecord.__dataclass_fields__)
    curve = tuple(EpochRecord(epoch, val_accuracy=value) for epoch, value in enumerate(accuracies, 1))
    return EvaluationRecord(**known | {"trial": trial, "state": state, "cost": {"macs": macs}, "curve": curve})  # type: ignore[arg-type]


@pytest.mark.parametrize("objectives", [1, 2])
def test_a_trial_is_judged_by_all_trials_of_all_workers(tmp_path: Path, objectives: int) -> None:
    """One in two goes on. The trial is third of four by accuracy alone; it is the cheapest, so nobody dominates it."""
    said = ["{maximise: accuracy}", "{minimise: macs}"][:objectives]
    (tmp_path / "study.yaml").write_text(
        f"study: 1\nname: judged\nspace: table_nano\nbudget: {{trials: 6}}\nrecipe: {{epochs: 4}}\n"
        f"objectives: [{', '.join(said)}]\npruner: {{name: successive_halving, reduction: 2}}\n"
    )
    study = load_study(str(tmp_path / "study.yaml"))
    assert isinstance(study.objectives_in_order[0], Objective)
    others = [record(0, "complete", 9, 0.5, 0.6), record(1, "running", 8, 0.4), record(2, "pruned", 7, 0.1)]
    mine = record(3, "running", 1)
    goes_on = EarlyStopping(study, Status(*others, mine)).judge(mine)  # type: ignore[arg-type]
    assert goes_on(EpochRecord(1, val_accuracy=0.2)) == (objectives == 2)
    assert goes_on(EpochRecord(3, val_accuracy=0.0))  # no rung: they are at epochs 1 and 2
    resumed = EarlyStopping(study, Status(*others, mine)).judge(record(3, "running", 1, 0.2, 0.2))  # type: ignore[arg-type]
    assert resumed(EpochRecord(1, val_accuracy=0.2))  # judged when it was new
