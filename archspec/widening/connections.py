"""A connection, the same with more channels, and what its channels copy go in; how its parameters are copied comes out.

Kernels are heads of attention or groups of sharing; `narrow` and `wide` are the layer in the two networks.
"""

from collections.abc import Iterator
from math import prod

import numpy as np

from archspec.ir import Attention, Connect, Outlook, Predicted, Reduced, Static
from archspec.widening.copying import Axes, Axis, Copies, Origin, by_groups, even, kept, of_groups

Row = tuple[str, Copies]


def connection(narrow: Connect, wide: Connect, origin: Origin, wish: Origin) -> tuple[Origin, dict[str, Copies]]:
    """What the outgoing channels copy (as in `wish`, if any will do), and how each parameter does, by its name."""
    target = _target(narrow, wide, origin, wish)
    rows = dict(_rows(narrow, wide, origin, target))
    if wide.bias == "channels":
        rows["bias"] = ((Axis(target, narrow.target.channels),),)
    if wide.bias == "positions":
        rows["bias"] = (tuple(map(kept, wide.bias_shape)),)
    return target, rows


def _target(narrow: Connect, wide: Connect, origin: Origin, wish: Origin) -> Origin:
    weights, n, w = wide.weights, narrow.target.channels, wide.target.channels
    if isinstance(weights, Attention) and weights.output:
        return wish
    if isinstance(weights, Attention | Outlook):
        return by_groups(n, w, narrow.kernels, wide.kernels) if weights.value else origin
    if wide.channels == "separate":
        return origin
    own = narrow.channel_groups, wide.channel_groups
    return wish if own == (1, 1) else by_groups(n, w, *own)


def _rows(narrow: Connect, wide: Connect, origin: Origin, target: Origin) -> Iterator[Row]:
    weights = narrow.weights, wide.weights
    if isinstance(wide.weights, Static):
        yield "weight", ((*_channels(narrow, wide, origin, target), *map(kept, wide.position_shape)),)
    elif isinstance(wide.weights, Attention):
        yield from _attention(narrow, wide, wide.weights, origin, target)
    elif isinstance(wide.weights, Outlook):
        yield from _outlook(narrow, wide, wide.weights, origin)
    elif isinstance(weights[0], Predicted) and isinstance(weights[1], Predicted):
        yield from _predictor(narrow, (weights[0], weights[1]), _channels(narrow, wide, origin, target), origin)
    if isinstance(wide.space, Reduced):
        yield from _reduction(wide.space, Axis(origin, narrow.source.channels))


def _channels(narrow: Connect, wide: Connect, origin: Origin, target: Origin) -> Axes:
    """The axes of the channel part of the tie index (archspec/ir/connect.py)."""
    if wide.channels == "separate":
        if not wide.channel_shape:
            return ()
        if not narrow.channel_shape:  # its one group is the normal form of all channels sharing
            return (Axis(np.zeros(wide.kernels, dtype=np.intp), 1),)
        return (Axis(of_groups(origin, narrow.source.channels, narrow.kernels, wide.kernels), narrow.kernels),)
    (rows, columns), (more_rows, more_columns) = narrow.channel_shape, wide.channel_shape
    outgoing = even(rows, more_rows) if wide.share_channels == "all" else target
    incoming = origin if wide.channel_groups == 1 else even(columns, more_columns)
    return Axis(outgoing, rows), Axis(incoming, columns, summed=True)


def _attention(narrow: Connect, wide: Connect, weights: Attention, origin: Origin, target: Origin) -> Iterator[Row]:
    n, w = narrow.source.channels, wide.source.channels
    read, heads = Axis(origin, n, summed=True), Axis(even(narrow.kernels, wide.kernels), narrow.kernels)
    size, larger = n // narrow.kernels, w // wide.kernels
    # q k / sqrt(channels of a head) sums over a head: the copies of a query's channel share it, and the root grows.
    queries = heads, Axis(even(size, larger), size, summed=True, factor=(larger / size) ** 0.5)
    others = heads, Axis(even(size, larger), size)
    blocks = (queries, others, others) if weights.value else (queries, others)
    yield "projection.weight", tuple((*block, read) for block in blocks)
    yield "projection.bias", blocks
    offsets = kept(wide.relative_offsets)
    yield "relative_bias", ((offsets, heads),)
    yield "centre.weight", ((offsets, heads, read),)
    yield "post_convolution.weight", ((heads, *[kept(weights.post_convolution)] * 2),)
    yield "mix_heads.weight", ((heads, Axis(heads.origin, heads.length, summed=True)),)
    yield "mix_heads.bias", ((heads,),)
    if weights.pre_convolution:
        taps = [kept(weights.pre_convolution.size)] * 2
        axes = {"shared": (), "separate": (Axis(origin, n),), "full": (Axis(origin, n), read)}
        yield "pre_convolution.weight", ((*axes[weights.pre_convolution.channels], *taps),)
    inside = by_groups(n, w, narrow.kernels, wide.kernels)
    yield "output.weight", ((Axis(target, n), Axis(inside if weights.value else origin, n, summed=True)),)
    yield "output.bias", ((Axis(target, n),),)


def _outlook(narrow: Connect, wide: Connect, weights: Outlook, origin: Origin) -> Iterator[Row]:
    n = narrow.source.channels
    read, heads = Axis(origin, n, summed=True), Axis(even(narrow.kernels, wide.kernels), narrow.kernels)
    value = Axis(by_groups(n, wide.source.channels, narrow.kernels, wide.kernels), n)
    yield "projection.weight", ((value, read),)
    yield "projection.bias", ((value,),)
    maps = kept(wide.neighbours**2)
    yield "predict.weight", ((heads, maps, read),)
    yield "predict.bias", ((heads, maps),)


def _predictor(narrow: Connect, sizes: tuple[Predicted, Predicted], channels: Axes, origin: Origin) -> Iterator[Row]:
    hidden = Axis(even(sizes[0].hidden, sizes[1].hidden), sizes[0].hidden)
    yield "reduce.weight", ((hidden, Axis(origin, narrow.source.channels, summed=True)),)
    yield "reduce.bias", ((hidden,),)
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"norm.{name}", ((hidden,),)
    predicted = (kept(prod(narrow.position_shape)), *channels)
    yield "predict.weight", ((*predicted, Axis(hidden.origin, hidden.length, summed=True)),)
    yield "predict.bias", (predicted,)


def _reduction(space: Reduced, channels: Axis) -> Iterator[Row]:
    read = Axis(channels.origin, channels.length, summed=True)
    yield "reduction.weight", ((channels, read, *map(kept, space.ratio)),)
    for name in ("reduction.bias", "reduction.norm.weight", "reduction.norm.bias"):
        yield name, ((channels,),)
