"""A program and the network as written go in; the network as a tree of constructor calls comes out.

Modules nest as the paths of ops do, so that their parameters have the names of the checkpoint.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from archspec import ir
from archspec.export.connections import ACTIVATIONS, connection
from archspec.export.expression import Block, Call, Expression, Leaf, call
from archspec.export.geometry import around, size, unless, width
from archspec.schema import steps as written_steps
from archspec.schema.network import Network
from archspec.schema.steps import BlockReference, Step

Ops = tuple[ir.Op, ...]
# A step, a list of steps, lists of them for each branch, or nothing where it is not known.
Written = Step | tuple[Any, ...] | None
IDENTITY = call("nn.Identity")


@dataclass(frozen=True)
class Stage:
    """What leads into a stage (None: nothing) and its blocks."""

    downsample: Expression | None
    blocks: tuple[Expression, ...]


@dataclass(frozen=True)
class Tree:
    """A network: what its parts construct; the head's steps by their names."""

    stem: Expression | None
    stages: tuple[Stage, ...]
    head: Call


def tree_of(program: ir.Program, network: Network) -> Tree:
    """The tree of a program, with the block names of the network that it was resolved from."""
    walker = _Tree(network.blocks, any(op.path.endswith(".drop_path") for op in ir.walk(program.ops)))
    parts = _by_next(program.ops, "")
    stem = walker.sequence(parts["stem"], "stem", _steps(network.stem)) if "stem" in parts else None
    stages = []
    below = _by_next(parts.get("stages", ()), "stages")
    for index, stage in enumerate(network.stages):
        inner = _by_next(below.get(str(index), ()), f"stages.{index}")
        leading, path = _steps(stage.downsample or network.downsample), f"stages.{index}.downsample"
        down = walker.sequence(inner["downsample"], path, leading) if "downsample" in inner else None
        of_block = _by_next(inner.get("blocks", ()), f"stages.{index}.blocks")
        blocks = []
        for number, name in enumerate(stage.blocks_in_order):
            ops = of_block.get(str(number), ())
            blocks.append(walker.block(name, ops, f"stages.{index}.blocks.{number}"))
        stages.append(Stage(down, tuple(blocks)))
    head: dict[str, Expression | None] = {}
    for name, own in _by_next(parts.get("head", ()), "head").items():
        path = f"head.{name}"
        written = network.head.steps if name == "steps" else None
        head[name] = walker.op(own[0], None) if own[0].path == path else walker.sequence(own, path, written)
    return Tree(stem, tuple(stages), call("named", **head))


def _steps(written: Any) -> Written:
    """Steps that were written out; shorthands hold no named block."""
    return written if isinstance(written, tuple) else None


def _by_next(ops: tuple[ir.Op, ...], path: str) -> dict[str, tuple[ir.Op, ...]]:
    """Ops by the part of their path that follows `path`, in order."""
    found: dict[str, tuple[ir.Op, ...]] = {}
    for op in ops:
        name = (op.path.removeprefix(f"{path}.") if path else op.path).split(".")[0]
        found[name] = (*found.get(name, ()), op)
    return found


class _Tree:
    """Makes modules of ops; what was written, beside them, says which of them are named blocks."""

    def __init__(self, blocks: Mapping[str, tuple[Step, ...]], drops: bool) -> None:
        self.blocks = blocks
        self.drops = drops
        """Whether residuals of blocks end with a drop path; the first one's has the rate 0, which is no op."""

    def block(self, name: str, ops: Ops, path: str) -> Expression:
        return Block(name, self.steps(ops, path, self.blocks[name])) if ops else IDENTITY

    def steps(self, ops: Ops, path: str, written: Written) -> tuple[Expression, ...]:
        """Modules named 0, 1, ...; where a step does nothing here, an identity keeps the numbers."""
        parts = _by_next(ops, path)
        last = max((int(name) for name in parts), default=-1)
        return tuple(self.child(ops, str(number), path, written) for number in range(last + 1))

    def child(self, ops: Ops, name: str, path: str, written: Written) -> Expression:
        """The module of the ops below `path.name`: the identity where there are none."""
        below = f"{path}.{name}"
        own = tuple(op for op in ops if f"{op.path}.".startswith(f"{below}."))
        step = _inside(written).get(name)
        if not own:
            return IDENTITY
        if isinstance(step, BlockReference):
            return self.block(step.block, own, below)
        return self.op(own[0], step) if own[0].path == below else self.sequence(own, below, step)

    def sequence(self, ops: Ops, path: str, written: Written) -> Call:
        names = _by_next(ops, path)
        if all(name.isdigit() for name in names):
            return call("nn.Sequential", *self.steps(ops, path, written))
        return call("named", **{name: self.child(ops, name, path, written) for name in names})

    def op(self, op: ir.Op, step: Written) -> Expression:
        if isinstance(op, ir.Residual):
            return self.residual(op, op.ops, (), step)
        if isinstance(op, ir.Branches):
            return self.branches(op, step)
        return connection(op) if isinstance(op, ir.Connect) else SIMPLE[type(op)](op)

    def residual(self, op: ir.Op, ops: Ops, shortcut: Ops, step: Written) -> Expression:
        rate = Leaf(0.0, "drop_path") if self.drops and ".blocks." in op.path else None
        last = ops[-1] if ops else None
        if isinstance(last, ir.DropPath) and last.path == f"{op.path}.drop_path":
            ops, rate = ops[:-1], Leaf(last.rate, "drop_path")
        if any(each.path.startswith(f"{op.path}.shortcut.") for each in ops):
            ops, shortcut = (), ops
        steps = self.steps(ops, op.path, step)
        if not shortcut:
            return call("Residual", *steps, drop_path=rate)
        other = self.sequence(shortcut, f"{op.path}.shortcut", _inside(step).get("shortcut"))
        return call("ShortcutResidual", *steps, shortcut=other, drop_path=rate)

    def branches(self, op: ir.Branches, step: Written) -> Expression:
        if isinstance(step, written_steps.Residual):
            return self.residual(op, op.branches[0].ops, op.branches[1].ops, step)
        if isinstance(step, written_steps.Gate):
            return call("Gate", *self.steps(op.branches[1].ops, op.path, step))
        if op.join != "streams" and isinstance(op.source, ir.Streams):
            return self.row(op, step)
        if op.join == "streams" and isinstance(op.source, ir.Streams) and not _in_place(op):
            rows = (self.exchanged(b, op.path, str(n), step) for n, b in enumerate(op.branches))
            return call("Exchange", *rows)
        inner = [self.child(branch.ops, str(n), op.path, step) for n, branch in enumerate(op.branches)]
        if any(isinstance(branch.feed, ir.Channels) for branch in op.branches):
            return _split(op, inner)
        if op.join == "streams":
            return call("Streams" if isinstance(op.source, ir.Streams) else "Fork", *inner)
        return call(JOINS[op.join], *inner)

    def exchanged(self, branch: ir.Branch, path: str, number: str, step: Written) -> Expression:
        """A row of an exchange: several maps summed, or what is made of one."""
        if isinstance(branch.feed, ir.Stream):
            return self.sum_of({branch.feed.index: branch.ops}, f"{path}.{number}", _inside(step).get(number))
        return self.child(branch.ops, number, path, step)

    def row(self, op: ir.Branches, step: Written) -> Expression:
        columns = {b.feed.index: b.ops for b in op.branches if isinstance(b.feed, ir.Stream)}
        if len(op.branches) == 1:
            # The only row of an exchange, of one map: its path is the exchange's.
            return call("nn.Sequential", self.sum_of(columns, f"{op.path}.0", _inside(step).get("0")))
        return self.sum_of(columns, op.path, step)

    def sum_of(self, columns: Mapping[int, Ops], path: str, step: Written) -> Call:
        inner = (self.child(ops, str(column), path, step) for column, ops in columns.items())
        return call("Row", *inner, takes=Leaf(tuple(columns), "takes"))


JOINS: Mapping[str, str] = {"sum": "Sum", "product": "Product", "concat": "Concat", "tokens": "TokenAndMap"}


def _inside(written: Written) -> Mapping[str, Written]:
    """What was written below a step, by the names that the paths of its ops have."""
    if isinstance(written, written_steps.Residual):
        residual = written.residual
        if isinstance(residual, written_steps.Shortcut):
            return {**_inside(residual.branch), "shortcut": residual.shortcut}
        return _inside(residual)
    if isinstance(written, written_steps.Gate | written_steps.Sequence):
        return _inside(written.gate if isinstance(written, written_steps.Gate) else written.sequence)
    if isinstance(written, written_steps.Parallel):
        return _inside(written.parallel.branches)
    if isinstance(written, written_steps.Split):
        return _inside(written.split.branches)
    if isinstance(written, written_steps.Streams | written_steps.Exchange):
        return _inside(written.streams if isinstance(written, written_steps.Streams) else written.exchange)
    return {str(number): each for number, each in enumerate(written)} if isinstance(written, tuple) else {}


def _in_place(op: ir.Branches) -> bool:
    """Whether map k goes through branch k."""
    return all(branch.feed == ir.Stream(number) for number, branch in enumerate(op.branches))


def _split(op: ir.Branches, inner: list[Expression]) -> Call:
    sizes = tuple(b.feed.stop - b.feed.start for b in op.branches if isinstance(b.feed, ir.Channels))
    cascade = tuple(n for n, branch in enumerate(op.branches) if op.cascade and n and branch.ops)
    rest = {"join": Leaf(op.join, "join"), "cascade": unless(cascade, (), "cascade")}
    return call("Split", *inner, sizes=Leaf(sizes, "slices"), **rest)


# ------------------------------------------------------------------ ops without others inside


def _norm(op: ir.Norm) -> Call:
    eps = unless(op.eps, 1e-5, "eps")
    if op.kind == "affine":
        return call("Affine", width(op))
    if op.kind == "layer":
        return call("nn.LayerNorm", width(op), eps=eps)
    return call("CentringBatchNorm" if op.centring else "BatchNorm", width(op), eps=eps)


def _pool(op: ir.Pool) -> Call:
    if op.kind == "class_token":
        return call("TakeToken")
    name = "GlobalMax" if op.kind == "max" else "GlobalMean"
    return call(name, class_token=unless(bool(op.source.class_tokens), False, "class_token"))


def _sliding_pool(op: ir.SlidingPool) -> Call:
    beyond = around(op, op.space)
    padding = None if beyond.value == (0, 0, 0, 0) else beyond
    head = {"size": Leaf(op.space.size, "taps"), "stride": Leaf(op.space.stride, "stride"), "around": padding}
    if op.kind == "max":
        return call("SlidingMax", **head)
    counts = op.count_padding or padding is None
    return call("SlidingMean", **head, count_padding=unless(counts, True, "count_padding"))


def _resize(op: ir.Resize) -> Call:
    return call("ResizeNearest" if op.kind == "nearest" else "ResizeBilinear", Leaf(size(op.target), "size"))


SIMPLE: Mapping[type[ir.Op], Callable[[Any], Call]] = {
    ir.Norm: _norm,
    ir.Activation: lambda op: call(ACTIVATIONS[op.kind]),
    ir.Scale: lambda op: call("LayerScale", width(op), Leaf(op.init, "start")),
    ir.DropPath: lambda op: call("DropPath", Leaf(op.rate, "drop_path")),
    ir.ClassToken: lambda op: call("ClassToken", width(op)),
    ir.PositionEmbedding: lambda op: call("PositionEmbedding", Leaf(op.source.positions, "positions"), width(op)),
    ir.Gather: lambda op: call("PatchesToChannels", Leaf(op.size, "size")),
    ir.Pool: _pool,
    ir.SlidingPool: _sliding_pool,
    ir.MapOnly: lambda op: call("DropToken", Leaf(size(op.target), "size")),
    ir.Shuffle: lambda op: call("Shuffle", Leaf(op.groups, "groups")),
    ir.Resize: _resize,
    ir.Multiply: lambda op: call("Multiply", Leaf(op.factor, "factor")),
}
