"""A folder or a tar of images in, the list of its images with split and class out.

`<split>/<class>/*.jpg` or `<class>/*.jpg`, at any depth below the class; folders above the splits that hold
nothing else are passed over. Files are found and opened by timm's readers.
"""

import hashlib
import os
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from archspec.errors import DataError, nearest

_HASHED_BYTES = 2**30  # larger tars are known by their size and time: hashing ImageNet takes minutes


@dataclass(frozen=True)
class ImageListing:
    """The images of a tree or tar: names relative to the root, in timm's order, and the reader that opens
    them.
    """

    root: Path
    reader: Any
    names: tuple[str, ...]
    """Below the folders that every image shares."""

    positions: tuple[int, ...]
    """Index of each name in the reader."""

    train_split: str

    @cached_property
    def flat(self) -> bool:
        """Whether there are classes only, and no splits: nothing lies deep enough below the training split's
        name.
        """
        depths = {(path.parts[0] == self.train_split, len(path.parts)) for path in map(PurePosixPath, self.names)}
        return any(depth == 2 for _, depth in depths) and not any(of_train and depth > 2 for of_train, depth in depths)

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits; empty for a flat tree."""
        return () if self.flat else tuple(sorted({name.partition("/")[0] for name in self.names}))

    def members(self, split: str | None) -> NDArray[np.int64]:
        """Indices into `names` of the images of a split; None: of all images.

        Raises:
            DataError: there is no such split, or an image of it lies in no class folder.
        """
        if split is None:
            return np.arange(len(self.names))
        if split not in self.splits:
            close = nearest(split, self.splits) or self.splits
            raise DataError(f"{self.root} has no split {split!r}; nearest: {', '.join(close) or 'it has no splits'}")
        found = [index for index, name in enumerate(self.names) if name.startswith(split + "/")]
        stray = next((self.names[index] for index in found if self.names[index].count("/") < 2), None)
        if stray is not None:
            raise DataError(f"{self.root}: {stray} lies in no class folder; expected {split}/<class>/<image>")
        return np.array(found, np.int64)

    def class_of(self, index: int) -> str:
        """The folder that names the class: the first of a flat tree, the second below a split."""
        return PurePosixPath(self.names[index]).parts[0 if self.flat else 1]

    def open(self, index: int) -> BinaryIO:
        """The image file, to be closed by the caller."""
        handle: BinaryIO = self.reader[self.positions[index]][0]
        return handle

    def close(self) -> None:
        """Close the tar that timm's reader keeps open; it opens it again when needed."""
        state = getattr(self.reader, "tar_state", None)
        if state is not None and state.tf is not None:
            state.tf.close()
            state.reset()


def list_images(root: Path, train_split: str) -> ImageListing:
    """List a tree or tar.

    Raises:
        DataError: no such place, not a folder or a `.tar`, or not one image in class folders inside.
    """
    from timm.data.readers.reader_factory import create_reader

    check_root(root)
    # Leave no file beside the user's tar.
    options: dict[str, Any] = {"cache_tarinfo": False} if root.is_file() else {}
    try:
        reader = create_reader("", str(root), **options)
    except (RuntimeError, ValueError, OSError, tarfile.TarError) as error:
        # ValueError: timm unpacks an empty list of samples.
        raise DataError(f"{root} holds no images that timm can list: {error}") from error
    paths = [PurePosixPath(os.path.normpath(name).replace(os.sep, "/")) for name in reader.filenames()]
    found = [(path, i) for i, path in enumerate(paths) if not path.name.startswith(".") and len(path.parts) > 1]
    if not found:
        raise DataError(f"{root}: images must lie in folders named by their class")
    shared = _shared_folders([path for path, _ in found], train_split)
    names = tuple("/".join(path.parts[shared:]) for path, _ in found)
    return ImageListing(root, reader, names, tuple(index for _, index in found), train_split)


def check_root(root: Path) -> None:
    """Raises DataError unless the root is a folder or a `.tar`."""
    if not root.exists():
        raise DataError(f"no images at {root}: the folder or .tar does not exist")
    if root.is_file() and root.suffix.lower() != ".tar":
        raise DataError(f"{root} is neither a folder nor a .tar; unpack it first")


def _shared_folders(paths: list[PurePosixPath], train_split: str) -> int:
    """How many leading folders hold everything and are neither a split nor a class."""
    shared = 0
    while all(len(path.parts) > shared + 2 for path in paths):
        names = {path.parts[shared] for path in paths}
        if len(names) > 1 or train_split in names:
            break
        shared += 1
    return shared


def content_key(root: Path) -> str:
    """What tells one state of a tree or tar from another: SHA-256 of the tar, or of every file's name, size
    and time.

    Tars over 1 GiB are known by size and time. Where the tree lies makes no difference.

    Raises:
        DataError: no such place, not a folder or a `.tar`, or a file that cannot be looked at.
    """
    check_root(root)
    digest = hashlib.sha256()
    if root.is_file():
        facts = root.stat()
        if facts.st_size > _HASHED_BYTES:
            return hashlib.sha256(f"tar {facts.st_size} {facts.st_mtime_ns}".encode()).hexdigest()
        with root.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    for folder, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            try:
                facts = os.stat(path)
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error}") from error
            relative = os.path.relpath(path, root)
            digest.update(f"{relative}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
