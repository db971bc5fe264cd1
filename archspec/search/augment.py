"""A batch of decoded images in, the normalised and augmented batch that a network trains on out.

Shifts and flips run on the whole uint8 batch; RandAugment, random erasing, mixup and CutMix are timm's.

Axes: B images of a batch, H and W, 3 colours: last in uint8, first in the network's input.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from archspec.search.data.images import Channels, Labels, Pixels
from archspec.search.recipe import Recipe

Augment = Callable[[Pixels, np.random.Generator], Pixels]


def stream_seed(seed: int, *place: int) -> np.random.Generator:
    """The generator of a place (epoch, step, purpose) of a run; it depends on nothing that happened
    before.
    """
    return np.random.default_rng((seed, *place))


@contextmanager
def seeded(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Inside, every global generator (torch's, numpy's, Python's) starts from (seed, epoch); outside, none
    has moved.

    Drop path, mixup and RandAugment draw from them. As every epoch starts anew, a resumed run needs no
    generator states.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()
    devices = [device] if device.type == "cuda" else []
    first, second = np.random.SeedSequence((seed, epoch, 7)).generate_state(2)
    try:
        with torch.random.fork_rng(devices):
            torch.manual_seed(int(first))
            np.random.seed(int(second))
            random.seed(int(first) * 2**32 + int(second))
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def flip(images: Pixels, generator: np.random.Generator) -> Pixels:
    """Mirror each image left-right with probability 1/2."""
    mirrored = generator.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def crop_flip(images: Pixels, generator: np.random.Generator) -> Pixels:
    """Shift each image by up to an eighth of its side, borders reflected, then flip."""
    size = images.shape[1]
    margin = max(1, size // 8)
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")
    corner = generator.integers(0, 2 * margin + 1, (2, len(images)))
    rows, columns = (corner[:, :, None] + np.arange(size))[:, :, :]
    cut = padded[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
    return flip(cut, generator)


def create_augment(recipe: Recipe, size: int, mean: Channels) -> Augment | None:
    """What happens to the uint8 images (B, H, W, 3) of a batch; None if nothing does."""
    table: dict[str, Augment | None] = {"none": None, "flip": flip, "crop_flip": crop_flip}
    if recipe.augment in table:
        return table[recipe.augment]
    from PIL import Image
    from timm.data.auto_augment import rand_augment_transform

    colours = tuple(round(255 * value) for value in mean)
    transform = rand_augment_transform(
        recipe.augment, {"translate_const": max(1, round(0.45 * size)), "img_mean": colours}
    )

    def augment(images: Pixels, generator: np.random.Generator) -> Pixels:
        cut = crop_flip(images, generator)
        return np.stack([np.asarray(transform(Image.fromarray(image))) for image in cut])

    return augment


@dataclass(frozen=True)
class BatchMaker:
    """Turns images and labels of a batch into the input and target of a step, on a device."""

    device: torch.device
    scale: Tensor
    shift: Tensor
    augment: Augment | None
    erase: Callable[[Tensor], Tensor] | None
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None
    size: int | None = None
    """Side to which images are averaged down; None: as they are."""

    def training(self, images: Pixels, labels: Labels, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Input (B, 3, H, W), channels last in memory, and labels (B,) or, if mixed, distributions (B,
        classes).
        """
        x, target = self.plain(images if self.augment is None else self.augment(images, generator), labels)
        if self.erase is not None:
            x = self.erase(x)
        return (x, target) if self.mix is None else self.mix(x, target)

    def plain(self, images: Pixels, labels: Labels) -> tuple[Tensor, Tensor]:
        """Input (B, 3, H, W), channels last in memory, and labels (B,), without augmentation."""
        x = torch.from_numpy(np.ascontiguousarray(images)).to(self.device, non_blocking=True)
        target = torch.from_numpy(labels).to(self.device, non_blocking=True)
        x = (x.float() * self.scale + self.shift).permute(0, 3, 1, 2)
        return (x if self.size is None else nn.functional.interpolate(x, self.size, mode="area")), target


def create_batch_maker(
    recipe: Recipe, size: int, classes: int, mean: Channels, std: Channels, device: torch.device
) -> BatchMaker:
    """The batch maker of a recipe for images of a size, with the mean and deviation of their colours in
    0..1.
    """
    erase: Any = None
    if recipe.random_erasing:
        from timm.data.random_erasing import RandomErasing

        make_eraser: Any = RandomErasing
        erase = make_eraser(recipe.random_erasing, mode="pixel", device=str(device))
    mix: Any = None
    if recipe.mixes:
        from timm.data.mixup import Mixup

        make_mixer: Any = Mixup
        mix = make_mixer(recipe.mixup, recipe.cutmix, label_smoothing=recipe.label_smoothing, num_classes=classes)
    deviation = torch.tensor(std, device=device)
    shift = -torch.tensor(mean, device=device) / deviation
    augment = create_augment(recipe, size, mean)
    return BatchMaker(device, 1 / (255 * deviation), shift, augment, erase, mix)
