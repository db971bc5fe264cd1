"""A program goes in; the form of every layer in its stages comes out.

A layer has a low rank over channels (positions) where it stands between connections that bring fewer channels
(positions) than both ends of the chain around it: a bottleneck, a low-rank MLP. Over space also where it reads a pooled
map, where pooling comes before it in its chain, and on the smaller ones of several maps held side by side (HRNet).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from archspec import ir
from archspec.relations.form import Channels, Direction, Form, Index, Space, Weights

NO_RANK: frozenset[Direction] = frozenset()
SPACE: frozenset[Direction] = frozenset({"space"})
CHANNELS: frozenset[Direction] = frozenset({"channels"})


@dataclass(frozen=True)
class Layer:
    """A connection inside a stage, and its form."""

    op: ir.Connect
    form: Form


def layers(program: ir.Program) -> Iterator[Layer]:
    """Every connection in the blocks of the stages that has a map to read, in the order they run."""
    blocks = [op for op in program.ops if ".blocks." in op.path]
    for _, ops in groupby(blocks, key=lambda op: op.path.split(".")[:4]):
        for found in _layers(tuple(ops), NO_RANK):
            if found.op.source.positions > 1:
                yield found


def forms(program: ir.Program) -> Counter[Form]:
    """How often each form stands in a network, of the layers that mix positions; of all where none does."""
    found = [layer.form for layer in layers(program)]
    spatial = [form for form in found if form.space != "point"]
    return Counter(spatial or found)


def _layers(ops: tuple[ir.Op, ...], around: frozenset[Direction]) -> Iterator[Layer]:
    """The layers of a chain of ops; `around`: low rank because of where the chain stands."""
    pooled = False
    for op in ops:
        rank = around | _narrow(op, ops) | (SPACE if pooled else NO_RANK)
        if isinstance(op, ir.Connect):
            yield Layer(op, form_of(op, rank))
        elif isinstance(op, ir.Residual):
            yield from _layers(op.ops, rank)
        elif isinstance(op, ir.Branches):
            for branch in op.branches:
                yield from _layers(branch.ops, rank | _smaller_stream(op, branch))
        pooled = pooled or (isinstance(op, ir.SlidingPool) and op.target.positions < op.source.positions)


def form_of(op: ir.Connect, low_rank: frozenset[Direction] = NO_RANK) -> Form:
    """The form of a connection that stands where it has this low rank."""
    if isinstance(op.space, ir.Reduced):
        low_rank = low_rank | SPACE
    return Form(_space(op), _channels(op), low_rank, _weights(op), _index(op))


def _space(op: ir.Connect) -> Space:
    if isinstance(op.space, ir.Full | ir.Reduced):
        return "full"
    return "point" if op.neighbours == 1 else "local"


def _channels(op: ir.Connect) -> Channels:
    if op.channels == "separate":
        return "separate"
    return "groups" if op.channels == "groups" else "full"


def _weights(op: ir.Connect) -> Weights:
    if isinstance(op.weights, ir.Static):
        return "static"
    pooled = isinstance(op.weights, ir.Predicted) and op.weights.source == "pooled"
    return "homogeneous" if pooled else "inhomogeneous"


def _index(op: ir.Connect) -> Index:
    """What the law of the weights is indexed by: of attention, of what is multiplied with features (Appendix B)."""
    weights = op.weights
    if isinstance(weights, ir.Attention):
        vector = weights.centre or weights.post_convolution or weights.pre_convolution
        return "offsets" if vector else "content"
    if isinstance(weights, ir.Outlook):
        return "offsets"
    if isinstance(weights, ir.Predicted) and weights.source == "local":
        if isinstance(op.space, ir.Sliding | ir.Point):
            return "offsets"
        return "windows" if isinstance(op.space, ir.Window) else "places"
    if op.share_positions == "offsets":
        return "offsets"
    return "windows" if op.share_positions == "windows" else "places"


def _narrow(op: ir.Op, chain: tuple[ir.Op, ...]) -> frozenset[Direction]:
    """Over what an op of a chain stands between fewer elements than come into the chain and leave it."""
    first, last = chain[0].source, chain[-1].target
    shapes = (op.source, op.target, first, last)
    if not all(isinstance(shape, ir.Feature) for shape in shapes):
        return NO_RANK
    if isinstance(op, ir.Connect) and op.channels == "full" and isinstance(op.space, ir.Full):
        thin = min(op.source.elements, op.target.elements) < min(first.elements, last.elements)
        return SPACE | CHANNELS if thin else NO_RANK
    narrow = NO_RANK
    if min(op.source.channels, op.target.channels) < min(first.channels, last.channels):
        narrow |= CHANNELS
    if min(op.source.positions, op.target.positions) < min(first.positions, last.positions):
        narrow |= SPACE
    return narrow


def _smaller_stream(op: ir.Branches, branch: ir.Branch) -> frozenset[Direction]:
    if not isinstance(op.source, ir.Streams) or not isinstance(branch.feed, ir.Stream):
        return NO_RANK
    largest = max(feature.positions for feature in op.source.features)
    return SPACE if op.source.features[branch.feed.index].positions < largest else NO_RANK


def without_rank(form: Form) -> Form:
    """The form of the layer by itself, wherever it stands."""
    return replace(form, low_rank=NO_RANK)
