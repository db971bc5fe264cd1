"""The facts that define a set of images and a way to make them in, the images memory-mapped from disk out.

A set is a folder named by the hash of its facts: images.npy, labels.npy and meta.json, each written under
another name, flushed and renamed, meta.json last. A folder whose meta.json is absent, of other facts or at
odds with the files is made anew. Two processes at once write the same bytes; a lock lets the second wait
where the system has locks.

Axes: N images, H and W (equal), 3 colours, last.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from archspec.errors import DataError
from archspec.search.data.images import ImageArray, Labels, Pixels
from archspec.search.data.writer import ArrayWriter, replace_file

FORMAT = 1
_VERIFIED_BYTES = 2**28  # larger files are checked by size and header only: reading ImageNet back takes too long


@dataclass(frozen=True)
class Making:
    """How a missing set is made: chunks of images and labels, the names of the classes, what was left out so
    far.
    """

    classes: tuple[str, ...]
    chunks: Iterator[tuple[Pixels, Labels]]
    skipped: list[str]


@dataclass(frozen=True)
class CachedSet:
    """A set of images as it lies in the cache, with the names of its classes."""

    images: ImageArray
    classes: tuple[str, ...]


def cache_folder() -> Path:
    """`$ARCHSPEC_CACHE`, or `~/.cache/archspec`."""
    return Path(os.environ.get("ARCHSPEC_CACHE") or Path.home() / ".cache" / "archspec").expanduser()


def cached(facts: Mapping[str, Any], make: Callable[[], Making]) -> CachedSet:
    """The set that `facts` (JSON values) define: read if it is there and whole, else made, stored and read.

    Raises:
        DataError: the cache cannot be written, or `make` raised it.
    """
    written = json.loads(json.dumps(dict(facts), sort_keys=True))
    key = hashlib.sha256(json.dumps([FORMAT, written], sort_keys=True).encode()).hexdigest()
    folder = cache_folder() / "images" / key[:32]
    found = _read(folder, written)
    if found is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / "lock"):
            found = _read(folder, written)  # another process may have made it while this one waited
            if found is None:
                _write(folder, written, make())
                found = _read(folder, written)
    except OSError as error:
        raise DataError(f"the image cache {folder} cannot be written: {error}; set ARCHSPEC_CACHE") from error
    if found is None:
        raise DataError(f"the image cache {folder} does not read back as it was written; is the disk full or broken?")
    return found


def _write(folder: Path, facts: Mapping[str, Any], making: Making) -> None:
    with ArrayWriter(folder) as writer:
        for images, labels in making.chunks:
            writer.append(images, labels)
        summary = writer.finish()
    meta = {"format": FORMAT, "facts": facts, "classes": making.classes, "skipped": making.skipped} | summary
    replace_file(folder / "meta.json", json.dumps(meta, sort_keys=True).encode())


def _read(folder: Path, facts: Mapping[str, Any]) -> CachedSet | None:
    """The set, or None if any part of it is absent, torn or of another origin."""
    try:
        meta = json.loads((folder / "meta.json").read_bytes())
        if meta["format"] != FORMAT or meta["facts"] != facts:
            return None
        images = np.asarray(np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False))
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        if list(images.shape) != meta["shape"] or labels.shape != (len(images),):
            return None
        if images.dtype != np.uint8 or labels.dtype != np.int64:
            return None
        if images.nbytes <= _VERIFIED_BYTES and _digest(images, labels) != meta["digest"]:
            return None
        mean, std = ((m[0], m[1], m[2]) for m in (meta["mean"], meta["std"]))
        array = ImageArray(images, labels, mean, std, meta["digest"], tuple(meta["skipped"]))
        return CachedSet(array, tuple(meta["classes"]))
    except (OSError, ValueError, KeyError, IndexError, TypeError, EOFError):
        return None


def _digest(images: Pixels, labels: Labels) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    digest.update(labels.tobytes())
    return digest.hexdigest()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that the system releases when the process dies; without one, two makers do the same work
    twice.
    """
    try:
        from fcntl import LOCK_EX, flock
    except ImportError:
        yield
        return
    with path.open("a") as handle:
        flock(handle, LOCK_EX)
        yield
