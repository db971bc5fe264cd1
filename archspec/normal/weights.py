"""Weights as written go in; weights with resolved numbers come out, or which option cannot stand with which space."""

from collections.abc import Iterator

from archspec import ir
from archspec.normal.place import Illegal, Place, pair
from archspec.normal.spaces import no_place_for_token
from archspec.schema.axes import Sliding
from archspec.schema.layer import ConnectLayer
from archspec.schema.weights import (
    Attention,
    AttentionOptions,
    Local,
    LocalOptions,
    Outlook,
    OutlookOptions,
    Pooled,
    PooledOptions,
    Static,
)


def weights_of(layer: ConnectLayer, place: Place) -> ir.Weights:
    """Where the values of W come from."""
    weights = layer.weights
    if isinstance(weights, Attention):
        return _attention(weights.attention)
    if isinstance(weights, Pooled):
        return _predicted("pooled", weights.pooled, place)
    if isinstance(weights, Local):
        return _predicted("local", weights.local, place)
    if isinstance(weights, Outlook):
        return _outlook(weights.outlook, place)
    normalise = isinstance(weights, Static) and weights.static.normalise == "softmax"
    return ir.Static(layer.init or place.init, normalise)


def _attention(options: AttentionOptions) -> ir.Attention:
    before = options.pre_convolution
    return ir.Attention(
        options.bias,
        options.relative_bias,
        options.value,
        options.output,
        options.normalise == "softmax",
        options.centre,
        options.post_convolution,
        ir.PreConvolution(before.size, before.channels) if before else None,
        options.mix_heads,
    )


def _predicted(source: str, options: PooledOptions | LocalOptions, place: Place) -> ir.Predicted:
    hidden = max(1, place.source.channels // options.reduction)
    normalise = options.normalise == "softmax"
    return ir.Predicted(source, hidden, options.norm == "batch", options.act, options.hidden_bias, normalise)


def _outlook(options: OutlookOptions, place: Place) -> ir.Outlook:
    stride = pair(options.stride)
    # A stride past the map leaves one window, in the corner, that predicts from the mean of the map.
    clipped = min(stride[0], place.source.height), min(stride[1], place.source.width)
    return ir.Outlook(clipped, options.bias and options.value, options.value)


def check_weights(layer: ConnectLayer, place: Place) -> None:
    """Raise Illegal where an option of the weights asks for what the space as written does not give."""
    space, weights = layer.connectivity.space, layer.weights
    if isinstance(space, Sliding) and isinstance(weights, Local) and space.options.padding == "none":
        raise Illegal(
            "local weights are predicted at the position that a window is centred at: the padding must be same or end",
            "padding none",
            ("padding: same", "padding: end"),
        )
    if isinstance(space, Sliding) and isinstance(weights, Attention):
        _check_centred(space, "sliding attention", dilates=True)
    if isinstance(space, Sliding) and isinstance(weights, Outlook):
        _check_centred(space, "outlook weights", dilates=False)
        size = pair(space.options.size)
        if not (size[0] % 2 and size[1] % 2):
            odd = [k - 1 + k % 2 for k in size]
            raise Illegal(
                "outlook weights are predicted at the centre of a window, so its size must be odd",
                f"{size[0]}x{size[1]}",
                (f"size: {odd}",),
            )
    if isinstance(weights, Attention) and weights.attention.queries == "class_token":
        _check_token(layer, place)


def _check_centred(space: Sliding, what: str, dilates: bool) -> None:
    """Every position is the centre of its window: nothing is skipped at the borders or between positions."""
    options = space.options
    wrong = [f"stride {options.stride}"] if pair(options.stride) != (1, 1) else []
    wrong += [f"dilation {options.dilation}"] if not dilates and pair(options.dilation) != (1, 1) else []
    wrong += [f"padding {options.padding}"] if options.padding != "same" else []
    if wrong:
        free = "" if dilates else ", dilation 1"
        raise Illegal(
            f"{what} are predicted for every position from around it: stride must be 1{free}, and padding same",
            ", ".join(wrong),
            (f"{{sliding: {{size: {list(pair(options.size))}}}}}",),
        )


def _check_token(layer: ConnectLayer, place: Place) -> None:
    space = layer.combination.space
    if space != "full":
        raise Illegal("the class token's queries read everything: the space must be full", space, ("space: full",))
    if not place.source.class_tokens:
        raise Illegal("the class token's queries need a class_token step before", "no class token", ("queries: all",))


def check_op(op: ir.Connect) -> None:
    """Raise Illegal where the resolved space does not give what the weights ask for."""
    found = ", ".join(_indexed_by_place(op))
    if found and op.source.class_tokens and not isinstance(op.space, ir.Point):
        raise no_place_for_token(f"{type(op.space).__name__.lower()}, {found}")
    if found and isinstance(op.space, ir.Reduced):
        raise Illegal(
            "the positions of a pooled map are not those of the map that reads it: attention over it has no relative "
            "bias, centre or convolutions",
            found,
            ("weights: attention", "space: full"),
        )
    if isinstance(op.space, ir.Cross) and isinstance(op.weights, ir.Attention) and op.weights.post_convolution:
        raise Illegal(
            "a post-convolution needs a rectangle of products: the space cross reads none",
            f"post_convolution {op.weights.post_convolution}",
            ("post_convolution: 0", "space: full"),
        )
    _check_softmax(op)


def _indexed_by_place(op: ir.Connect) -> Iterator[str]:
    """The parts of an op that ask where a position stands."""
    if op.share_positions == "offsets":
        yield "relative to offsets"
    if isinstance(op.weights, ir.Attention):
        parts = {
            "relative_bias": op.weights.relative_bias,
            "centre": op.weights.centre,
            "post_convolution": op.weights.post_convolution,
            "pre_convolution": op.weights.pre_convolution,
        }
        yield from (name for name, used in parts.items() if used)


def _check_softmax(op: ir.Connect) -> None:
    """A softmax over what a position reads: there must be several, and they must stand side by side in the table."""
    if not isinstance(op.weights, ir.Static | ir.Predicted) or not op.weights.normalise:
        return
    if op.channels != "separate":
        raise Illegal(
            "a softmax is over the positions that a channel reads, so the channels must be separate",
            f"channels {op.channels}",
            ("channels: separate", "normalise: none"),
        )
    if op.neighbours == 1:
        raise Illegal("a softmax over one position is always one", f"space {op.space}", ("normalise: none",))
    if op.share_positions == "offsets" and not isinstance(op.space, ir.Sliding):
        raise Illegal(
            "positions that share weights over offsets read different parts of one table, which no softmax makes sum "
            "to one: only in a sliding window they read all of it",
            f"space {type(op.space).__name__.lower()}",
            ("space: {sliding: 7}", "positions: windows", "normalise: none"),
        )
