"""A Parquet file of evaluated points goes in; a point's learning curve for a seed comes out: training, read not run.

    columns    digest, seed, name, cause, message, seconds, spec (YAML), gene.NAME, cost.NAME, and per epoch, as lists,
               train_loss, val_loss, val_accuracy, lr, epoch_seconds
    metadata   `archspec`: JSON of TableFacts - the space's text and digest, data, recipe, code version, machines

One row is one evaluation: a point trained with a seed. Everything is one file, so a table can be handed on as it is.
Needs pyarrow: pip install archspec-nas[table].
"""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archspec.errors import StoreError, nearest
from archspec.results.records import Cause, EpochRecord

if TYPE_CHECKING:
    from archspec.search.data.images import ImageData

VERSION = 1
METADATA = b"archspec"
_CURVE = {
    "train_loss": "train_loss",
    "val_loss": "val_loss",
    "val_accuracy": "val_accuracy",
    "lr": "lr",
    "epoch_seconds": "seconds",
}
Label = str | int | float | bool


@dataclass(frozen=True)
class TableFacts:
    """Where a table comes from: what is needed to make it again, and to know what it can answer."""

    space: str
    """Name of the space."""
    space_text: str
    space_digest: str
    data: Mapping[str, Any]
    data_digest: str
    size: tuple[int, int]
    classes: int
    recipe: Mapping[str, Any]
    epochs: int
    code: str
    """Version of archspec."""
    axes: Mapping[str, str]
    """Gene -> axis."""
    points: int
    """Feasible points of the space, of different networks."""
    sampled: int
    """How many of them were asked for: all, or a spread sample."""
    seeds: int
    machines: tuple[Mapping[str, Any], ...] = ()
    version: int = VERSION

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for two evaluations to stand in one table."""
        names = ("space_digest", "data_digest", "recipe", "code")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Entry:
    """One evaluation: a point trained with a seed; its curve is shorter than the recipe where training failed."""

    digest: str
    seed: int
    name: str
    genes: Mapping[str, Label]
    cost: Mapping[str, int]
    spec: str
    cause: Cause
    message: str
    seconds: float
    curve: tuple[EpochRecord, ...]

    @property
    def accuracy(self) -> float | None:
        """Of the last epoch, where training came to its end."""
        return self.curve[-1].val_accuracy if self.cause == "ok" and self.curve else None


@dataclass(frozen=True, eq=False)
class Table:
    """Evaluations by digest and seed."""

    facts: TableFacts
    entries: tuple[Entry, ...]
    path: Path | None = field(default=None)

    @property
    def data(self) -> "ImageData":
        """The data that the table was measured on, without their images: nobody who asks a table needs them."""
        import numpy as np

        from archspec.search.data.images import ImageArray, ImageData

        facts, grey = self.facts, (0.5, 0.5, 0.5)
        images, labels = np.zeros((0, *facts.size, 3), np.uint8), np.zeros(0, np.int64)
        nothing = ImageArray(images, labels, grey, grey, facts.data_digest)
        classes = tuple(f"class {number}" for number in range(facts.classes))
        return ImageData(nothing, nothing, None, classes, facts.size, facts.data_digest)

    @cached_property
    def by_digest(self) -> dict[str, tuple[Entry, ...]]:
        """The evaluations of each point, by seed."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in sorted(self.entries, key=lambda entry: entry.seed):
            found[entry.digest].append(entry)
        return {digest: tuple(of_point) for digest, of_point in found.items()}

    def __contains__(self, digest: object) -> bool:
        return digest in self.by_digest

    @cached_property
    def digest(self) -> str:
        """sha256 of what the table answers: part of the protocol of a study that asks it."""
        said = [[e.digest, e.seed, e.cause, [epoch.val_accuracy for epoch in e.curve]] for e in self.entries]
        return hashlib.sha256(json.dumps([self.facts.identity, sorted(said)]).encode()).hexdigest()

    def answer(self, digest: str, seed: int, trial: int) -> Entry:
        """The evaluation that a trial gets: one of the point's seeds, drawn by (study seed, trial).

        Drawn so that a study sees the noise of training, and the same study always the same. Raises StoreError for a
        point that is not in the table.
        """
        found = self.by_digest.get(digest)
        if found is None:
            raise StoreError(f"the table has no such point\n    found: {digest}, among {len(self.by_digest)} points")
        drawn = hashlib.sha256(f"{seed}|{trial}|{digest}".encode()).digest()
        return found[int.from_bytes(drawn[:8], "big") % len(found)]

    def mean_accuracy(self, digest: str) -> float | None:
        """Of a point, over its seeds that came to their end: what a search looks for."""
        known = [entry.accuracy for entry in self.by_digest.get(digest, ()) if entry.accuracy is not None]
        return sum(known) / len(known) if known else None


def replay(entry: Entry, epochs: int, on_epoch: Callable[[EpochRecord], bool]) -> tuple[Cause, dict[str, float], str]:
    """Live through an evaluation as training would: each epoch is reported, and `on_epoch` may stop it with False.

    Gives cause, values and message, as an outcome is recorded.
    """
    values: dict[str, float] = {}
    for epoch in entry.curve[:epochs]:
        measured = {"accuracy": epoch.val_accuracy, "val_loss": epoch.val_loss}
        values = {name: value for name, value in measured.items() if value is not None}
        if not on_epoch(epoch) and epoch.epoch < min(epochs, len(entry.curve)):
            return "pruned", values, ""
    if entry.cause != "ok" and epochs > len(entry.curve):
        return entry.cause, {}, entry.message
    return "ok", values, ""


def write_table(path: Path, facts: TableFacts, entries: Sequence[Entry]) -> Path:
    """Write a table; the file is whole or not there. Raises StoreError: no pyarrow, or it cannot be written."""
    arrow, parquet = _pyarrow()
    columns = {name: [row[name] for row in map(_row, entries)] for name in _row(entries[0])} if entries else {}
    made = arrow.table({name: _array(arrow, name, values) for name, values in columns.items()})
    made = made.replace_schema_metadata({METADATA: json.dumps(asdict(facts), default=str).encode()})
    temporary = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(made, temporary, compression="zstd")
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"the table cannot be written: {error}\n    found: {path}") from error
    return path


def read_table(path: str | Path, beside: Path | None = None) -> Table:
    """Read a table; a relative path is looked for beside a file too (a study). Raises StoreError."""
    _, parquet = _pyarrow()
    file = next((f for f in (Path(path), (beside or Path()) / path) if f.is_file()), None)
    if file is None:
        near = nearest(str(path), [str(found) for found in Path().glob("**/*.parquet")][:200]) or ("archspec tabulate",)
        raise StoreError(f"no such table\n    found: {path}\n    nearest: {', '.join(near)}")
    try:
        found = parquet.read_table(file)
    except (OSError, ValueError) as error:
        raise StoreError(f"the table cannot be read: {error}\n    found: {file}") from error
    facts = _facts((found.schema.metadata or {}).get(METADATA), file)
    return Table(facts, tuple(map(_entry, found.to_pylist())), file)


def _facts(written: bytes | None, file: Path) -> TableFacts:
    known = {each.name for each in fields(TableFacts)}
    said = json.loads(written) if written else {}
    if said.get("version") != VERSION or not known >= set(said):
        version = said.get("version", "none: not a table of archspec")
        raise StoreError(f"a table of version {VERSION} is read here\n    found: {version} in {file}")
    said["size"], said["machines"] = tuple(said["size"]), tuple(said["machines"])
    return TableFacts(**said)


def _row(entry: Entry) -> dict[str, Any]:
    names = ("digest", "seed", "name", "cause", "message", "seconds", "spec")
    row: dict[str, Any] = {name: getattr(entry, name) for name in names}
    row |= {f"gene.{name}": value for name, value in entry.genes.items()}
    row |= {f"cost.{name}": value for name, value in entry.cost.items()}
    return row | {column: [getattr(e, name) for e in entry.curve] for column, name in _CURVE.items()}


def _array(arrow: Any, name: str, values: list[Any]) -> Any:
    if name in _CURVE:
        return arrow.array(values, type=arrow.list_(arrow.float64()))
    if name.startswith("gene.") and len({type(value) for value in values}) > 1:
        return arrow.array([str(value) for value in values])
    array = arrow.array(values)
    return array.dictionary_encode() if arrow.types.is_string(array.type) and name != "digest" else array


def _entry(row: Mapping[str, Any]) -> Entry:
    curves = zip(*(row[column] for column in _CURVE), strict=True)
    curve = tuple(
        EpochRecord(epoch, **dict(zip(_CURVE.values(), values, strict=True))) for epoch, values in enumerate(curves, 1)
    )
    plain = {name: row[name] for name in ("digest", "seed", "name", "cause", "message", "seconds", "spec")}
    return Entry(genes=_under("gene.", row), cost=_under("cost.", row), curve=curve, **plain)


def _under(prefix: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise StoreError("tables need pyarrow: pip install 'archspec-nas[table]'") from error
    return pyarrow, pyarrow.parquet


def differing(facts: TableFacts, other: TableFacts) -> Iterable[str]:
    """What keeps two tables, or a table and what is about to be added to it, apart."""
    mine, theirs = (json.loads(json.dumps(each.identity, default=str)) for each in (facts, other))
    return (f"{name}: {theirs[name]} there, {mine[name]} here" for name in mine if mine[name] != theirs[name])
