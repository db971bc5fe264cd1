"""A program goes in; the elements of its feature maps that are kept for the backward pass, and alive at once, come out.

The program is run with numbers in place of maps, so that two branches that keep what both of them take keep it once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from archspec import ir
from archspec.costs.memory import alive_inside, kept_inside

# Activations whose gradient reads what went out; that of the others reads what came in.
_THAT_KEEP_OUTPUT = ("relu", "sigmoid", "tanh")


@dataclass(frozen=True)
class _Map:
    """One map of so many elements; `whole` is the map that it is a slice of."""

    number: int
    elements: int
    whole: "_Map | None" = None


_Maps = _Map | tuple[_Map, ...]


def elements(program: ir.Program) -> tuple[int, int]:
    """Elements kept for the backward pass, and the most alive at once, for one image."""
    run = _Run()
    run.ops(program.ops, run.new(program.image.elements), ())
    return run.total_kept, run.peak


@dataclass
class _Run:
    count: int = 0
    kept: set[_Map] = field(default_factory=set)
    inside: int = 0
    peak: int = 0

    @property
    def total_kept(self) -> int:
        # A slice is no copy: where the whole map is kept, it is in it.
        return self.inside + sum(each.elements for each in self.kept if each.whole not in self.kept)

    def new(self, count: int, whole: _Map | None = None) -> _Map:
        self.count += 1
        return _Map(self.count, count, whole)

    def ops(self, ops: tuple[ir.Op, ...], x: _Maps, waiting: tuple[_Map, ...]) -> _Maps:
        """What the ops give, while the maps `waiting` are alive."""
        for op in ops:
            x = self.op(op, x, waiting)
        return x

    def op(self, op: ir.Op, x: _Maps, waiting: tuple[_Map, ...]) -> _Maps:
        if isinstance(op, ir.Branches):
            return self.branches(op, x, waiting)
        assert isinstance(x, _Map)
        if isinstance(op, ir.Residual):
            branch = self.ops(op.ops, x, (*waiting, x))
            return self.made(op.target, (x, *_listed(branch)), waiting)
        if _keeps_input(op):
            self.kept.add(x)
        self.inside += kept_inside(op)
        y = self.made(op.target, (x,), waiting, alive_inside(op))
        if _keeps_output(op):
            self.kept.add(y)
        return y

    def branches(self, op: ir.Branches, x: _Maps, waiting: tuple[_Map, ...]) -> _Maps:
        around = (*waiting, *_listed(x))
        results: list[_Map] = []
        for branch in op.branches:
            shape = ir.fed(branch.feed, op.source)
            taken = self.fed(branch.feed, x, shape)
            if op.cascade and results and branch.ops:
                taken = self.made(shape, (*_listed(taken), results[-1]), (*around, *results))
            results += _listed(self.ops(branch.ops, taken, (*around, *results)))
            if op.join == "sum" and not op.cascade and len(results) == 2:
                results = [self.made(op.target, results, around)]
        if op.join == "product":
            self.kept.update(results)
        if op.join == "streams":
            return tuple(results)
        return results[0] if len(results) == 1 else self.made(op.target, results, around)

    def fed(self, feed: ir.Feed, x: _Maps, shape: ir.Shape) -> _Maps:
        if isinstance(feed, ir.Stream):
            return _listed(x)[feed.index]
        if isinstance(feed, ir.Channels):
            assert isinstance(x, _Map)
            return self.new(shape.elements, x.whole or x)
        return x

    def made(self, target: ir.Shape, read: Iterable[_Map], waiting: Iterable[_Map], inside: int = 0) -> _Map:
        """A new map, made while what it reads, what waits and what is inside are alive."""
        y = self.new(target.elements)
        alive = {each.whole or each for each in (*read, *waiting)}
        self.peak = max(self.peak, sum(each.elements for each in alive) + y.elements + inside)
        return y


def _listed(x: _Maps) -> tuple[_Map, ...]:
    return x if isinstance(x, tuple) else (x,)


def _keeps_input(op: ir.Op) -> bool:
    if isinstance(op, ir.Activation):
        return op.kind not in _THAT_KEEP_OUTPUT
    if isinstance(op, ir.Pool | ir.SlidingPool):
        return op.kind == "max"
    return isinstance(op, ir.Connect | ir.Norm | ir.Scale)


def _keeps_output(op: ir.Op) -> bool:
    return isinstance(op, ir.Activation) and op.kind in _THAT_KEEP_OUTPUT
