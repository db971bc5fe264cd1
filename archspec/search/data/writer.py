"""Chunks of images in, `images.npy` and `labels.npy` of a folder out, each complete or absent.

Axes: N images (unknown until the end), H and W (equal), 3 colours, last.
"""

import hashlib
import os
from io import BytesIO
from math import sqrt
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.lib.format import write_array_header_1_0

from archspec.errors import DataError
from archspec.search.data.images import Labels, Pixels


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one whole, whenever the process dies."""
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


class ArrayWriter:
    """Appends to an .npy file whose length is known only at the end: numpy pads the header for that
    purpose.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._labels: list[Labels] = []
        self._shape: tuple[int, ...] = ()
        self._count = 0
        self._sha = hashlib.sha256()
        self._histogram = np.zeros((3, 256), np.int64)
        self._temporary = _temporary(folder / "images.npy")

    def __enter__(self) -> Self:
        self._file: BinaryIO = self._temporary.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def append(self, images: Pixels, labels: Labels) -> None:
        """Add images (N, H, W, 3) and labels (N,)."""
        if not self._shape:
            self._shape = images.shape[1:]
            self._header()
        images = np.ascontiguousarray(images)
        self._file.write(images.data)
        self._sha.update(images.data)
        for channel in range(3):
            self._histogram[channel] += np.bincount(images[..., channel].ravel(), minlength=256)
        self._labels.append(labels)
        self._count += len(images)

    def finish(self) -> dict[str, Any]:
        """Put both files in their place; the summary: shape, digest, mean and std of the colours in 0..1.

        Raises:
            DataError: not one image was appended.
        """
        if not self._count:
            raise DataError("the data set has no readable image")
        self._file.seek(0)
        self._header()
        self._file.flush()
        os.fsync(self._file.fileno())
        labels = np.concatenate(self._labels).astype(np.int64)
        self._sha.update(labels.tobytes())
        content = BytesIO()
        np.save(content, labels, allow_pickle=False)
        os.replace(self._temporary, self._folder / "images.npy")
        replace_file(self._folder / "labels.npy", content.getvalue())
        mean, std = _moments(self._histogram)
        shape = [self._count, *self._shape]
        return {"shape": shape, "digest": self._sha.hexdigest(), "mean": mean, "std": std}

    def _header(self) -> None:
        facts = {"descr": "|u1", "fortran_order": False, "shape": (self._count, *self._shape)}
        write_array_header_1_0(self._file, facts)


def _moments(histogram: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per colour from exact integer sums, so that they depend on no order of
    summing.
    """
    mean, std = [], []
    for counts in histogram.tolist():
        pixels = sum(counts)
        first = sum(level * count for level, count in enumerate(counts))
        second = sum(level * level * count for level, count in enumerate(counts))
        mean.append(first / pixels / 255)
        std.append(max(sqrt(pixels * second - first * first) / pixels / 255, 1e-3))
    return mean, std
