"""The training loop: seeds, failures with a cause, and what is reported."""

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archspec.search.augment import seeded
from archspec.search.data.images import ImageArray, ImageData, ImageStream
from archspec.search.recipe import Recipe
from archspec.search.train import (
    TrainingFailed,
    evaluate,
    is_out_of_memory,
    train,
)
from tests.trained import EVERYTHING, image_array, image_data, module, same

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_run_is_a_function_of_its_seed_and_moves_no_global_generator() -> None:
    recipe = Recipe(epochs=1, batch=8, **EVERYTHING)
    runs = []
    for seed in (0, 0, 1):
        net = module()
        torch.manual_seed(seed + len(runs)), np.random.seed(len(runs)), random.seed(len(runs))
        before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
        train(net, image_data(), recipe, seed=seed)
        assert torch.equal(before[0], torch.get_rng_state())
        assert before[1:] == (np.random.get_state()[1].tolist(), random.getstate())
        runs.append(net)
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_epochs_and_seeds_have_their_own_draws() -> None:
    draws = set()
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        with seeded(seed, epoch, torch.device("cpu")):
            draws.add((torch.rand(()).item(), np.random.rand(), random.random()))
    assert len({value for draw in draws for value in draw}) == 9


def test_a_diverged_run_names_its_step() -> None:
    class Explodes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = module(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.inner(x) * (float("nan") if self.calls == 4 else 1.0)

    with pytest.raises(TrainingFailed, match="diverged") as caught:
        train(Explodes(), image_data(), Recipe(epochs=2, batch=8), seed=0)
    assert (caught.value.cause, caught.value.epoch, caught.value.step) == ("diverged", 1, 4)
    assert pickle.loads(pickle.dumps(caught.value)).cause == "diverged"
    with pytest.raises(TrainingFailed, match="diverged"):
        train(module(), image_data(), Recipe(epochs=4, batch=8, optimizer="sgd", lr=1e38), seed=0)


def test_memory_that_runs_out_is_recognised() -> None:
    class Greedy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) + torch.empty(2**60, dtype=torch.uint8).sum()

    with pytest.raises(TrainingFailed, match="out of memory") as caught:
        train(Greedy(), image_data(), Recipe(epochs=1, batch=8), seed=0)
    assert (caught.value.cause, caught.value.epoch, caught.value.step) == ("out_of_memory", 1, 1)
    assert caught.value.__context__ is None  # or its frames would keep the tensors
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


def test_other_errors_of_a_module_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(7, 3)), image_data(), Recipe(epochs=1, batch=8), seed=0)


def test_what_a_run_reports() -> None:
    seen: list[tuple[int, int, int]] = []
    net = module()
    found = train(net, image_data(), Recipe(epochs=2, batch=8), seed=0, on_step=lambda *place: seen.append(place))
    assert seen == [(epoch, step, 5) for epoch in (1, 2) for step in range(1, 6)]  # 44 images: the last 4 are dropped
    assert [result.images for result in found.history] == [40, 40]
    assert (found.images, found.stopped, found.resumed_epochs) == (80, False, 0)
    assert found.best_accuracy == max(result.val_accuracy for result in found.history)
    loss, accuracy = evaluate(net, image_data().val, Recipe(eval_batch=4))
    assert found.last.val_accuracy == accuracy
    assert found.last.val_loss == pytest.approx(loss, rel=1e-6)
    assert not net.training


def test_evaluation_is_the_mean_over_all_images_and_leaves_the_mode() -> None:
    net, images = module().train(), image_data().val
    loss, accuracy = evaluate(net, images, Recipe(eval_batch=4))
    assert net.training
    x = (torch.tensor(images.images).permute(0, 3, 1, 2) / 255 - 0.4) / 0.25
    logits = net.eval()(x)
    labels = torch.tensor(images.labels)
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert accuracy == int((logits.argmax(1) == labels).sum()) / 21


def test_it_learns() -> None:
    net = module()
    found = train(net, image_data(120), Recipe(epochs=12, batch=8, lr=1e-2), seed=0)
    assert found.last.val_accuracy > 0.8
    assert found.last.train_loss < found.history[0].train_loss


def test_a_stream_shows_fresh_images_in_every_epoch() -> None:
    shown: list[int] = []

    def draw(indices: Any) -> Any:
        shown.extend(indices.tolist())
        array = image_array(60, 0)
        return array.take(indices % 60)

    stream = ImageStream(20, draw, (0.4,) * 3, (0.25,) * 3, "stream")
    data = ImageData(stream, image_array(9, 1), None, ("a", "b", "c"), (8, 8), "stream")
    train(module(), data, Recipe(epochs=3, batch=10), seed=0)
    assert sorted(shown) == list(range(60))


def test_a_subset_is_the_same_for_every_seed() -> None:
    shown: list[set[int]] = []

    class Watched(ImageArray):
        def take(self, indices: Any, epoch: int = 0) -> Any:
            shown[-1].update(indices.tolist())
            return super().take(indices, epoch)

    inner = image_array(40, 0)
    train_images = Watched(inner.images, inner.labels, inner.mean, inner.std, inner.digest)
    data = ImageData(train_images, image_array(9, 1), None, ("a", "b", "c"), (8, 8), "watched")
    for seed in (0, 1):
        shown.append(set())
        train(module(), data, Recipe(epochs=1, batch=5, subset=0.5), seed=seed)
    assert shown[0] == shown[1]
    assert len(shown[0]) == 20


def test_a_batch_larger_than_the_data_is_said() -> None:
    with pytest.raises(TrainingFailed, match="only 5 training images"):
        train(module(), image_data(5), Recipe(batch=8), seed=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_training_on_a_gpu(tmp_path: Path, precision: str, compiled: bool) -> None:
    recipe = Recipe.model_validate({"epochs": 4, "batch": 8, "precision": precision, "compile": compiled, "lr": 1e-2})
    found = train(module(), image_data(120), recipe, seed=0, device="cuda", checkpoint=tmp_path / "run")
    assert found.last.train_loss < found.history[0].train_loss
    again = train(module(), image_data(120), recipe, seed=0, device="cuda", checkpoint=tmp_path / "run")
    assert again.resumed_epochs == 4
