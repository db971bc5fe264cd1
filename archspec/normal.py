"""A connection layer as written goes in; the same layer in normal form, with shapes resolved, comes out.

Two spellings of one meaning must resolve to one op, because identity (the digest) is read off the op:

    a window that covers the map is full; a kernel of one tap is point; a map of one position is point
    one group of channels is full, C groups are separate; one group of sharing is all, C groups are none
    one window has nothing to share with: its `windows` is none; one position: its `none` is offsets
    what has no effect (dilation of one tap, a shift of a window as large as the map) is dropped
"""

from dataclasses import dataclass

from archspec import ir
from archspec.ir import Feature
from archspec.schema.axes import (
    Attention,
    Channels,
    ChannelSharing,
    Groups,
    GroupWidth,
    Local,
    LocalOptions,
    Pooled,
    PooledOptions,
    Size,
    Sliding,
    SlidingOptions,
    Window,
    WindowOptions,
)
from archspec.schema.steps import ConnectLayer, HiddenSize, WidthRatio


class Illegal(Exception):
    """A layer that cannot stand where it stands: the rule, what was found, the nearest valid choices."""

    def __init__(self, rule: str, found: str = "", nearest: tuple[str, ...] = ()) -> None:
        super().__init__(rule)
        self.rule, self.found, self.nearest = rule, found, nearest


@dataclass(frozen=True)
class Place:
    """Where a layer stands: its path, the incoming shape, and what the network says of layers that do not say."""

    path: str
    source: Feature
    stage_width: int
    init: str

    def inside(self, name: str, source: Feature) -> "Place":
        return Place(f"{self.path}.{name}", source, self.stage_width, self.init)


def pair(size: Size | int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def width_of(width: int | str | WidthRatio | None, place: Place) -> int:
    """The outgoing width that a layer asks for."""
    if width is None:
        return place.source.channels
    if isinstance(width, int):
        return width
    if isinstance(width, WidthRatio):
        return whole(width.ratio * place.source.channels, f"{width.ratio} x {place.source.channels} channels")
    return place.stage_width


def whole(value: float, found: str) -> int:
    """A size that must come out as a whole number of at least one."""
    if value != round(value) or value < 1:
        raise Illegal("a ratio times a size must be a whole number", f"{found} = {value:g}")
    return round(value)


def group_count(value: Groups | GroupWidth, width: int, what: str) -> int:
    """How many groups; the width must be a multiple."""
    if isinstance(value, Groups):
        count, name = value.groups, "groups"
    else:
        count, name = width // value.group_width, "group_width"
    size = value.groups if isinstance(value, Groups) else value.group_width
    if width % size or not count:
        divisors = sorted((d for d in range(1, width + 1) if width % d == 0), key=lambda d: abs(d - size))
        raise Illegal(
            f"{name} must divide the number of {what}", f"{size} for {width} {what}", tuple(map(str, divisors[:3]))
        )
    return count


def connect(layer: ConnectLayer, place: Place) -> tuple[ir.Op, ...]:
    """The op of a layer; three ops (factor, activation, factor) when it has a rank."""
    if layer.rank is not None:
        return _factors(layer, layer.rank, place)
    space, target = _space(layer, place)
    target = Feature(target.height, target.width, width_of(layer.width, place), target.class_tokens)
    return (_op(layer, place, space, target),)


def _op(layer: ConnectLayer, place: Place, space: ir.Space, target: Feature) -> ir.Connect:
    source = place.source
    weights = _weights(layer, place)
    channels, channel_groups = _channels(layer.connectivity.channels, source, target)
    positions = layer.sharing.positions
    if isinstance(space, ir.Full) and positions == "windows":
        positions = "none"
    if isinstance(space, ir.Point) and (positions == "windows" or source.positions == 1):
        positions = "none" if isinstance(weights, ir.Predicted) and weights.source == "local" else "offsets"
    if isinstance(space, ir.Sliding) and isinstance(weights, ir.Static) and target.positions == 1:
        positions = "offsets"
    share, kernels = _sharing(layer.sharing.channels, channels, source)
    if channels == "full" or (channels == "groups" and share == "none"):
        share, kernels = "none", 1
    if isinstance(weights, ir.Static) and source.channels == target.channels == 1:
        channels, channel_groups, share, kernels = "full", 1, "none", 1
    bias = _bias(layer, space, positions, share)
    op = ir.Connect(
        place.path, source, target, space, channels, channel_groups, positions, share, kernels, weights, bias
    )
    _check_class_token(op)
    return op


def _factors(layer: ConnectLayer, rank: HiddenSize, place: Place) -> tuple[ir.Op, ...]:
    """W2 act(W1 x): over channels at a point, or over the positions of the map (a token-mixing MLP)."""
    source = place.source
    over_channels = layer.connectivity.space == "point"
    size = source.channels if over_channels else source.positions
    hidden = rank.size or whole((rank.ratio or 0) * size, f"{rank.ratio} x {size}")
    if over_channels:
        inner = Feature(source.height, source.width, hidden, source.class_tokens)
        target = Feature(source.height, source.width, width_of(layer.width, place), source.class_tokens)
        space: ir.Space = ir.Point()
    else:
        inner, target, space = Feature(1, hidden, source.channels), source, ir.Full()
    first = _op(layer, place.inside("first", source), space, inner)
    act = ir.Activation(f"{place.path}.act", inner, inner, rank.act)
    second = _op(layer, place.inside("second", inner), space, target)
    return first, act, second


def _channels(channels: Channels, source: Feature, target: Feature) -> tuple[str, int]:
    if channels == "separate":
        return "separate", source.channels
    if channels == "full":
        return "full", 1
    groups = group_count(channels, source.channels, "channels")
    if target.channels % groups:
        raise Illegal("groups must divide the outgoing channels", f"{groups} groups for {target.channels}")
    if groups == 1:
        return "full", 1
    return ("separate" if groups == source.channels == target.channels else "groups"), groups


def _sharing(sharing: ChannelSharing, channels: str, source: Feature) -> tuple[str, int]:
    width = source.channels
    if sharing == "all" or (width == 1 and channels == "separate"):
        return "all", 1
    if sharing == "none" or channels != "separate":
        return "none", width
    groups = group_count(sharing, width, "channels")
    if groups == 1:
        return "all", 1
    return ("none" if groups == width else "groups"), groups


def _bias(layer: ConnectLayer, space: ir.Space, positions: str, share: str) -> str:
    asked = layer.bias
    if asked is None:
        asked = layer.weights == "static"
    if isinstance(asked, str):
        return asked
    if not asked:
        return "none"
    token_mixing = isinstance(space, ir.Full) and positions == "none" and share == "all"
    return "positions" if token_mixing else "channels"


def _weights(layer: ConnectLayer, place: Place) -> ir.Weights:
    weights = layer.weights
    if isinstance(weights, Attention):
        options = weights.attention
        return ir.Attention(options.bias, options.relative_bias, options.value)
    if isinstance(weights, Pooled):
        return _predicted("pooled", weights.pooled, place)
    if isinstance(weights, Local):
        return _predicted("local", weights.local, place)
    return ir.Static(layer.init or place.init)


def _predicted(source: str, options: PooledOptions | LocalOptions, place: Place) -> ir.Predicted:
    hidden = max(1, place.source.channels // options.reduction)
    return ir.Predicted(source, hidden, options.norm == "batch", options.act, options.hidden_bias)


def _space(layer: ConnectLayer, place: Place) -> tuple[ir.Space, Feature]:
    """The space in normal form, and the outgoing shape (its channels still the incoming ones)."""
    space, source = layer.connectivity.space, place.source
    attention = isinstance(layer.weights, Attention)
    if isinstance(space, Sliding):
        return _sliding(space.options, source, local=isinstance(layer.weights, Local))
    if isinstance(space, Window):
        if source.class_tokens:
            raise _no_place("window")
        resolved = _window(space.options, source, attention)
        if resolved.size == (1, 1) and not attention:
            return ir.Point(), source
        if resolved.size == (source.height, source.width):
            return _full(source, attention), source
        return resolved, source
    return (ir.Point() if space == "point" else _full(source, attention)), source


def _full(source: Feature, attention: bool) -> ir.Space:
    return ir.Point() if source.positions == 1 and not attention else ir.Full()


def _sliding(options: SlidingOptions, source: Feature, local: bool) -> tuple[ir.Space, Feature]:
    size, stride = pair(options.size), pair(options.stride)
    dilation = tuple(1 if k == 1 else d for k, d in zip(size, pair(options.dilation), strict=True))
    reach = tuple(d * (k - 1) for k, d in zip(size, dilation, strict=True))
    if local and (stride != (1, 1) or options.padding != "same"):
        raise Illegal(
            "local weights are predicted at the centre of each window: stride must be 1 and padding same",
            f"stride {options.stride}, padding {options.padding}",
            ("stride: 1, padding: same",),
        )
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
    if size == (1, 1) and stride == (1, 1):
        return ir.Point(), feature
    before = (reach[0] // 2, reach[1] // 2) if options.padding == "same" else (0, 0)
    return ir.Sliding(size, (dilation[0], dilation[1]), stride, before), feature


def _window(options: WindowOptions, source: Feature, attention: bool) -> ir.Window:
    size, shift = [], []
    for window, moved, extent in zip(
        pair(options.size), pair(options.shift), (source.height, source.width), strict=True
    ):
        clipped = min(window, extent)
        size.append(clipped)
        shift.append(0 if clipped == extent else moved % clipped)
    padded = source.height % size[0] or source.width % size[1]
    masked = options.padding == "masked" and attention and bool(padded)
    return ir.Window((size[0], size[1]), (shift[0], shift[1]), masked)


def _check_class_token(op: ir.Connect) -> None:
    if not op.source.class_tokens or isinstance(op.space, ir.Point):
        return
    relative = op.share_positions == "offsets" or (isinstance(op.weights, ir.Attention) and op.weights.relative_bias)
    if not isinstance(op.space, ir.Full) or relative:
        raise _no_place(type(op.space).__name__.lower() + (", relative to offsets" if relative else ""))


def _no_place(found: str) -> Illegal:
    return Illegal(
        "a class token has no place on the map: with one, the space must be point or full, "
        "without offsets and without a relative bias",
        found,
        ("space: full, sharing: {positions: none}",),
    )
