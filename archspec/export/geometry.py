"""An op goes in; how its layer cuts, pads and reduces its map, as arguments and constructor calls, comes out."""

from archspec import ir
from archspec.export.expression import Call, Leaf, call

ONE = (1, 1)


def size(feature: ir.Feature) -> ir.Pair:
    """Height and width of a feature map as a tensor has them."""
    return (1, feature.positions) if feature.class_tokens else (feature.height, feature.width)


def unless(value: object, default: object, hint: str) -> Leaf | None:
    """A value that differs from its default."""
    return None if value == default else Leaf(value, hint)


def width(op: ir.Op) -> Leaf:
    return Leaf(op.source.channels, "width")


def around(op: ir.Op, space: ir.Sliding) -> Leaf:
    """Columns left and right, rows above and below that a sliding window reads beyond the map."""
    (top, left), after = space.before, []
    sizes = ((op.source.height, op.target.height), (op.source.width, op.target.width))
    for axis, (extent, count) in enumerate(sizes):
        reach = (count - 1) * space.stride[axis] + space.dilation[axis] * (space.size[axis] - 1) + 1
        after.append(max(0, reach - space.before[axis] - extent))
    return Leaf((left, after[1], top, after[0]), "around")


def space_of(op: ir.Connect) -> Call:
    """The way in which a layer cuts its map."""
    space, source, target = op.space, Leaf(size(op.source), "size"), Leaf(size(op.target), "target")
    if isinstance(space, ir.Window):
        return _windows(source, space)
    if isinstance(space, ir.Sliding):
        moves = {"stride": unless(space.stride, ONE, "stride"), "dilation": unless(space.dilation, ONE, "dilation")}
        taps, before = Leaf(space.size, "taps"), Leaf(space.before, "before")
        return call("Neighbours", source, taps=taps, target=target, before=before, **moves)
    if isinstance(space, ir.Point):
        return call("Neighbours", source, taps=Leaf(ONE, "taps"), target=target, before=Leaf((0, 0), "before"))
    if isinstance(space, ir.Cross):
        return call("Cross", source)
    relative = isinstance(op.weights, ir.Attention) and (op.weights.relative_bias or op.weights.centre)
    if relative and op.farthest == (op.source.height - 1, op.source.width - 1):
        # One window as large as the map: so it is one class with the windows of larger maps.
        return _windows(source, ir.Window(size(op.source), (0, 0), masked=False))
    return call("WholeMap", target, farthest=Leaf(op.farthest, "farthest") if relative else None)


def _windows(source: Leaf, space: ir.Window) -> Call:
    masked, interlaced = unless(space.masked, False, "masked"), unless(space.interlaced, False, "interlaced")
    halo, shift = unless(space.halo, (0, 0), "halo"), Leaf(space.shift, "shift")
    window = Leaf(space.size, "window")
    return call("Windows", source, window=window, shift=shift, halo=halo, interlaced=interlaced, masked=masked)


def reduction(op: ir.Connect) -> Call | None:
    space = op.space
    if not isinstance(space, ir.Reduced):
        return None
    convolution, norm = unless(space.by == "convolution", True, "by"), unless(space.norm, True, "norm")
    return call("Reduction", width(op), ratio=Leaf(space.ratio, "ratio"), convolution=convolution, normalise=norm)
