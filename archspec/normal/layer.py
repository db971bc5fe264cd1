"""A connection layer as written goes in; the op that it is, or two with a low rank between, comes out."""

from archspec import ir
from archspec.ir import Feature
from archspec.normal.place import Illegal, Place, group_count, whole, width_of
from archspec.normal.spaces import no_place_for_token, space_of
from archspec.normal.weights import check_op, check_weights, weights_of
from archspec.schema.axes import Channels, ChannelSharing
from archspec.schema.layer import ConnectLayer, HiddenSize
from archspec.schema.weights import Attention


def connect(layer: ConnectLayer, place: Place) -> tuple[ir.Op, ...]:
    """The op of a layer; factor, activation (if any) and factor when it has a rank."""
    if layer.rank is not None:
        return _factors(layer, layer.rank, place)
    check_weights(layer, place)
    weights = weights_of(layer, place)
    space, target = space_of(layer.connectivity.space, place.source, weights, _indexes(layer, weights))
    target = Feature(target.height, target.width, width_of(layer.width, place), target.class_tokens)
    if isinstance(layer.weights, Attention) and layer.weights.attention.queries == "class_token":
        target = Feature(1, 1, target.channels)
    return (_op(layer, place, space, target, weights),)


def _indexes(layer: ConnectLayer, weights: ir.Weights) -> bool:
    """Whether something is looked up by relative offset."""
    if isinstance(weights, ir.Attention):
        return weights.relative_bias or weights.centre
    return layer.sharing.positions == "offsets"


def _op(layer: ConnectLayer, place: Place, space: ir.Space, target: Feature, weights: ir.Weights) -> ir.Connect:
    source = place.source
    channels, channel_groups = _channels(layer.connectivity.channels, source, target)
    positions = _positions(layer.sharing.positions, space, source, target, weights)
    share, kernels = _sharing(layer.sharing.channels, channels, source)
    if channels == "full" or (channels == "groups" and share == "none"):
        share, kernels = "none", 1
    if source.channels == target.channels == 1 and isinstance(weights, ir.Static | ir.Predicted):
        # One channel is both full and separate; only static weights are known to the kernels that mix channels.
        full = isinstance(weights, ir.Static) and not weights.normalise
        channels, channel_groups, share, kernels = ("full" if full else "separate"), 1, ("none" if full else "all"), 1
    bias = _bias(layer, space, positions, share, weights)
    op = ir.Connect(
        place.path, source, target, space, channels, channel_groups, positions, share, kernels, weights, bias
    )
    if source.class_tokens and not isinstance(space, ir.Point | ir.Full):
        raise no_place_for_token(type(space).__name__.lower())
    check_op(op)
    return op


def _positions(written: str, space: ir.Space, source: Feature, target: Feature, weights: ir.Weights) -> str:
    """What positions share in normal form: of several names for one thing, one."""
    if isinstance(space, ir.Full) and written == "windows":
        return "none"
    if isinstance(space, ir.Point) and (written == "windows" or source.positions == 1):
        return "none" if isinstance(weights, ir.Predicted) and weights.source == "local" else "offsets"
    if not isinstance(weights, ir.Static):
        return written
    if isinstance(space, ir.Sliding) and target.positions == 1:
        return "offsets"
    if isinstance(space, ir.Window) and space.grid(source) == (1, 1) and written == "none":
        return "windows"
    return written


def _factors(layer: ConnectLayer, rank: HiddenSize, place: Place) -> tuple[ir.Op, ...]:
    """W2 act(W1 x): over channels at a point, over the positions of the map (a token-mixing MLP), or over both."""
    source, weights = place.source, weights_of(layer, place)
    over_channels = layer.connectivity.space == "point"
    over_both = layer.connectivity.channels == "full" and not over_channels
    size = source.channels if over_channels else source.elements if over_both else source.positions
    hidden = rank.size or whole((rank.ratio or 0) * size, f"{rank.ratio} x {size}")
    space: ir.Space = ir.Point() if over_channels else ir.Full()
    inner = Feature(1, hidden, source.channels)
    if over_channels:
        inner = Feature(source.height, source.width, hidden, source.class_tokens)
    elif over_both:
        inner = Feature(1, 1, hidden)
    target = Feature(source.height, source.width, width_of(layer.width, place), source.class_tokens)
    first = _op(layer, place.inside("first", source), space, inner, weights)
    second = _op(layer, place.inside("second", inner), space, target, weights)
    between = (ir.Activation(f"{place.path}.act", inner, inner, rank.act),) if rank.act else ()
    return first, *between, second


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


def _bias(layer: ConnectLayer, space: ir.Space, positions: str, share: str, weights: ir.Weights) -> str:
    asked = layer.bias
    if asked is None:
        asked = isinstance(weights, ir.Static)
    if isinstance(asked, str):
        return asked
    if not asked:
        return "none"
    token_mixing = isinstance(space, ir.Full) and positions == "none" and share == "all"
    return "positions" if token_mixing else "channels"
