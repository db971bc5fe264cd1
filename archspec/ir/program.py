"""A whole network as ops: its digest, its stable text, its table of parameters."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from archspec.ir.connect import Op
from archspec.ir.feature import Feature, Parameter
from archspec.ir.ops import Residual


@dataclass(frozen=True)
class Program:
    """A whole network. `name` is what a person calls it and no part of what it means."""

    name: str
    image: Feature
    classes: int
    ops: tuple[Op, ...]

    @cached_property
    def digest(self) -> str:
        """sha256 of the meaning: equal for specs with the same normal form, whatever their names and layout."""
        text = "\n".join(_lines(self.ops, with_paths=False))
        return hashlib.sha256(f"archspec ir 1\n{self.image}\n{text}\n".encode()).hexdigest()

    def __str__(self) -> str:
        head = f"{self.name}: {self.image} -> {self.classes} classes, digest {self.digest[:16]}"
        return "\n".join([head, *_lines(self.ops, with_paths=True)])


def walk(ops: tuple[Op, ...]) -> Iterator[Op]:
    """Every op in the order it runs, a residual before what is inside it."""
    for op in ops:
        yield op
        if isinstance(op, Residual):
            yield from walk(op.ops)


def parameter_table(program: Program) -> dict[str, Parameter]:
    """Every parameter and buffer by its full name: the names of a checkpoint, op by op."""
    return {f"{op.path}.{row.name}": row for op in walk(program.ops) for row in op.parameters}


def _lines(ops: tuple[Op, ...], with_paths: bool, indent: str = "") -> Iterator[str]:
    for op in ops:
        place = f"{op.path}: " if with_paths else ""
        words = (type(op).__name__.lower(), op.facts(), f"[{op.source} -> {op.target}]")
        yield indent + place + " ".join(word for word in words if word)
        if isinstance(op, Residual):
            yield from _lines(op.ops, with_paths, indent + "  ")
