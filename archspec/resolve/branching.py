"""A step that holds other steps goes in; its op comes out, in normal form: branches, what they take, how they join.

a sum of x and one branch is a residual; a join of one branch is that branch
what changes nothing (slices put together again, maps that stay what they are) is no op at all
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from archspec import ir
from archspec.ir import Branch, Branches, Everything, Feature, Op, Shape, Stream, Streams
from archspec.normal import Illegal
from archspec.resolve.joining import joined_target
from archspec.schema import steps
from archspec.schema.nesting import Listed

SpecPath = tuple[str | int, ...]
Ops = tuple[Op, ...]


class Misfit(Illegal):
    """Branches that do not fit; `below` leads from the step to the culprit in the file."""

    def __init__(self, illegal: Illegal, below: SpecPath) -> None:
        super().__init__(illegal.rule, illegal.found, illegal.nearest)
        self.below = below


@dataclass(frozen=True)
class Here:
    """Where steps stand: the path of their ops, the path in the file, and what the steps around them say."""

    path: str
    spec: SpecPath
    widths: tuple[int, ...]
    """Of the stage that they lead into, one for each map."""
    rate: float = 0.0
    """Of the drop path that ends each residual."""
    around: Feature | None = None
    """What the step around took."""

    def at(self, number: int | str) -> "Here":
        """The place of one of them."""
        return replace(self, path=f"{self.path}.{number}", spec=(*self.spec, number))

    def below(self, *spec: str | int) -> "Here":
        """The same place, further down in the file only."""
        return replace(self, spec=(*self.spec, *spec))

    def branch(self, around: Feature | None, path: str, *spec: str | int) -> "Here":
        """The place of a branch: `path` is put behind that of the ops, unless it is empty."""
        return replace(self.below(*spec), path=f"{self.path}.{path}" if path else self.path, around=around)

    def width(self, index: int) -> "Here":
        """The place of steps that lead to one of several maps."""
        return replace(self, widths=(self.widths[min(index, len(self.widths) - 1)],))


Walk = Callable[[Listed, Shape, Here], tuple[Ops, Shape]]


def _residual(step: steps.Residual, shape: Shape, here: Here, walk: Walk) -> Ops:
    source = _one_map(shape, "a residual")
    written = step.residual
    if isinstance(written, steps.Shortcut):
        ops, target = walk(written.branch, source, here.branch(source, "", "residual", "branch"))
        around, shortcut = walk(written.shortcut, source, here.branch(source, "shortcut", "residual", "shortcut"))
    else:
        ops, target = walk(written, source, here.branch(source, "", "residual"))
        around, shortcut = (), source
    if target != shortcut:
        rule, found = "a residual branch must give the shape it takes", f"takes {source}, gives {target}"
        if isinstance(written, steps.Shortcut):
            rule = "a residual branch and its shortcut must give the same shape"
            found = f"the branch gives {target}, the shortcut {shortcut}"
        raise Misfit(Illegal(rule, found), ("residual",))
    if here.rate and not any(isinstance(op, ir.DropPath) for op in ops):
        given = _one_map(target, "a residual")
        ops = (*ops, ir.DropPath(f"{here.path}.drop_path", given, given, here.rate))
    both = (Branch(Everything(), ops, target), Branch(Everything(), around, shortcut))
    return _joined(here, source, both, "sum")


def _gate(step: steps.Gate, shape: Shape, here: Here, walk: Walk) -> Ops:
    source = _one_map(shape, "a gate")
    ops, target = walk(step.gate, source, here.branch(source, "", "gate"))
    both = (Branch(Everything(), (), source), Branch(Everything(), ops, target))
    return _joined(here, source, both, "product", ("gate",))


def _parallel(step: steps.Parallel, shape: Shape, here: Here, walk: Walk) -> Ops:
    source = _one_map(shape, "parallel")
    branches = []
    for number, written in enumerate(step.parallel.branches):
        ops, target = walk(written, source, here.branch(source, str(number), "parallel", "branches", number))
        branches.append(Branch(Everything(), ops, target))
    return _joined(here, source, tuple(branches), step.parallel.join, ("parallel",))


def _split(step: steps.Split, shape: Shape, here: Here, walk: Walk) -> Ops:
    source = _one_map(shape, "split")
    written = step.split
    branches: list[Branch] = []
    for number, (listed, feed) in enumerate(zip(written.branches, _slices(written, source), strict=True)):
        taken = ir.fed(feed, source)
        if written.cascade and number and listed and branches[-1].target != taken:
            found = f"branch {number} takes {taken}, branch {number - 1} gives {branches[-1].target}"
            rule = "in a cascade a branch takes its slice plus the result of the branch before, of the same shape"
            raise Misfit(Illegal(rule, found), ("split", "branches", number))
        ops, target = walk(listed, taken, here.branch(source, str(number), "split", "branches", number))
        branches.append(Branch(feed, ops, target))
    if written.join == "concat" and not any(branch.ops for branch in branches):
        return ()
    cascade = written.cascade and any(branch.ops for branch in branches[1:])
    return _joined(here, source, tuple(branches), written.join, ("split",), cascade)


def _slices(written: steps.SplitBranches, source: Feature) -> list[ir.Channels]:
    count, width = len(written.branches), source.channels
    sizes = written.sizes or (width // count,) * count
    if sum(sizes) != width or not min(sizes):
        rule = "the slices of a split make up all channels"
        found = f"{count} equal slices" if written.sizes is None else f"{' + '.join(map(str, sizes))} = {sum(sizes)}"
        below = ("split", "branches") if written.sizes is None else ("split", "sizes")
        raise Misfit(Illegal(rule, f"{found} of {width} channels"), below)
    starts = [sum(sizes[:number]) for number in range(count)]
    return [ir.Channels(start, start + size) for start, size in zip(starts, sizes, strict=True)]


def _streams(step: steps.Streams, shape: Shape, here: Here, walk: Walk) -> Ops:
    maps = _maps(shape)
    if len(step.streams) != len(maps):
        found = f"{len(step.streams)} lists for {len(maps)} maps {shape}"
        raise Misfit(Illegal("streams have one list of steps for each map", found), ("streams",))
    branches = []
    for number, (written, taken) in enumerate(zip(step.streams, maps, strict=True)):
        ops, given = walk(written, taken, here.branch(taken, str(number), "streams", number).width(number))
        branches.append(Branch(_stream(shape, number), ops, _one_map(given, "a stream", ("streams", number))))
    return _side_by_side(here, shape, tuple(branches))


def _exchange(step: steps.Exchange, shape: Shape, here: Here, walk: Walk) -> Ops:
    maps = _maps(shape)
    if len(step.exchange[0]) != len(maps):
        found = f"rows of {len(step.exchange[0])} for {len(maps)} maps {shape}"
        raise Misfit(Illegal("a row of an exchange has one entry for each incoming map", found), ("exchange",))
    rows = []
    for row, written in enumerate(step.exchange):
        around = maps[row] if row < len(maps) else None
        branches = []
        for column, listed in enumerate(written):
            if listed is not None:
                place = here.branch(around, f"{row}.{column}", "exchange", row, column).width(row)
                ops, given = walk(listed, maps[column], place)
                branches.append(Branch(_stream(shape, column), ops, given))
        rows.append(_row(here.at(row), shape, tuple(branches), ("exchange", row)))
    if len(rows) > 1:
        return _side_by_side(here, shape, tuple(rows))
    (row_alone,) = rows
    if isinstance(row_alone.feed, Everything):
        return row_alone.ops
    return (Branches(here.path, shape, row_alone.target, (row_alone,), "sum"),)


def _row(here: Here, source: Shape, branches: tuple[Branch, ...], below: SpecPath) -> Branch:
    """One outgoing map: the branch itself where there is one, otherwise a branch that sums them."""
    if len(branches) == 1:
        return replace(branches[0], target=_one_map(branches[0].target, "a stream", below))
    ops = _joined(here, source, branches, "sum", below)
    return Branch(Everything(), ops, ops[-1].target)


def _side_by_side(here: Here, source: Shape, branches: tuple[Branch, ...]) -> Ops:
    """Several maps; maps that all stay what they are need no op."""
    if len(branches) == 1:
        return branches[0].ops
    unchanged = tuple(Branch(Stream(number), (), given) for number, given in enumerate(_maps(source)))
    if branches == unchanged:
        return ()
    target = Streams(tuple(_one_map(branch.target, "a stream") for branch in branches))
    return (Branches(here.path, source, target, branches, "streams"),)


def _joined(
    here: Here,
    source: Shape,
    branches: tuple[Branch, ...],
    join: str,
    below: SpecPath = (),
    cascade: bool = False,
) -> Ops:
    """The op of branches that give one map. Raises Misfit where their shapes do not fit."""
    try:
        target = joined_target(join, tuple(branch.target for branch in branches))
    except Illegal as illegal:
        raise Misfit(illegal, below) from None
    if len(branches) == 1:
        return branches[0].ops
    everything = all(branch.feed == Everything() for branch in branches)
    bare = [branch for branch in branches if not branch.ops]
    if join == "sum" and len(branches) == 2 and everything and bare and isinstance(source, Feature):
        other = next((branch for branch in branches if branch.ops), bare[0])
        return (ir.Residual(here.path, source, source, other.ops),)
    return (Branches(here.path, source, target, branches, join, cascade),)


def _maps(shape: Shape) -> tuple[Feature, ...]:
    return shape.features if isinstance(shape, Streams) else (shape,)


def _stream(shape: Shape, index: int) -> ir.Feed:
    return Stream(index) if isinstance(shape, Streams) else Everything()


def _one_map(shape: Shape, what: str, below: SpecPath = ()) -> Feature:
    if isinstance(shape, Feature):
        return shape
    illegal = Illegal(f"{what} takes and gives one map", f"{len(shape.features)} maps {shape}", ("streams", "exchange"))
    raise Misfit(illegal, below)


BRANCHING: Mapping[type, Callable[[Any, Shape, Here, Walk], Ops]] = {
    steps.Residual: _residual,
    steps.Gate: _gate,
    steps.Parallel: _parallel,
    steps.Split: _split,
    steps.Streams: _streams,
    steps.Exchange: _exchange,
}
