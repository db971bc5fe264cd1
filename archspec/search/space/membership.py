"""A search space and a program go in; the point of the space that means the same comes out, or none.

The network is put together front to back, and a gene is given a value only once it is read. The ops that are certain by
then are compared with the program's: where they differ, every completion differs. So the search follows the program
instead of drawing points, and what it does not find is not there.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, cast

from pydantic import ValidationError

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.resolve import resolve
from archspec.schema.load import load, names
from archspec.schema.network import Network
from archspec.search.space.conditions import Label
from archspec.search.space.filling import Misshapen, Part, Parts, StageParts, Undecided
from archspec.search.space.model import Assignment, SearchSpace, canonical
from archspec.search.space.networks import assembled, kept, point

MAXIMUM_TRIES = 100_000
_NOTHING = Part(("nothing",), [{"sequence": [{"drop_path": 0.0}]}])
Signature = tuple[Any, ...]


@dataclass(frozen=True)
class Open:
    """A gene that has no value yet was read; `known` is what was put together, and agrees, before it was."""

    gene: str
    known: Parts | None


@dataclass
class _Search:
    space: SearchSpace
    program: ir.Program
    tries: int = 0

    def __post_init__(self) -> None:
        self.wanted = _body(self.program)

    def points(self, values: Mapping[str, Label], known: Parts | None = None) -> Iterator[Assignment]:
        """Completions of the values that mean the program; the parts `known` are theirs, and agree with it."""
        self.tries += 1
        if self.tries > MAXIMUM_TRIES:
            rule = f"a network is looked for in a space with at most {MAXIMUM_TRIES:,} tries"
            raise SpecError([Problem(rule, f"{self.program.name} in {self.space.name}")])
        grown = self.grown(values, known)
        if isinstance(grown, Open):
            for label in self.space.by_name[grown.gene].choices:
                yield from self.points({**values, grown.gene: label}, grown.known)
        if grown is not True:
            return
        found = canonical(self.space, values)
        try:
            if point(self.space, found).program.digest == self.program.digest:
                yield found
        except SpecError:
            return  # the layers agree, but not what the head asks of them

    def grown(self, values: Mapping[str, Label], known: Parts | None) -> "bool | Open":
        """Whether the network of the values has the program's ops; where it takes another gene to tell, that gene."""

        def read(gene: str) -> Label:
            if gene not in values:
                raise Undecided(gene)
            return values[gene]

        # All stages but the last are whole: no other gene can change them.
        begun = known and Parts(known.rest, known.stages[:-1])
        try:
            for parts in self.space.filler.steps(read, begun):
                if known is None or _length(parts) > _length(known):
                    if not self.begins_alike(parts):
                        return False
                    known = parts
        except Undecided as missing:
            return self.begins_block_alike(values, begun, missing) and Open(missing.gene, known)
        except Misshapen:
            return False
        return True

    def begins_alike(self, parts: Parts) -> bool:
        """Whether the program begins with the ops of the parts that there are so far."""
        begun = self.begun(parts)
        if begun is None:
            # A stage may be legal only with its first block, which brings its width.
            return not parts.stages[-1].blocks
        program, body = begun
        same: bool = (program.image, program.classes) == (self.program.image, self.program.classes)
        return same and body == self.wanted[: len(body)]

    def begins_block_alike(self, values: Mapping[str, Label], begun: Parts | None, missing: Undecided) -> bool:
        """Whether the program has the ops of the block begun, up to the step that takes the missing gene."""
        if missing.place is None:
            return True
        stage, place = missing.place

        def read(gene: str) -> Label:
            return values[gene] if gene in values else self.space.by_name[gene].choices[0]

        # Whatever the other genes are, what comes before that step is this.
        grown = self.space.filler.steps(read, begun)
        parts = next(parts for parts in grown if _length(parts) == (stage + 1, place + 1))
        found = self.begun(parts)
        if found is None:
            return True
        program, body = found
        block, step = f"stages.{stage}.blocks.{place}.", _step(missing.path)
        key = ("<certain>", _key(parts), step)
        certain = kept(self.space, key, lambda: _certain(program.ops, block, step))
        return body[:certain] == self.wanted[:certain]

    def begun(self, parts: Parts) -> tuple[ir.Program, list[Signature]] | None:
        """The network that ends where the parts end, and its ops; None if it is not legal."""
        found = kept(self.space, ("<begun>", _key(parts)), lambda: _begun(self.space, parts))
        return cast("tuple[ir.Program, list[Signature]] | None", found)


def _begun(space: SearchSpace, parts: Parts) -> tuple[ir.Program, list[Signature]] | None:
    try:
        program = resolve(assembled(space, _closed(parts))[1])
    except (ValidationError, SpecError):
        return None
    return program, _body(program)


def _step(path: list[str | int]) -> tuple[int, ...]:
    """The number of a step in its block, in the residual there, and so on: as in the paths of ops."""
    kept_parts = takewhile(lambda part: isinstance(part, int) or part in ("residual", "sequence"), path)
    return tuple(part for part in kept_parts if isinstance(part, int))


def _certain(ops: Iterable[ir.Op], block: str, step: tuple[int, ...]) -> int:
    """How many lines of the ops come from steps before a step of the block, or from before the block."""
    lines = 0
    for op in ops:
        numbers = takewhile(str.isdigit, op.path.removeprefix(block).split("."))
        at = tuple(map(int, numbers)) if op.path.startswith(block) else ()
        if at and at[: len(step)] >= step[: len(at)]:
            inside = sum(_certain(inner, block, step) for inner in ir.inside(op)) if isinstance(op, ir.Residual) else 0
            # A residual stays one once there is something in it.
            return lines + (1 + inside if inside else 0)
        lines += len(list(_signatures(op, 0)))
    return lines


def _length(parts: Parts) -> tuple[int, int]:
    return len(parts.stages), len(parts.stages[-1].blocks)


def _key(parts: Parts) -> tuple[Any, ...]:
    return (parts.rest.key, *(_content(stage) for stage in parts.stages))


def _content(stage: StageParts) -> Any:
    """What has been put together of a stage; how deep it will be makes no difference so far."""
    fields = {key: value for key, value in stage.stage.data.items() if key != "depth"}
    return repr(fields), tuple(block.key for block in stage.blocks)


def _closed(parts: Parts) -> Parts:
    """The parts as a network that ends here; a stage without blocks yet gets one that does nothing."""
    *done, last = parts.stages
    blocks = last.blocks or (_NOTHING,)
    stage = last.stage.data.copy()
    stage["depth"] = len(blocks)
    closed = StageParts(Part((*last.stage.key, f"<{len(blocks)}>"), stage), blocks)
    return replace(parts, stages=(*done, closed))


def _body(program: ir.Program) -> list[Signature]:
    """Every op but those of the head, without its path; rates of drop path depend on the depth of the whole network."""
    return [line for op in program.ops if not op.path.startswith("head.") for line in _signatures(op, 0)]


def _signatures(op: ir.Op, level: int) -> Iterator[Signature]:
    if isinstance(op, ir.DropPath):
        return
    yield level, type(op).__name__, op.facts(), op.source, op.target
    if isinstance(op, ir.Branches):
        yield from _branch_signatures(op, level + 1)
        return
    for ops in ir.inside(op):
        for inner in ops:
            yield from _signatures(inner, level + 1)


def _branch_signatures(op: ir.Branches, level: int) -> Iterator[Signature]:
    parts = []
    for branch in op.branches:
        inner = [line for each in branch.ops for line in _signatures(each, level + 1)]
        parts.append([(level, "branch", str(branch.feed), branch.target, branch.target), *inner])
    if op.commutes:
        parts.sort(key=repr)
    for part in parts:
        yield from part


def find(space: SearchSpace, program: ir.Program) -> Assignment | None:
    """The point whose program has the same digest; None where the space has none.

    Exact. Raises SpecError only where so many choices change nothing in the ops that MAXIMUM_TRIES do not suffice.
    """
    return next(_Search(space, program).points({}), None)


def named_points(
    space: SearchSpace, adapted: Mapping[str, Any] | None = None, among: Iterable[str] | None = None
) -> dict[str, Assignment]:
    """The networks of the zoo (all of them, or those `among`) that lie in the space, each with its point.

    `adapted` holds fields that each of them takes first, such as the input and the classes of a study's data, where
    the space has them too. A network that cannot take them is none of the space.
    """
    found: dict[str, Assignment] = {}
    for name in names() if among is None else among:
        try:
            program = resolve(_adapted(load(name), adapted))
        except SpecError:
            continue
        assignment = find(space, program)
        if assignment is not None:
            found[name] = assignment
    return found


def _adapted(network: Network, fields: Mapping[str, Any] | None) -> Network:
    return network if not fields else Network.model_validate({**network.model_dump(exclude_unset=True), **fields})
