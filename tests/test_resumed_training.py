"""A run that was cut short goes on exactly: checkpoints, kills, interrupts and damaged files."""

import copy
import os
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
from torch import nn

from archspec.search.checkpoint import previous, read_checkpoint, remove_checkpoint, write_checkpoint
from archspec.search.recipe import Recipe
from archspec.search.train import (
    TrainingFailed,
    train,
)
from tests.trained import EVERYTHING, curve, image_data, module, same

pytestmark = pytest.mark.usefixtures("one_thread")


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
from tests.trained import image_data, module
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


def test_on_epoch_ends_a_run(tmp_path: Path) -> None:
    stop = {"on_epoch": lambda result: result.epoch < 2, "checkpoint": tmp_path / "run"}
    for _ in range(2):  # the second time, nothing is left to train before the same answer
        found = train(module(), image_data(), Recipe(epochs=5, batch=8), seed=0, **stop)
        assert (len(found.history), found.stopped) == (2, True)
