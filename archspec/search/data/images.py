"""Decoded images with their labels, the form in which every data set reaches training.

Axes: N images of a set, B images of a batch, H and W (equal), 3 colours, last.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Channels = tuple[float, float, float]


@dataclass(frozen=True)
class ImageArray:
    """A fixed set: images (N, H, W, 3) uint8, on disk and memory-mapped, labels (N,), and how to normalise
    them.
    """

    images: Pixels
    labels: Labels
    mean: Channels
    """Of the training images, colours in 0..1."""
    std: Channels
    """Of the training images, colours in 0..1."""
    digest: str
    """SHA-256 of the pixels and labels."""
    skipped: tuple[str, ...] = ()
    """Unreadable images that were left out (`on_error: skip`)."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64], epoch: int = 0) -> tuple[Pixels, Labels]:
        """Images (B, H, W, 3) and labels (B,); the epoch makes no difference to a fixed set."""
        return self.images[indices], self.labels[indices]

    def normalised_as(self, other: "Images") -> "ImageArray":
        """The same images, to be normalised with the statistics of another set."""
        return replace(self, mean=other.mean, std=other.std)


@dataclass(frozen=True)
class ImageStream:
    """An endless set, cut into epochs of `length`: sample i of epoch e is sample e * length + i of the
    stream.
    """

    length: int
    draw: Callable[[NDArray[np.int64]], tuple[Pixels, Labels]]
    mean: Channels
    std: Channels
    digest: str
    """SHA-256 of the first images, with which the statistics were measured."""
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.length

    def take(self, indices: NDArray[np.int64], epoch: int = 0) -> tuple[Pixels, Labels]:
        """Fresh images (B, H, W, 3) and labels (B,) of the epoch; indices in 0 .. length - 1."""
        return self.draw(indices + epoch * self.length)


Images = ImageArray | ImageStream


@dataclass(frozen=True)
class ImageData:
    """Everything a study needs of its data; search on `val`, report once on `test`."""

    train: Images
    val: ImageArray
    test: ImageArray | None
    classes: tuple[str, ...]
    size: tuple[int, int]
    """Height and width, equal."""
    digest: str
    """Identity of the content: SHA-256 over the digests of train and val and the names of the classes."""

    @property
    def mean(self) -> Channels:
        """Of the training images, colours in 0..1."""
        return self.train.mean

    @property
    def std(self) -> Channels:
        """Of the training images, colours in 0..1."""
        return self.train.std
