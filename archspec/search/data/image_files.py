"""A folder or a tar of images in, its splits decoded and cached out.

Axes: N images of a split, B images of a chunk.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import islice
from os import cpu_count
from pathlib import Path
from re import split
from tarfile import TarError
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from archspec.errors import DataError
from archspec.search.data import decode as decoding
from archspec.search.data.cache import CachedSet, Making, cached
from archspec.search.data.config import DataConfig
from archspec.search.data.images import Labels, Pixels
from archspec.search.data.listing import ImageListing, content_key, list_images
from archspec.search.data.selection import held_out, stratified

Role = Literal["train", "val", "test"]

_CHUNK = 512  # images decoded at a time


@dataclass(frozen=True)
class EncodedImage:
    """An image before it has its size: a name for messages, its file or what a reader made of it, its
    label.
    """

    name: str
    content: bytes | Image.Image
    label: int


@dataclass(frozen=True)
class ImageFiles:
    """A tree or tar and what a study asks of it; it is listed only when a split is not in the cache."""

    root: Path
    config: DataConfig

    @cached_property
    def _key(self) -> str:
        return content_key(self.root)

    @cached_property
    def _listing(self) -> ImageListing:
        return list_images(self.root, self.config.train_split)

    def split(self, role: Role) -> CachedSet:
        """The images of a split.

        Raises:
            DataError: the split, or an image of it, cannot be had.
        """
        config = self.config
        facts = {key: value for key, value in config.protocol().items() if key not in ("train", "val")}
        facts |= {
            "role": role,
            "count": config.count(role),
            "content": self._key,
            "decoder": decoding.VERSION,
        }
        if role == "test":
            facts["test_split"] = config.test_split
        return cached(facts, lambda: self._make(role))

    def _make(self, role: Role) -> Making:
        chosen, classes = self._chosen(role)
        number = {name: index for index, name in enumerate(classes)}
        skipped: list[str] = []
        images = self._encoded([(int(i), number[self._listing.class_of(i)]) for i in chosen])
        return Making(classes, decoded_chunks(images, self.config, skipped), skipped)

    def _encoded(self, chosen: Sequence[tuple[int, int]]) -> Iterator[EncodedImage]:
        try:
            for index, label in chosen:
                name = f"{self.root}/{self._listing.names[index]}"
                try:
                    with self._listing.open(index) as handle:
                        content = handle.read()
                except (OSError, TarError) as error:
                    raise DataError(f"{name} cannot be read: {error}") from error
                yield EncodedImage(name, content, label)
        finally:
            self._listing.close()

    def _chosen(self, role: Role) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Indices (N,) of the images of a role, and the names of the classes: those of the training split."""
        stay, out = self._train_and_held_out()
        names = {self._listing.class_of(index) for index in np.concatenate([stay, out])}
        classes = tuple(sorted(names, key=_natural))
        check_classes(self.config, classes)
        chosen = {"train": stay, "val": out}.get(role, out)
        if role == "test":
            chosen = self._members(self.config.test_split, "test_split")
        elif role == "val" and not len(out):
            chosen = self._members(str(self.config.val_split), "val_split")
        foreign = {self._listing.class_of(index) for index in chosen} - names
        if foreign:
            raise DataError(f"{self.root}: the {role} images have classes without training images: {sorted(foreign)}")
        labels = np.array([classes.index(self._listing.class_of(index)) for index in chosen], np.int64)
        asked = self.config.count(role)
        return (chosen if asked is None else chosen[stratified(labels, asked, self.config.seed)]), classes

    def _train_and_held_out(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The training images, and those held out of them: none where the tree has a split for validation."""
        listing, config = self._listing, self.config
        members = self._members(None if listing.flat else config.train_split, "train_split")
        if not listing.flat and config.val_split is not None:
            return members, np.empty(0, np.int64)
        _, labels = np.unique([listing.class_of(index) for index in members], return_inverse=True)
        if len(members) < 2:
            raise DataError(f"{self.root}: one image cannot be split into training and validation")
        stay, out = held_out(labels.astype(np.int64), config.val_share, config.seed)
        return members[stay], members[out]

    def _members(self, split: str | None, key: str) -> NDArray[np.int64]:
        try:
            return self._listing.members(split)
        except DataError as error:
            hint = " (or val_split: null, to hold out a share of the training images)" if key == "val_split" else ""
            raise DataError(f"data.{key}: {error}{hint}") from error


def check_classes(config: DataConfig, classes: Sequence[str]) -> None:
    """Raises DataError unless there are at least two classes, and as many as the study says."""
    if len(classes) < 2:
        raise DataError(f"{config.name}: at least two classes are needed, found {list(classes)}")
    if config.classes not in (None, len(classes)):
        raise DataError(f"data.classes is {config.classes}, but {config.name} has {len(classes)} classes")


def decoded_chunks(
    images: Iterator[EncodedImage], config: DataConfig, skipped: list[str]
) -> Iterator[tuple[Pixels, Labels]]:
    """Chunks (B, size, size, 3), (B,) of the images, decoded side by side on all cores, in order.

    What cannot be decoded raises a DataError with its name, or is appended to `skipped`, as `config.on_error`
    says.
    """

    def attempt(image: EncodedImage) -> Pixels | str:
        try:
            source = BytesIO(image.content) if isinstance(image.content, bytes) else image.content
            return decoding.decode(source, config.size, config.resize)
        except decoding.Unreadable as error:
            return f"{image.name}: {error}"

    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        while chunk := list(islice(images, _CHUNK)):
            results = list(pool.map(attempt, chunk))
            broken = [result for result in results if isinstance(result, str)]
            if broken and config.on_error == "fail":
                raise DataError(f"unreadable image {broken[0]}; remove it, or set data.on_error: skip")
            skipped.extend(broken)
            good = [(r, image.label) for r, image in zip(results, chunk, strict=True) if not isinstance(r, str)]
            if good:
                yield np.stack([r for r, _ in good]), np.array([label for _, label in good], np.int64)


def _natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Sort key that puts class 9 before class 10, as timm does."""
    return tuple(
        (not part.isdecimal(), int(part) if part.isdecimal() else 0, part.lower()) for part in split(r"(\d+)", name)
    )
