"""A small module and made images go out, for tests that train."""

import numpy as np
import torch
from torch import nn

from archspec.search.data.images import ImageArray, ImageData
from archspec.search.train import (
    EpochResult,
)

CLASSES = 3


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
