"""A module, images and a recipe in, the trained module and its learning curve out: the one training loop.

A run is a function of (module, data, recipe, seed): the order of the images, the augmentation and every
random draw derive from (seed, epoch, step), so a run that is continued from its checkpoint equals one that
was never interrupted: bit for bit on a CPU with the same number of threads.

Axes: B images of a batch, H and W.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from archspec.search.augment import BatchMaker, create_augment, create_batch_maker, seeded, stream_seed
from archspec.search.checkpoint import RunCheckpoint
from archspec.search.data.images import ImageArray, ImageData
from archspec.search.data.selection import stratified
from archspec.search.evaluation import chosen_device, evaluate, measure
from archspec.search.failure import TrainingFailed
from archspec.search.growth import Growth
from archspec.search.learning_curve import EpochResult, TrainResult
from archspec.search.optimisation import create_optimizer
from archspec.search.recipe import Recipe
from archspec.search.widths import Trained

__all__ = [
    "EpochResult",
    "OnEpoch",
    "OnStep",
    "TrainResult",
    "TrainingFailed",
    "check_recipe",
    "evaluate",
    "is_out_of_memory",
    "train",
]

OnEpoch = Callable[[EpochResult], bool]
OnStep = Callable[[int, int, int], None]
OnUnsaved = Callable[[TrainingFailed], None]

_ORDER, _AUGMENT = 1, 2  # purposes of a random stream
_WATCHED_STEPS = 16  # a GPU is asked for its losses so often: every question waits for it
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory", "alloc_failed")


def train(
    module: nn.Module,
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int,
    growth: Growth | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    identity: str = "",
    earlier: Sequence[Path] = (),
    micro_batch: int | None = None,
    on_epoch: OnEpoch | None = None,
    on_step: OnStep | None = None,
    on_unsaved: OnUnsaved | None = None,
) -> TrainResult:
    """Train a module in place; it takes (B, 3, H, W) and gives logits (B, classes). Its initialisation is the
    caller's.

    Args:
        module: moved to the device, and left there in evaluation mode with the weights of the last step.
        data: `data.train` is trained on, `data.val` is measured after every epoch.
        recipe: what happens in a step, and how many there are.
        seed: of the order of the images, the augmentation and the random draws inside the module; >= 0.
        growth: the spec of the module, for rungs of a width: until the last of them ends, narrower networks are
            trained and the module waits.
        device: `cpu`, `cuda`, `cuda:1`.
        checkpoint: written after every epoch; if it exists, the run continues from it. Never removed here.
        identity: what else tells runs apart, such as the hash of the spec; a checkpoint of another run is
            refused.
        earlier: checkpoints of earlier attempts, newest first: continued from where `checkpoint` is not there.
        micro_batch: images at a time, their gradients added up to those of the batch; None: the whole batch.
            Batch norm then sees the smaller batches.
        on_epoch: called after every epoch, when its checkpoint is on disk; False ends the run. Of a continued
            run it is called again for the epochs of the checkpoint, with the same results, so that nothing is
            lost with a process.
        on_step: called with (epoch, step, steps of an epoch) after each step, both from 1.
        on_unsaved: called when a checkpoint cannot be written; training goes on without. None: that is an error.

    Raises:
        TrainingFailed: the loss is not finite, memory ran out, the checkpoint is of another run, or the
            recipe does not suit the device or the data; `cause` says which.
    """
    run = _Run(module, growth, data, recipe, seed, chosen_device(device, recipe), on_step, micro_batch)
    saving = None
    if checkpoint is not None:
        saving = RunCheckpoint(checkpoint, module, recipe, seed, data.digest, identity, earlier, on_unsaved)
    try:
        return run.go(saving, on_epoch)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    failure = TrainingFailed(f"out of memory: {reason}", "out_of_memory", run.epoch, run.step)
    del run
    raise failure  # outside the handler: the frames of the error, and the tensors in them, are gone


def check_recipe(recipe: Recipe, device: str = "cpu") -> None:
    """Find out before a study starts what would fail in every one of its trials.

    Raises:
        TrainingFailed: no such device, optimiser or augmentation here (cause `error`).
    """
    chosen_device(device, recipe)
    create_optimizer(nn.Linear(2, 2), recipe)
    create_augment(recipe, 32, (0.5, 0.5, 0.5))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the host ran out of memory; also for the building of a
    module.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)


class _Run:
    """One call of `train`: what stays the same, and the place it has reached."""

    def __init__(
        self,
        module: nn.Module,
        growth: Growth | None,
        data: ImageData,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        on_step: OnStep | None,
        micro_batch: int | None,
    ) -> None:
        self.epoch, self.step = 0, 0
        self._data, self._recipe, self._seed = data, recipe, seed
        self._device, self._on_step = device, on_step
        self._last_lr = recipe.lr
        shares = [recipe.rung(epoch).subset or 1.0 for epoch in range(recipe.epochs)]
        chosen = {share: _used_images(data, share) for share in set(shares)}
        self._images = [chosen[share] for share in shares]
        self._steps = [len(images) // recipe.batch for images in self._images]
        if min(self._steps) == 0:
            have = f"{min(map(len, self._images))} training images"
            raise TrainingFailed(f"recipe.batch is {recipe.batch}, but there are only {have}: no full batch", "error")
        largest = max((rung.size or 0 for rung in recipe.rungs), default=0)
        if largest > data.size[0]:
            raise TrainingFailed(f"a rung has images of {largest} pixels, the data have {data.size[0]}", "error")
        self._maker = create_batch_maker(recipe, data.size[0], len(data.classes), data.mean, data.std, device)
        self._trained = Trained(module, growth, recipe, seed, self._steps, device, micro_batch)

    def go(self, saved: RunCheckpoint | None, on_epoch: OnEpoch | None) -> TrainResult:
        """Train to the end of the recipe, or until `on_epoch` says otherwise."""
        history, state = ([], {}) if saved is None else saved.read()
        self._trained.stand_at(max(0, len(history) - 1))
        if state:
            self._trained.optimisation.restore(state)
        resumed, stopped = len(history), False
        for result in history:
            stopped = stopped or (on_epoch is not None and not on_epoch(result))
        while len(history) < self._recipe.epochs and not stopped:
            self._trained.stand_at(len(history))
            history.append(self._one_epoch(len(history)))
            if saved is not None:
                saved.save(history, self._trained.optimisation)
            stopped = on_epoch is not None and not on_epoch(history[-1])
        self._trained.module.eval()
        return TrainResult(tuple(history), stopped, resumed)

    def _one_epoch(self, epoch: int) -> EpochResult:
        start = time.perf_counter()
        with seeded(self._seed, epoch, self._device):
            train_loss = self._steps_of(epoch)
        maker = self._maker_at(epoch)
        val_loss, accuracy = measure(self._trained.optimisation.evaluated, self._data.val, self._recipe, maker)
        if not math.isfinite(val_loss):
            raise self._diverged(val_loss, "validation loss", self._steps[epoch])
        return EpochResult(
            epoch=epoch + 1,
            train_loss=train_loss,
            val_loss=val_loss,
            val_accuracy=accuracy,
            lr=self._last_lr,
            seconds=time.perf_counter() - start,
            images=self._steps[epoch] * self._recipe.batch,
        )

    def _steps_of(self, epoch: int) -> float:
        """The steps of one epoch; the mean loss."""
        self.epoch, batch = epoch + 1, self._recipe.batch
        steps, before, maker = self._steps[epoch], sum(self._steps[:epoch]), self._maker_at(epoch)
        order = stream_seed(self._seed, epoch, _ORDER).permutation(self._images[epoch])
        losses: list[Tensor] = []
        self._trained.module.train()
        optimisation = self._trained.optimisation
        for step in range(steps):
            self.step = step + 1
            images, labels = self._data.train.take(order[step * batch : self.step * batch], epoch)
            x, target = maker.training(images, labels, stream_seed(self._seed, epoch, _AUGMENT, step))
            self._last_lr = optimisation.lr
            losses.append(optimisation.step(x, target, before + self.step))
            if self._device.type == "cpu" or len(losses) % _WATCHED_STEPS == 0:
                self._watch(losses)
            if self._on_step is not None:
                self._on_step(self.epoch, self.step, steps)
        self._watch(losses)
        return math.fsum(torch.stack(losses).tolist()) / len(losses)

    def _maker_at(self, epoch: int) -> BatchMaker:
        """What makes the batches of an epoch, at the size of its rung."""
        return replace(self._maker, size=self._recipe.rung(epoch).size)

    def _watch(self, losses: list[Tensor]) -> None:
        """Raises TrainingFailed, with the step, if one of the last losses is not finite."""
        first = max(0, len(losses) - (1 if self._device.type == "cpu" else _WATCHED_STEPS))
        for step, loss in enumerate(torch.stack(losses[first:]).tolist(), first + 1):
            if not math.isfinite(loss):
                raise self._diverged(loss, "loss", step)

    def _diverged(self, loss: float, name: str, step: int) -> TrainingFailed:
        where = f"epoch {self.epoch}, step {step} of {self._steps[self.epoch - 1]}"
        return TrainingFailed(f"diverged: the {name} is {loss} at {where}", "diverged", self.epoch, step)


def _used_images(data: ImageData, subset: float) -> NDArray[np.int64]:
    """Indices of the images that are trained on: all, or a share, every class in proportion."""
    count = max(1, round(subset * len(data.train)))
    if subset < 1 and isinstance(data.train, ImageArray):
        return stratified(data.train.labels, count, 0)
    return np.arange(count)
