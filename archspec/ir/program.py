"""A whole network as ops: its digest, its stable text, its table of parameters."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from archspec.ir.connect import Op
from archspec.ir.feature import Feature, Parameter
from archspec.ir.ops import Residual
from archspec.ir.streams import Branch, Branches


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
    """Every op in the order it runs, one that holds others before what is inside it."""
    for op in ops:
        yield op
        for inner in inside(op):
            yield from walk(inner)


def inside(op: Op) -> tuple[tuple[Op, ...], ...]:
    """The lists of ops that an op holds: none for most."""
    if isinstance(op, Residual):
        return (op.ops,)
    return tuple(branch.ops for branch in op.branches) if isinstance(op, Branches) else ()


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
        elif isinstance(op, Branches):
            parts = [list(_branch_lines(branch, with_paths, indent + "  ")) for branch in op.branches]
            # Where the order of the branches means nothing, it is no part of the identity.
            ordered = sorted(parts) if op.commutes and not with_paths else parts
            yield from (line for part in ordered for line in part)


def _branch_lines(branch: Branch, with_paths: bool, indent: str) -> Iterator[str]:
    yield f"{indent}branch of {branch.feed} [-> {branch.target}]"
    yield from _lines(branch.ops, with_paths, indent + "  ")
