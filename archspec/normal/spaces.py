"""A space as written goes in; the space in normal form and the outgoing shape come out."""

from archspec import ir
from archspec.ir import Feature, Pair
from archspec.normal.place import Illegal, pair
from archspec.schema.axes import (
    Full,
    Grid,
    GridOptions,
    Halo,
    HaloOptions,
    PooledSpace,
    ReductionOptions,
    Sliding,
    SlidingOptions,
    Space,
    Window,
    WindowOptions,
)

ONE = (1, 1)


def space_of(space: Space, source: Feature, weights: ir.Weights, indexed: bool) -> tuple[ir.Space, Feature]:
    """The space in normal form, and the outgoing shape (its channels still the incoming ones).

    `indexed`: something is looked up by relative offset, so that the size of the table matters.
    """
    # Attention also projects, so that a single neighbour is not the position itself; and it may mask padding.
    attention = isinstance(weights, ir.Attention)
    if isinstance(space, Sliding):
        return _sliding(space.options, source, weights)
    if isinstance(space, Full):
        return _full(source, attention, pair(space.full.largest) if indexed else None), source
    if space == "full":
        return _full(source, attention), source
    if space == "point":
        return ir.Point(), source
    if source.class_tokens:
        raise no_place_for_token(space if isinstance(space, str) else next(iter(type(space).model_fields)))
    if isinstance(space, PooledSpace):
        return _reduced(space.options, source, attention), source
    if isinstance(space, str):
        return _cross(source, attention), source
    return _tiled(_window(space, source, attention), source, attention), source


def no_place_for_token(found: str) -> Illegal:
    return Illegal(
        "a class token has no place on the map: with one, the space must be point or full, without offsets, relative "
        "bias, centre and convolutions inside attention",
        found,
        ("space: full, sharing: {positions: none}",),
    )


def _full(source: Feature, attention: bool, largest: Pair | None = None) -> ir.Space:
    map_size = (source.height, source.width)
    if largest is not None and any(extent > most for extent, most in zip(map_size, largest, strict=True)):
        found = f"a map of {source.height}x{source.width}, tables for {largest[0]}x{largest[1]}"
        larger = [max(extent, most) for extent, most in zip(map_size, largest, strict=True)]
        raise Illegal("a map is at most as large as its tables over offsets", found, (f"largest: {larger}",))
    if largest is not None and largest != map_size:
        return ir.Full(largest)
    return ir.Point() if source.positions == 1 and not attention else ir.Full()


def _cross(source: Feature, attention: bool) -> ir.Space:
    return _full(source, attention) if 1 in (source.height, source.width) else ir.Cross()


def _reduced(options: ReductionOptions, source: Feature, attention: bool) -> ir.Space:
    ratio, norm = pair(options.ratio), options.norm == "layer"
    if ratio[0] > source.height or ratio[1] > source.width:
        raise Illegal(
            "the pooled map must have at least one position",
            f"ratio {ratio[0]}x{ratio[1]} on a map of {source.height}x{source.width}",
            (f"ratio: [{min(ratio[0], source.height)}, {min(ratio[1], source.width)}]",),
        )
    if ratio == ONE and options.by == "mean" and not norm:
        return _full(source, attention)
    return ir.Reduced(ratio, options.by, norm)


def _tiled(window: ir.Window, source: Feature, attention: bool) -> ir.Space:
    """A window in normal form: one that covers the map is full, one of a single position is a point."""
    if window.halo != (0, 0):
        return window
    if window.size == ONE and not attention:
        return ir.Point()
    if window.size == (source.height, source.width):
        return _full(source, attention)
    return window


def _window(space: Window | Halo | Grid, source: Feature, attention: bool) -> ir.Window:
    options = space.halo if isinstance(space, Halo) else space.options
    map_size = (source.height, source.width)
    size = _clipped(pair(options.size), map_size)
    padded = any(extent % part for extent, part in zip(map_size, size, strict=True))
    if isinstance(options, HaloOptions):
        halo = pair(options.halo)
        padded = padded or halo != (0, 0)
        return ir.Window(size, (0, 0), _masked(options, padded, attention), False, halo)
    masked = _masked(options, padded, attention)
    if isinstance(options, GridOptions):
        # A window that takes every position of a side, or one, takes neighbouring ones: as without interlacing.
        interlaced = any(part not in (1, extent) for extent, part in zip(map_size, size, strict=True))
        return ir.Window(size, (0, 0), masked, interlaced)
    moves = zip(pair(options.shift), size, map_size, strict=True)
    shift = tuple(0 if part == extent else moved % part for moved, part, extent in moves)
    return ir.Window(size, (shift[0], shift[1]), masked)


def _clipped(size: Pair, map_size: Pair) -> Pair:
    return min(size[0], map_size[0]), min(size[1], map_size[1])


def _masked(options: WindowOptions | HaloOptions | GridOptions, padded: bool, attention: bool) -> bool:
    return options.padding == "masked" and attention and padded


def _sliding(options: SlidingOptions, source: Feature, weights: ir.Weights) -> tuple[ir.Space, Feature]:
    size, stride = pair(options.size), pair(options.stride)
    dilation = tuple(1 if k == 1 else d for k, d in zip(size, pair(options.dilation), strict=True))
    reach = tuple(d * (k - 1) for k, d in zip(size, dilation, strict=True))
    map_size = (source.height, source.width)
    if options.padding == "none":
        target = tuple((m - r - 1) // s + 1 for m, r, s in zip(map_size, reach, stride, strict=True))
        if min(target) < 1:
            raise Illegal(
                "with padding none the sliding window must fit into the map",
                f"window spans {reach[0] + 1}x{reach[1] + 1} on a map of {source.height}x{source.width}",
            )
    else:
        target = tuple(-(-m // s) for m, s in zip(map_size, stride, strict=True))
    feature = Feature(target[0], target[1], source.channels, source.class_tokens)
    if size == stride == ONE and isinstance(weights, ir.Attention):
        return _tiled(ir.Window(ONE, (0, 0), False), source, True), feature
    if size == stride == ONE and not isinstance(weights, ir.Outlook):
        return ir.Point(), feature
    before = (reach[0] // 2, reach[1] // 2) if options.padding == "same" else (0, 0)
    return ir.Sliding(size, (dilation[0], dilation[1]), stride, before), feature
