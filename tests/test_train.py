"""The training loop: exact resume, seeds, failures with a cause, and every option of a recipe."""

import copy
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from archspec.search.augment import create_batch_maker, crop_flip, flip, seeded
from archspec.search.checkpoint import previous, read_checkpoint, remove_checkpoint, write_checkpoint
from archspec.search.data.images import ImageArray, ImageData, ImageStream
from archspec.search.optimisation import Optimisation, create_optimizer
from archspec.search.recipe import Recipe
from archspec.search.train import (
    EpochResult,
    TrainingFailed,
    check_recipe,
    evaluate,
    is_out_of_memory,
    train,
)

CLASSES = 3


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def image_array(count: int, seed: int) -> ImageArray:
    """Images whose class shows in one colour channel, under noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % CLASSES
    images = generator.integers(0, 200, (count, 8, 8, 3), dtype=np.uint8)
    images[np.arange(count), :, :, labels] += 50
    return ImageArray(images, labels, (0.4, 0.4, 0.4), (0.25, 0.25, 0.25), f"made {seed}")


def image_data(count: int = 44) -> ImageData:
    names = tuple(map(str, range(CLASSES)))
    return ImageData(image_array(count, 0), image_array(21, 1), None, names, (8, 8), f"made {count}")


def module() -> nn.Module:
    """Batch norm and dropout: state that a checkpoint must hold, and draws that a seed must fix."""
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(24, CLASSES),
    )


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def curve(history: tuple[EpochResult, ...]) -> list[tuple[float, ...]]:
    return [(r.epoch, r.train_loss, r.val_loss, r.val_accuracy, r.lr, r.images) for r in history]


EVERYTHING = {"mixup": 0.8, "cutmix": 1.0, "augment": "rand-m5-n1", "random_erasing": 0.3, "clip_grad": 1.0, "ema": 0.9}
RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "everything": EVERYTHING | {"label_smoothing": 0.1, "warmup_epochs": 0.5, "precision": "bfloat16"},
    "sgd": {"optimizer": "sgd", "lr": 0.1, "schedule": "step", "decay_epochs": 1.5, "augment": "crop_flip"},
    "lamb": {"optimizer": "lamb", "schedule": "constant", "augment": "flip", "betas": (0.8, 0.95)},
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, name: str, killed_after: int) -> None:
    recipe, data = Recipe(epochs=4, batch=8, **RECIPES[name]), image_data()
    whole = module()
    expected = train(whole, data, recipe, seed=3)

    class Killed(BaseException):
        pass

    def kill(epoch: int, step: int, steps: int) -> None:
        if (epoch, step) == (killed_after + 1, 2):
            raise Killed

    with pytest.raises(Killed):
        train(module(), data, recipe, seed=3, checkpoint=tmp_path / "run", on_step=kill)
    torch.manual_seed(99), np.random.seed(99), random.seed(99)  # what the next process finds is another state
    resumed = copy.deepcopy(module())
    told: list[int] = []
    found = train(
        resumed, data, recipe, seed=3, checkpoint=tmp_path / "run", on_epoch=lambda r: told.append(r.epoch) is None
    )
    assert same(whole, resumed)
    assert curve(found.history) == curve(expected.history)
    assert found.resumed_epochs == killed_after
    assert told == [1, 2, 3, 4]  # also the epochs that were done before


def test_a_finished_run_is_read_not_trained(tmp_path: Path) -> None:
    recipe, first, again = Recipe(epochs=2, batch=8), module(), module()
    expected = train(first, image_data(), recipe, seed=0, checkpoint=tmp_path / "run")

    def fail(epoch: int, step: int, steps: int) -> None:
        raise AssertionError("trained again")

    found = train(again, image_data(), recipe, seed=0, checkpoint=tmp_path / "run", on_step=fail)
    assert found.history == expected.history
    assert same(first, again)


CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.test_train import image_data, module
from archspec.search.recipe import Recipe
from archspec.search.train import train
net = module()
train(net, image_data(), Recipe(epochs=60, batch=4), seed=1, checkpoint=Path(sys.argv[1]),
      on_epoch=lambda result: print(result.epoch, flush=True) is None)
"""


def test_a_killed_process_loses_at_most_an_epoch(tmp_path: Path) -> None:
    """A real kill -9, at no particular place; then the run goes on here and equals one that was left
    alone.
    """
    root = Path(__file__).parent.parent
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(root)},
        cwd=root,
    )
    assert child.stdout is not None
    with child.stdout as lines:
        while int(next(lines)) < 7:
            pass
        time.sleep(0.004)
        child.send_signal(signal.SIGKILL)
        reported = [7, *map(int, lines)][-1]
    assert child.wait() == -signal.SIGKILL
    recipe, whole, resumed = Recipe(epochs=60, batch=4), module(), module()
    found = train(resumed, image_data(), recipe, seed=1, checkpoint=tmp_path / "run")
    assert reported <= found.resumed_epochs < 60
    assert curve(found.history) == curve(train(whole, image_data(), recipe, seed=1).history)
    assert same(whole, resumed)


def test_an_interrupt_leaves_a_checkpoint_that_continues(tmp_path: Path) -> None:
    def interrupt(epoch: int, step: int, steps: int) -> None:
        if (epoch, step) == (2, 1):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(module(), image_data(), Recipe(epochs=3, batch=8), seed=0, checkpoint=tmp_path / "run", on_step=interrupt)
    found = train(module(), image_data(), Recipe(epochs=3, batch=8), seed=0, checkpoint=tmp_path / "run")
    assert found.resumed_epochs == 1


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


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign", "absent"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, recipe = tmp_path / "run", Recipe(epochs=3, batch=8)
    expected = train(module(), image_data(), recipe, seed=0, checkpoint=path)
    content = path.read_bytes()
    wrecks = {
        "cut": content[:-1],
        "flipped": content[:-9] + b"\0" + content[-8:],
        "empty": b"",
        "foreign": b"PK\3\4" * 99,
    }
    path.unlink() if damage == "absent" else path.write_bytes(wrecks[damage])
    found = train(module(), image_data(), recipe, seed=0, checkpoint=path)
    assert found.resumed_epochs == 2
    assert curve(found.history) == curve(expected.history)
    assert (damage == "absent") == (not caplog.records)


def test_two_damaged_checkpoints_mean_a_new_start(tmp_path: Path) -> None:
    path, recipe = tmp_path / "run", Recipe(epochs=2, batch=8)
    train(module(), image_data(), recipe, seed=0, checkpoint=path)
    for file in (path, previous(path)):
        file.write_bytes(b"")
    assert train(module(), image_data(), recipe, seed=0, checkpoint=path).resumed_epochs == 0
    remove_checkpoint(path)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path, recipe = tmp_path / "run", Recipe(epochs=1, batch=8)
    train(module(), image_data(), recipe, seed=0, checkpoint=path)
    other: dict[str, tuple[Recipe, int, str, nn.Module, int]] = {
        "recipe.lr": (recipe.model_copy(update={"lr": 0.5}), 0, "", module(), 44),
        "seed": (recipe, 1, "", module(), 44),
        "identity": (recipe, 0, "another spec", module(), 44),
        "parameters": (recipe, 0, "", nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), 44),
        "data": (recipe, 0, "", module(), 40),
    }
    for word, (changed, seed, identity, net, count) in other.items():
        with pytest.raises(TrainingFailed, match=f"another run: {word}") as caught:
            train(net, image_data(count), changed, seed=seed, identity=identity, checkpoint=path)
        assert caught.value.cause == "error"
    faster = recipe.model_copy(update={"eval_batch": 5})
    assert train(module(), image_data(), faster, seed=0, checkpoint=path).resumed_epochs == 1


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.write_text, (tmp_path / "evil", "here"))

    write_checkpoint(tmp_path / "run", {"facts": Evil()})
    assert read_checkpoint(tmp_path / "run") is None
    assert not (tmp_path / "evil").exists()


def test_an_unwritable_checkpoint_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingFailed, match="cannot be written"):
        train(module(), image_data(), Recipe(epochs=1, batch=8), seed=0, checkpoint=tmp_path / "file" / "run")


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


def test_on_epoch_ends_a_run(tmp_path: Path) -> None:
    stop = {"on_epoch": lambda result: result.epoch < 2, "checkpoint": tmp_path / "run"}
    for _ in range(2):  # the second time, nothing is left to train before the same answer
        found = train(module(), image_data(), Recipe(epochs=5, batch=8), seed=0, **stop)
        assert (len(found.history), found.stopped) == (2, True)


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


def test_biases_and_norms_are_not_decayed() -> None:
    groups = create_optimizer(module(), Recipe(weight_decay=0.3)).param_groups
    assert {(group["weight_decay"], value.ndim > 1) for group in groups for value in group["params"]} == {
        (0.0, False),
        (0.3, True),
    }


def test_the_learning_rate_follows_the_recipe() -> None:
    def rates(**more: Any) -> list[float]:
        recipe = Recipe(lr=1.0, optimizer="sgd", **more)
        net = nn.Linear(2, 2)
        optimisation = Optimisation(net, recipe, [10] * recipe.epochs, torch.device("cpu"))
        found = []
        for number in range(1, recipe.epochs * 10 + 1):
            found.append(optimisation.lr)
            optimisation.step(torch.zeros(2, 2), torch.tensor([0, 1]), number)
        return found

    cosine = [0.5 + 0.5 * np.cos(np.pi * step / 20) for step in range(20)]
    assert rates(epochs=2) == pytest.approx(cosine)
    assert rates(epochs=2, schedule="constant") == [1.0] * 20
    steps = rates(epochs=2, schedule="step", decay_epochs=0.5, decay_rate=0.5)
    assert steps == pytest.approx([1.0] * 5 + [0.5] * 5 + [0.25] * 5 + [0.125] * 5)
    assert rates(epochs=2, warmup_epochs=0.5)[:6] == pytest.approx([0.001, 0.2008, 0.4006, 0.6004, 0.8002, cosine[5]])


def test_input_is_normalised_and_channels_last() -> None:
    data = image_data()
    maker = create_batch_maker(Recipe(), 8, CLASSES, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), torch.device("cpu"))
    x, target = maker.plain(*data.train.take(np.arange(4)))
    assert x.shape == (4, 3, 8, 8)
    assert x.is_contiguous(memory_format=torch.channels_last)
    wanted = (data.train.take(np.arange(4))[0] / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    np.testing.assert_allclose(x.permute(0, 2, 3, 1), wanted, rtol=1e-4, atol=1e-5)
    assert target.tolist() == [0, 1, 2, 0]


def test_flips_and_shifts_move_pixels_only() -> None:
    images = np.arange(40 * 16 * 16 * 3, dtype=np.uint32).reshape(40, 16, 16, 3).astype(np.uint8)
    flipped = flip(images, np.random.default_rng(0))
    kinds = [int((f == i).all()) + 2 * int((f == i[:, ::-1]).all()) for f, i in zip(flipped, images, strict=True)]
    assert set(kinds) == {1, 2}
    shifted = crop_flip(images, np.random.default_rng(0))
    assert shifted.shape == images.shape
    centre = images[0, 6:10, 6:10]
    windows = [shifted[0, 4 + y : 8 + y, 4 + x : 8 + x] for y in range(5) for x in range(5)]
    assert any((w == centre).all() or (w == centre[:, ::-1]).all() for w in windows)


WRONG_RECIPES: dict[str, tuple[dict[str, Any], str]] = {
    "augment": ({"augment": "rand-m9-q2"}, "unknown augmentation"),
    "odd mixup": ({"mixup": 0.2, "batch": 5}, "must be even"),
    "warm-up": ({"epochs": 2, "warmup_epochs": 2.0}, "less than epochs"),
    "least rate": ({"lr": 0.1, "min_lr": 0.2}, "above lr"),
    "batch of one": ({"batch": 1}, "greater than or equal"),
    "unknown key": ({"learning_rate": 0.1}, "Extra inputs"),
    "rate": ({"lr": float("inf")}, "finite"),
}


@pytest.mark.parametrize("case", WRONG_RECIPES)
def test_wrong_recipes_say_what_is_wrong(case: str) -> None:
    section, words = WRONG_RECIPES[case]
    with pytest.raises(ValidationError, match=words):
        Recipe(**section)


@pytest.mark.parametrize(
    ("section", "device", "words"),
    [
        ({"optimizer": "adamx"}, "cpu", "adamx"),
        ({"optimizer": "adahessian"}, "cpu", "second derivatives"),
        ({"precision": "float16"}, "cpu", "needs CUDA"),
        ({}, "abacus", "no device"),
        ({}, "cuda:99", "no device"),
    ],
)
def test_what_fails_every_trial_is_found_before(section: dict[str, Any], device: str, words: str) -> None:
    with pytest.raises(TrainingFailed, match=words) as caught:
        check_recipe(Recipe(**section), device)
    assert caught.value.cause == "error"


def test_a_batch_larger_than_the_data_is_said() -> None:
    with pytest.raises(TrainingFailed, match="only 5 training images"):
        train(module(), image_data(5), Recipe(batch=8), seed=0)


def test_the_fingerprint_holds_what_is_computed_not_how_fast() -> None:
    assert Recipe(eval_batch=7, compile=True).fingerprint == Recipe().fingerprint
    assert Recipe(lr=0.1).fingerprint != Recipe().fingerprint


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
