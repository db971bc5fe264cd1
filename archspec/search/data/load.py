"""The `data:` section of a study in, its images out: `open_data`.

Everything lies decoded at proxy resolution in the cache (cache.py), so only the first opening draws or
decodes.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archspec.search.data import fractal, relation
from archspec.search.data.cache import CachedSet, Making, cached
from archspec.search.data.config import DataConfig
from archspec.search.data.image_files import ImageFiles, Role
from archspec.search.data.imagenette import imagenette_root
from archspec.search.data.images import ImageArray, ImageData, Images, ImageStream, Labels, Pixels
from archspec.search.data.timm_sets import timm_split

_CHUNK = 256  # images drawn at a time
_MEASURED = 1000  # images of a stream that its mean and deviation are measured on


@dataclass(frozen=True)
class Drawing:
    """A procedural set: `draw(seed, split, indices, size, classes)` -> images and labels."""

    draw: Callable[[int, str, NDArray[np.int64], int, int], tuple[Pixels, Labels]]
    version: int


DRAWINGS = {
    "fractal": Drawing(fractal.draw, fractal.VERSION),
    "relation": Drawing(relation.draw, relation.VERSION),
}


def open_data(config: DataConfig, with_test: bool = False) -> ImageData:
    """Open the images of a study, for any device: decoded, uint8, memory-mapped.

    Search on `val`; `with_test` also opens the test split, to be reported once.

    Raises:
        DataError: the data are missing, unreadable, or not what `config` says.
    """
    if config.procedural:
        return _open_procedural(config, with_test)
    if config.name in ("imagefolder", "imagenette"):
        root = Path(config.root or "").expanduser() if config.name == "imagefolder" else imagenette_root(config)
        split: Callable[[Role], CachedSet] = ImageFiles(root, config).split
    else:
        split = timm_split(config)
    train, val = split("train"), split("val")
    test = split("test").images if with_test else None
    return _assembled(train.images, val.images, test, train.classes)


def _assembled(train: Images, val: ImageArray, test: ImageArray | None, classes: tuple[str, ...]) -> ImageData:
    identity = json.dumps([train.digest, len(train), val.digest, classes])
    return ImageData(
        train=train,
        val=val.normalised_as(train),
        test=None if test is None else test.normalised_as(train),
        classes=classes,
        size=(val.images.shape[1], val.images.shape[2]),
        digest=hashlib.sha256(identity.encode()).hexdigest(),
    )


def _open_procedural(config: DataConfig, with_test: bool) -> ImageData:
    val = _drawn(config, "val")
    train: Images = _stream(config) if config.stream else _drawn(config, "train").images
    return _assembled(train, val.images, _drawn(config, "test").images if with_test else None, val.classes)


def _drawn(config: DataConfig, role: Role, count: int | None = None) -> CachedSet:
    """A fixed set: the first samples of the split's stream."""
    length = count or config.count(role) or 0
    drawing, classes = DRAWINGS[config.name], config.class_count or 0
    facts = {"name": config.name, "version": drawing.version, "seed": config.seed, "split": role}
    facts |= {"count": length, "size": config.size, "classes": classes}

    def chunks() -> Iterator[tuple[Pixels, Labels]]:
        for start in range(0, length, _CHUNK):
            indices = np.arange(start, min(start + _CHUNK, length), dtype=np.int64)
            yield drawing.draw(config.seed, role, indices, config.size, classes)

    return cached(facts, lambda: Making(tuple(map(str, range(classes))), chunks(), []))


def _stream(config: DataConfig) -> ImageStream:
    """The endless training set; its mean and deviation are those of its first images."""
    drawing, classes = DRAWINGS[config.name], config.class_count or 0
    first = _drawn(config, "train", _MEASURED).images

    def draw(indices: NDArray[np.int64]) -> tuple[Pixels, Labels]:
        return drawing.draw(config.seed, "train", indices, config.size, classes)

    return ImageStream(config.count("train") or 0, draw, first.mean, first.std, first.digest)
