"""A program goes in; its signature comes out: the patterns of its blocks without what only their sizes say.

Two blocks that differ in width alone have one pattern, so heads are counted by their channels, widths by their ratio.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cache, cached_property
from itertools import groupby

from archspec import ir

Axes = dict[str, str]


@dataclass(frozen=True)
class Step:
    """One op: its kind and what it says of itself, by axis."""

    kind: str
    axes: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _hash(self) -> int:
        return hash((self.kind, self.axes))

    def __hash__(self) -> int:
        return self._hash  # alignments ask for it a million times


@dataclass(frozen=True)
class Group:
    """An op that holds others: residual, or branches with the way they are joined; and the chain of each branch."""

    kind: str
    chains: tuple["Pattern", ...]

    @cached_property
    def _hash(self) -> int:
        return hash((self.kind, self.chains))

    def __hash__(self) -> int:
        return self._hash


Pattern = tuple[Step | Group, ...]

# Equal ones are one object, so that comparing two of them is comparing where they lie.
step, group = cache(Step), cache(Group)


@dataclass(frozen=True)
class Stage:
    """One stage: the map it works on, what leads into it, its distinct blocks and the order in which they stand."""

    map: str
    widths: tuple[int, ...]
    entry: Pattern
    blocks: tuple[Pattern, ...]
    order: tuple[int, ...]

    @property
    def depth(self) -> int:
        return len(self.order)


@dataclass(frozen=True)
class Signature:
    """A network: what differs between two of these is what differs between two networks."""

    name: str
    digest: str
    image: str
    classes: int
    drop_path: float
    stem: Pattern
    stages: tuple[Stage, ...]
    head: Pattern


def signature(program: ir.Program) -> Signature:
    """The signature of a program."""
    regions = {key: tuple(ops) for key, ops in groupby(program.ops, key=region_of)}
    indexes = sorted({int(key.split(".")[1]) for key in regions if key.startswith("stages")})
    rates = [op.rate for op in ir.walk(program.ops) if isinstance(op, ir.DropPath)]
    stages = tuple(_stage(regions[f"stages.{index}"]) for index in indexes)
    stem = pattern(regions.get("stem", ()), stages[0].widths)
    head = pattern(regions.get("head", ()), (program.classes,))
    image, rate = str(program.image), max(rates, default=0.0)
    return Signature(program.name, program.digest, image, program.classes, rate, stem, stages, head)


def region_of(op: ir.Op) -> str:
    """The part of a network that an op stands in: stem, stages.0, ..., head."""
    first, second = (*op.path.split("."), "")[:2]
    return f"{first}.{second}" if first == "stages" else first


def _stage(ops: tuple[ir.Op, ...]) -> Stage:
    entry: Pattern = ()
    found: dict[Pattern, int] = {}
    order: list[int] = []
    target = ops[-1].target
    for block, found_ops in groupby(ops, key=_block_of):
        if block is None:
            entry = pattern(tuple(found_ops), _widths(target))
        else:
            order.append(found.setdefault(pattern(tuple(found_ops)), len(found)))
    return Stage(str(target), _widths(target), entry, tuple(found), tuple(order))


def _block_of(op: ir.Op) -> str | None:
    """The number of the block of its stage that an op stands in; None of what leads into the stage."""
    parts = op.path.split(".")
    return parts[3] if parts[2] == "blocks" else None


def _widths(shape: ir.Shape) -> tuple[int, ...]:
    maps = shape.features if isinstance(shape, ir.Streams) else (shape,)
    return tuple(each.channels for each in maps)


def pattern(ops: tuple[ir.Op, ...], said: tuple[int, ...] = ()) -> Pattern:
    """The pattern of a chain of ops. Drop path, which is a fact of training, is left out.

    `said`: widths that are known from elsewhere (of the stage that this leads into), so that they say nothing new.
    """
    return tuple(step for op in ops if not isinstance(op, ir.DropPath) for step in _steps(op, said))


def _steps(op: ir.Op, said: tuple[int, ...]) -> Iterator[Step | Group]:
    if isinstance(op, ir.Connect):
        yield from _connection(op, said)
    elif isinstance(op, ir.Residual):
        yield group("residual", (pattern(op.ops, said),))
    elif isinstance(op, ir.Branches):
        yield _branches(op, said)
    else:
        yield step(type(op).__name__.lower(), tuple(_facts(op)))


def _facts(op: ir.Op) -> Iterator[tuple[str, str]]:
    """What an op that is no connection says of itself, field by field, where it is not what is usual."""
    usual = {"eps": 1e-05, "centring": False, "count_padding": False}
    for fact in fields(op):
        value = getattr(op, fact.name)
        if fact.name not in ("path", "source", "target") and usual.get(fact.name) != value:
            yield fact.name, "yes" if value is True else str(value)


def _branches(op: ir.Branches, said: tuple[int, ...]) -> Group:
    feeds = [_feed(branch.feed, op.source) for branch in op.branches]
    fed = "" if set(feeds) == {"everything"} else f" of {', '.join(feeds)}"
    kind = f"{len(op.branches)} branches{fed}, joined by {op.join}{' in a cascade' if op.cascade else ''}"
    return group(kind, tuple(pattern(branch.ops, said) for branch in op.branches))


def _feed(feed: ir.Feed, source: ir.Shape) -> str:
    if isinstance(feed, ir.Channels) and isinstance(source, ir.Feature):
        return f"{Fraction(feed.stop - feed.start, source.channels)} of the channels"
    return str(feed)


def _connection(op: ir.Connect, said: tuple[int, ...]) -> Iterator[Step]:
    """A connection; the value and output projections that belong to attention stand beside it, as `linear` ones do."""
    weights = op.weights
    if isinstance(weights, ir.Attention | ir.Outlook) and weights.value:
        yield _projection(op)
    axes = connection_axes(op)
    if op.target.channels in said:
        axes.pop("width")
    yield step("connect", tuple((axis, value) for axis, value in axes.items() if value))
    if isinstance(weights, ir.Attention) and weights.output:
        yield _projection(op)


def _projection(op: ir.Connect) -> Step:
    bias = isinstance(op.weights, ir.Attention | ir.Outlook) and op.weights.bias
    axes = {
        "space": "point",
        "channels": "full",
        "sharing over positions": "offsets",
        "sharing over channels": "none",
        "weights": "static",
        "width": "1",
        "bias": "channels" if bias else "none",
    }
    return step("connect", tuple(axes.items()))


def connection_axes(op: ir.Connect) -> Axes:
    """The axes of a connection as words; empty where an axis has nothing to say."""
    weights, options = _weights(op)
    kind, size, place = _space(op.space)
    channels = op.channels
    if channels == "groups":
        channels = f"groups of {op.source.channels // op.channel_groups} channels"
    shared = op.share_channels
    if shared == "groups" or (isinstance(op.weights, ir.Attention) and shared != "all"):
        shared = f"groups of {op.source.channels // op.kernels} channels"
    return {
        "space": kind,
        "size": size,
        "placed": place,
        "channels": channels,
        "sharing over positions": op.share_positions,
        "sharing over channels": shared,
        "weights": weights,
        "options": options,
        "width": str(Fraction(op.target.channels, op.source.channels)),
        "bias": op.bias,
        "initial values": op.weights.init if isinstance(op.weights, ir.Static) else "",
    }


def _space(space: ir.Space) -> tuple[str, str, str]:
    """Kind, size, and how it is placed."""
    if isinstance(space, ir.Sliding):
        pairs = {"stride": (space.stride, (1, 1)), "dilation": (space.dilation, (1, 1))}
        words = [f"{name} {_by(value)}" for name, (value, usual) in pairs.items() if value != usual]
        centred = tuple(d * (k - 1) // 2 for k, d in zip(space.size, space.dilation, strict=True))
        patches = space.size == space.stride and space.before == (0, 0)
        if space.before != centred and not patches:
            words.append(f"before {_by(space.before)}")
        return "sliding", _by(space.size), ", ".join(words)
    if isinstance(space, ir.Window):
        kind = "grid" if space.interlaced else "halo" if space.halo != (0, 0) else "window"
        words = [f"shifted {_by(space.shift)}"] if space.shift != (0, 0) else []
        words += ["padding masked"] if space.masked else []
        around = f" and {_by(space.halo)} around" if kind == "halo" else ""
        return kind, _by(space.size) + around, ", ".join(words)
    if isinstance(space, ir.Reduced):
        return "pooled", _by(space.ratio), f"by {space.by}{' and layer norm' if space.norm else ''}"
    if isinstance(space, ir.Full) and space.largest:
        return "full", "", f"tables for maps up to {_by(space.largest)}"
    return type(space).__name__.lower(), "", ""


def _weights(op: ir.Connect) -> tuple[str, str]:
    """Kind and options."""
    weights = op.weights
    if isinstance(weights, ir.Static):
        return "static", "softmax" if weights.normalise else ""
    text = str(weights)
    options = text[text.index("(") + 1 : -1]
    if isinstance(weights, ir.Predicted):
        hidden = Fraction(weights.hidden, op.source.channels)
        return weights.source, options.replace(str(weights.hidden), f"{hidden} of the channels", 1)
    return type(weights).__name__.lower(), options


def _by(pair: ir.Pair) -> str:
    return f"{pair[0]}x{pair[1]}"
