"""`hfds/NAME` or `wds/NAME` in, its splits read through timm's readers, decoded and cached out.

Hugging Face data sets and WebDataset shards need the packages `datasets` and `webdataset`. The network is
used for `hfds/` only, and only with `data.download: true`.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from archspec.errors import DataError
from archspec.search.data import decode as decoding
from archspec.search.data.cache import CachedSet, Making, cached
from archspec.search.data.config import DataConfig
from archspec.search.data.image_files import EncodedImage, Role, check_classes, decoded_chunks
from archspec.search.data.listing import content_key
from archspec.search.data.selection import held_out, stratified

_NEEDED = {"hfds": "datasets", "wds": "webdataset"}


def timm_split(config: DataConfig) -> Callable[[Role], CachedSet]:
    """What opens a split of the named set.

    The returned function raises a DataError when the package, the set, the split or an image is missing.
    """
    return (_Shards(config) if config.family == "wds" else _Table(config)).split


def _create_reader(config: DataConfig, split: str) -> Any:
    from timm.data.readers.reader_factory import create_reader

    options = {"input_key": config.image_key, "target_key": config.label_key}
    if config.family == "hfds":
        options["download"] = config.download  # type: ignore[assignment]
    try:
        with _network(config.download):
            return create_reader(config.name, config.root, split=split, **options)
    except Exception as error:  # third-party code raises what it likes; whatever it is, the set cannot be opened
        package = _NEEDED[config.family]
        hint = f"; is the package {package} installed?" if isinstance(error, ImportError | RuntimeError) else ""
        hint = hint or (
            "" if config.download or config.family == "wds" else "; data.download is false: local files only"
        )
        raise DataError(f"{config.name}, split {split!r}: {type(error).__name__}: {error}{hint}") from error


@contextmanager
def _network(allowed: bool) -> Iterator[None]:
    """Keep Hugging Face's packages from the network unless it is allowed; they look at these names at every
    request.
    """
    if allowed:
        yield
        return
    from huggingface_hub import constants

    modules: list[Any] = [constants]
    with suppress(ImportError):  # without the package the reader says so
        modules.append(import_module("datasets.config"))
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


def _role_facts(config: DataConfig, role: Role, key: str) -> dict[str, Any]:
    facts = {name: value for name, value in config.protocol().items() if name not in ("train", "val")}
    facts |= {"role": role, "count": config.count(role), "content": key, "decoder": decoding.VERSION}
    return facts | ({"test_split": config.test_split} if role == "test" else {})


def _split_name(config: DataConfig, role: Role) -> str:
    return {
        "train": config.train_split,
        "val": config.val_split or config.train_split,
        "test": config.test_split,
    }[role]


def _label(config: DataConfig, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise DataError(f"{config.name}: {name} has the label {value!r}, not a class number; see data.label_key")
    return int(value)


class _Table:
    """A Hugging Face data set: random access by row."""

    def __init__(self, config: DataConfig) -> None:
        self._config = config
        self._readers: dict[str, Any] = {}

    def _reader(self, split: str) -> Any:
        if split not in self._readers:
            self._readers[split] = _create_reader(self._config, split)
        return self._readers[split]

    def split(self, role: Role) -> CachedSet:
        config = self._config
        reader = self._reader(_split_name(config, role))
        info = reader.dataset.info
        fingerprint = getattr(reader.dataset, "_fingerprint", "")  # of the files' content, the same in every process
        state = repr((len(reader), info.features, info.version, info.download_checksums, fingerprint))
        key = hashlib.sha256(state.encode()).hexdigest()
        return cached(_role_facts(config, role, key), lambda: self._make(role, reader))

    def _make(self, role: Role, reader: Any) -> Making:
        config = self._config
        labels = np.array(
            [_label(config, f"row {row}", label) for row, label in enumerate(reader.iter_targets())], np.int64
        )
        chosen = np.arange(len(labels))
        if config.val_split is None and role != "test":
            chosen = held_out(labels, config.val_share, config.seed)[role == "val"]
        count = config.count(role)
        if count is not None:
            chosen = chosen[stratified(labels[chosen], count, config.seed)]
        names = {number: name for name, number in reader.class_to_idx.items()}
        classes = tuple(names.get(number, str(number)) for number in range(max([*names, *labels.tolist()]) + 1))
        check_classes(config, classes)
        skipped: list[str] = []
        return Making(classes, decoded_chunks(self._encoded(reader, chosen.tolist(), labels), config, skipped), skipped)

    def _encoded(self, reader: Any, rows: list[int], labels: np.ndarray[Any, Any]) -> Iterator[EncodedImage]:
        for row in rows:
            with reader[row][0] as handle:
                yield EncodedImage(f"{self._config.name} row {row}", handle.read(), int(labels[row]))


class _Shards:
    """WebDataset shards in a folder, read in order: a subset is the first images of the split."""

    def __init__(self, config: DataConfig) -> None:
        self._config = config
        root = Path(config.root or "").expanduser()
        if not root.is_dir():
            raise DataError(f"{config.name}: data.root must be a folder of shards, found {root}")
        if config.val_split is None:
            raise DataError(f"{config.name}: data.val_split must name a split; shards are not cut here")
        self._key = content_key(root)

    def split(self, role: Role) -> CachedSet:
        return cached(_role_facts(self._config, role, self._key), lambda: self._make(role))

    def _make(self, role: Role) -> Making:
        config = self._config
        if config.class_count is None:
            raise DataError(f"{config.name}: data.classes must be given; shards hold class numbers only")
        classes = tuple(map(str, range(config.class_count)))
        skipped: list[str] = []
        return Making(classes, decoded_chunks(self._encoded(role), config, skipped), skipped)

    def _encoded(self, role: Role) -> Iterator[EncodedImage]:
        config, split = self._config, _split_name(self._config, role)
        reader, read = _create_reader(config, split), 0
        for image, label in islice(reader, config.count(role)):
            name = f"{config.name} {split} sample {read}"
            number = _label(config, name, label)
            if number >= (config.class_count or 0):
                raise DataError(f"{name} has the label {number}, but data.classes is {config.class_count}")
            read += 1
            yield EncodedImage(name, image, number)
        expected = min(len(reader), config.count(role) or len(reader))
        if read < expected and config.on_error == "fail":  # timm logs what it cannot decode and goes on
            raise DataError(f"{config.name}, split {split!r}: {expected - read} of {expected} samples are unreadable")
