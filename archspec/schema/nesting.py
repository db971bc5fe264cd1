"""A step or a network goes in; the lists of steps inside it, the blocks it names, and how large it grows come out.

A file is small, but what it says need not be: a block may name another one many times, and that one another. Sizes
are found block by block, each once, so that a file that would grow without bound is refused at once.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from archspec.errors import nearest
from archspec.schema.steps import (
    Block,
    BlockReference,
    Exchange,
    Gate,
    Parallel,
    Residual,
    Sequence,
    Shortcut,
    Split,
    Step,
    Streams,
)
from archspec.schema.validation import rule_error

MAXIMUM_NESTING = 48
"""Lists of steps inside lists of steps, through named blocks too."""
MAXIMUM_STEPS = 65_536
"""Steps of a whole network, every block written out wherever it stands."""

Path = tuple[str | int, ...]
Listed = tuple[Step, ...]


def inner(step: Step) -> Iterator[tuple[Path, Listed]]:
    """The lists of steps that a step holds, each with its path below the step. Named blocks are not looked up."""
    if isinstance(step, Residual):
        if isinstance(step.residual, Shortcut):
            yield ("residual", "branch"), step.residual.branch
            yield ("residual", "shortcut"), step.residual.shortcut
        else:
            yield ("residual",), step.residual
    elif isinstance(step, Sequence):
        yield ("sequence",), step.sequence
    elif isinstance(step, Gate):
        yield ("gate",), step.gate
    elif isinstance(step, Exchange):
        for row, branches in enumerate(step.exchange):
            yield from ((("exchange", row, j), branch) for j, branch in enumerate(branches) if branch is not None)
    else:
        yield from _listed(step)


def _listed(step: Step) -> Iterator[tuple[Path, Listed]]:
    if isinstance(step, Parallel):
        yield from ((("parallel", "branches", b), branch) for b, branch in enumerate(step.parallel.branches))
    elif isinstance(step, Split):
        yield from ((("split", "branches", b), branch) for b, branch in enumerate(step.split.branches))
    elif isinstance(step, Streams):
        yield from ((("streams", b), branch) for b, branch in enumerate(step.streams))


def with_inner(step: Step, change: Callable[[Listed], Listed]) -> Step:
    """The step with each list inside it changed; what was left out stays left out."""
    if isinstance(step, Residual):
        return Residual(residual=_shortcut(step.residual, change))
    if isinstance(step, Sequence):
        return Sequence(sequence=change(step.sequence))
    if isinstance(step, Gate):
        return Gate(gate=change(step.gate))
    if isinstance(step, Parallel):
        branches = tuple(map(change, step.parallel.branches))
        return Parallel(parallel=step.parallel.model_copy(update={"branches": branches}))
    if isinstance(step, Split):
        branches = tuple(map(change, step.split.branches))
        return Split(split=step.split.model_copy(update={"branches": branches}))
    if isinstance(step, Streams):
        return Streams(streams=tuple(map(change, step.streams)))
    if isinstance(step, Exchange):
        rows = (tuple(None if branch is None else change(branch) for branch in row) for row in step.exchange)
        return Exchange(exchange=tuple(rows))
    return step


def _shortcut(written: Listed | Shortcut, change: Callable[[Listed], Listed]) -> Listed | Shortcut:
    if isinstance(written, Shortcut):
        return Shortcut(branch=change(written.branch), shortcut=change(written.shortcut))
    return change(written)


def references(steps: Listed, path: Path) -> Iterator[tuple[Path, str]]:
    """Every named block that a list of steps, at this path of the network, inlines; at any depth."""
    for number, step in enumerate(steps):
        here = (*path, number)
        if isinstance(step, BlockReference):
            yield (*here, "block"), step.block
        for below, listed in inner(step):
            yield from references(listed, (*here, *below))


class Growth(NamedTuple):
    """How many steps a list has with every named block written out, and how deep they nest."""

    steps: int
    nesting: int


class Sizes:
    """How large lists of steps are with named blocks written out; each block is looked at once."""

    def __init__(self, blocks: Mapping[str, Block]) -> None:
        self.blocks = blocks
        self.known: dict[str, Growth] = {}
        self.open: list[str] = []

    def of_block(self, name: str, path: Path) -> Growth:
        """Raises a rule error at `path` where blocks lead back to themselves or nest too deep."""
        if name in self.open:
            chain = " -> ".join([*self.open[self.open.index(name) :], name])
            raise rule_error("a block does not lead back to itself", chain, at=path)
        if name not in self.known:
            self.open.append(name)
            self.known[name] = self.of(self.blocks[name], ("blocks", name))
            self.open.pop()
        return self.known[name]

    def of(self, steps: Listed, path: Path) -> Growth:
        """Of a list of steps at a path of the network. Raises a rule error as `of_block`."""
        total, deepest = 0, 0
        for number, step in enumerate(steps):
            here = (*path, number)
            if isinstance(step, BlockReference):
                parts = [self.of_block(step.block, (*here, "block"))]
            else:
                parts = [self.of(listed, (*here, *below)) for below, listed in inner(step)]
            total += 1 + sum(part.steps for part in parts)
            deepest = max([deepest, *(part.nesting for part in parts)])
        if deepest >= MAXIMUM_NESTING:
            raise rule_error(f"lists of steps nest at most {MAXIMUM_NESTING} deep", "deeper", at=path)
        return Growth(total, deepest + 1)


def check_references(uses: Iterator[tuple[Path, str]], blocks: Mapping[str, Block], rule: str) -> None:
    """Raise a rule error at the first use of a block that there is not."""
    for path, name in uses:
        if name not in blocks:
            raise rule_error(rule, name, nearest(name, blocks) or tuple(blocks)[:3], path)
