"""A connection op goes in; the constructor call of the layer that does the same in plain PyTorch comes out."""

from collections.abc import Mapping

from archspec import ir
from archspec.export.expression import Call, Expression, Leaf, call
from archspec.export.geometry import ONE, around, reduction, size, space_of, unless, width

ACTIVATIONS: Mapping[str, str] = {
    "relu": "nn.ReLU",
    "gelu": "nn.GELU",
    "silu": "nn.SiLU",
    "tanh": "nn.Tanh",
    "sigmoid": "nn.Sigmoid",
    "hardswish": "nn.Hardswish",
    "relu6": "nn.ReLU6",
}


def connection(op: ir.Connect) -> Call:
    """The layer of a connection."""
    if isinstance(op.weights, ir.Attention):
        return _attention(op, op.weights)
    if isinstance(op.weights, ir.Outlook):
        return _outlook(op, op.weights)
    if isinstance(op.weights, ir.Predicted):
        return _pooled(op, op.weights) if op.weights.source == "pooled" else _local(op, op.weights)
    return _static(op, op.weights)


def _biases(op: ir.Connect) -> dict[str, Expression | None]:
    return {
        "channel_bias": unless(op.bias == "channels", False, "bias"),
        "position_bias": Leaf(op.target.positions, "positions") if op.bias == "positions" else None,
    }


# ------------------------------------------------------------------ static


def _static(op: ir.Connect, weights: ir.Static) -> Call:
    if op.share_positions == "offsets":
        if isinstance(op.space, ir.Point):
            return _at_point(op)
        if isinstance(op.space, ir.Sliding):
            return _convolution(op, op.space.size, around(op, op.space), op.space, weights.normalise)
        if isinstance(op.space, ir.Full):
            return _convolution(op, op.offsets, _everywhere(op), None, weights.normalise)
        if isinstance(op.space, ir.Cross):
            return _cross(op)
    by_offset = unless(op.share_positions == "offsets", False, "by_offset")
    rest = {"reduction": reduction(op), "by_offset": by_offset, **_biases(op)}
    shape = Leaf(op.weight_shape, "shape")
    if op.channels == "separate":
        softmax = unless(weights.normalise, False, "softmax")
        return call("Mixing", width(op), space=space_of(op), shape=shape, kernels=_kernels(op), softmax=softmax, **rest)
    out = Leaf(op.target.channels, "out_width")
    return call("DenseMixing", out, space=space_of(op), shape=shape, **_groups(op), **rest)


def _kernels(op: ir.Connect) -> Leaf | None:
    return unless(op.kernels, 1, "kernels")


def _groups(op: ir.Connect) -> dict[str, Expression | None]:
    one = unless(op.share_channels == "all", False, "one_for_all")
    return {"groups": unless(op.channel_groups, 1, "groups"), "one_for_all": one}


def _at_point(op: ir.Connect) -> Call:
    if op.channels == "separate":
        shape = Leaf(op.weight_shape, "shape")
        return call("Scaling", width(op), shape=shape, kernels=_kernels(op), **_biases(op))
    out = Leaf(op.target.channels, "out_width")
    if op.channels == "full" and op.bias != "positions":
        return call("nn.Linear", width(op), out, bias=unless(op.bias == "channels", True, "bias"))
    groups = {**_groups(op), "groups": Leaf(op.channel_groups, "groups")}
    return call("GroupedLinear", width(op), out, **groups, **_biases(op))


def _everywhere(op: ir.Connect) -> Leaf:
    """Zeros around the map so that a convolution has every offset between two of its positions."""
    down, across = op.source.height - 1, op.source.width - 1
    return Leaf((across, across, down, down), "around")


def _crop(op: ir.Connect) -> dict[str, Expression | None]:
    """What a table for larger maps holds beyond the offsets of this one."""
    if not isinstance(op.space, ir.Full):
        return {}
    crop = op.farthest[0] - (op.source.height - 1), op.farthest[1] - (op.source.width - 1)
    return {} if crop == (0, 0) else {"cropped": Leaf(True, "cropped"), "crop": Leaf(crop, "crop")}


def _moves(space: ir.Sliding | None) -> dict[str, Expression | None]:
    if space is None:
        return {}
    return {"stride": unless(space.stride, ONE, "stride"), "dilation": unless(space.dilation, ONE, "dilation")}


def _convolution(op: ir.Connect, taps: ir.Pair, pads: Leaf, space: ir.Sliding | None, softmax: bool) -> Call:
    rest = {**_moves(space), **_crop(op), **_biases(op)}
    if op.channels != "separate":
        padding = None if pads.value == (0, 0, 0, 0) else pads
        head = (width(op), Leaf(op.target.channels, "out_width"))
        return call("Convolution", *head, size=Leaf(taps, "taps"), around=padding, **_groups(op), **rest)
    one_for_all = unless(op.share_channels == "all", False, "one_for_all")
    grouped = op.share_channels != "all" and op.kernels != op.source.channels
    kernels = {"grouped": Leaf(True, "grouped"), "kernels": Leaf(op.kernels, "kernels")} if grouped else {}
    normal = unless(softmax, False, "softmax")
    own = {"size": Leaf(taps, "taps"), "around": pads, "one_for_all": one_for_all, **kernels}
    return call("DepthwiseConvolution", width(op), **own, softmax=normal, **rest)


def _cross(op: ir.Connect) -> Call:
    separate = op.channels == "separate"
    groups = op.source.channels if separate else op.channel_groups
    kernels = op.kernels if op.share_channels != "all" else 1
    return call(
        "CrossConvolution",
        width(op),
        Leaf(op.target.channels, "out_width"),
        size=Leaf(size(op.source), "size"),
        groups=Leaf(groups, "groups"),
        kernels=Leaf(op.channel_shape, "kernels"),
        repeat=unless(op.channel_groups if not separate and op.share_channels == "all" else 1, 1, "repeat"),
        interleave=unless(op.source.channels // kernels if separate else 1, 1, "interleave"),
        **_biases(op),
    )


# ------------------------------------------------------------------ predicted


def _predictor(weights: ir.Predicted) -> dict[str, Expression | None]:
    return {
        "normalise": unless(weights.norm, True, "norm"),
        "hidden_bias": unless(weights.hidden_bias, False, "hidden_bias"),
    }


def _pooled(op: ir.Connect, weights: ir.Predicted) -> Call:
    head: dict[str, Expression | None] = {
        "hidden": Leaf(weights.hidden, "hidden"),
        "act": call(ACTIVATIONS[weights.act]),
    }
    rest = {**_predictor(weights), **_biases(op)}
    kernels = Leaf(op.kernels, "kernels")
    softmax = unless(weights.normalise, False, "softmax")
    if isinstance(op.space, ir.Point) and op.channels == "separate":
        return call("ChannelWeighting", width(op), **head, kernels=kernels, **rest)
    if isinstance(op.space, ir.Point):
        out = Leaf(op.target.channels, "out_width")
        return call("DynamicLinear", width(op), out, **head, **_groups(op), **rest)
    if isinstance(op.space, ir.Sliding):
        head |= {"size": Leaf(op.space.size, "taps"), "around": around(op, op.space), "kernels": kernels}
        return call("DynamicConvolution", width(op), **head, **_moves(op.space), softmax=softmax, **rest)
    if isinstance(op.space, ir.Full) and op.share_positions == "offsets":
        head |= {"size": Leaf(op.offsets, "taps"), "around": _everywhere(op), "kernels": kernels}
        return call("DynamicConvolution", width(op), **head, softmax=softmax, **_crop(op), **rest)
    predicted = op.kernels
    for count in op.position_shape:
        predicted *= count
    rows = Leaf(predicted, "predicted")
    by_offset = unless(op.share_positions == "offsets", False, "by_offset")
    return call(
        "DynamicMixing",
        width(op),
        **head,
        predicted=rows,
        space=space_of(op),
        kernels=kernels,
        by_offset=by_offset,
        softmax=softmax,
        **rest,
    )


def _local(op: ir.Connect, weights: ir.Predicted) -> Call:
    hidden, reads = Leaf(weights.hidden, "hidden"), Leaf(op.neighbours, "reads")
    stride = op.space.stride if isinstance(op.space, ir.Sliding) else ONE
    return call(
        "LocalMixing",
        width(op),
        hidden=hidden,
        act=call(ACTIVATIONS[weights.act]),
        reads=reads,
        space=space_of(op),
        kernels=Leaf(op.kernels, "kernels"),
        stride=unless(stride, ONE, "stride"),
        softmax=unless(weights.normalise, False, "softmax"),
        reduction=reduction(op),
        **_predictor(weights),
        **_biases(op),
    )


# ------------------------------------------------------------------ attention


def _attention(op: ir.Connect, weights: ir.Attention) -> Call:
    relative = weights.relative_bias or weights.centre
    over_map = isinstance(op.space, ir.Full | ir.Reduced)
    extra = relative or weights.post_convolution or weights.mix_heads or not weights.softmax
    convolves = {
        "convolve_products": Leaf(True, "convolve"),
        "kernel": Leaf(weights.post_convolution, "kernel"),
        "area": Leaf(op.area, "area"),
    }
    return call(
        "Attention",
        width(op),
        heads=Leaf(op.kernels, "heads"),
        space=space_of(op),
        plain=unless(over_map and not extra, False, "plain"),
        value=unless(weights.value, True, "value"),
        projection_bias=unless(weights.bias, True, "projection_bias"),
        project_output=unless(weights.output, False, "output"),
        softmax=unless(weights.softmax, True, "softmax"),
        relative=unless(weights.relative_bias, False, "relative"),
        from_centre=unless(weights.centre, False, "from_centre"),
        **(convolves if weights.post_convolution else {}),
        pre_convolution=_pre_convolution(op, weights.pre_convolution),
        combine_heads=unless(weights.mix_heads, False, "mix_heads"),
        token_asks=unless(op.token_asks, False, "token_asks"),
        reduction=reduction(op),
        **_biases(op),
    )


def _pre_convolution(op: ir.Connect, options: ir.PreConvolution | None) -> Call | None:
    if options is None:
        return None
    taps, pads = Leaf((options.size,) * 2, "taps"), Leaf((options.size // 2,) * 4, "around")
    if options.channels == "full":
        return call("Convolution", width(op), width(op), size=taps, around=pads)
    one_for_all = unless(options.channels == "shared", False, "one_for_all")
    return call("DepthwiseConvolution", width(op), size=taps, around=pads, one_for_all=one_for_all)


def _outlook(op: ir.Connect, weights: ir.Outlook) -> Call:
    return call(
        "Outlook",
        width(op),
        heads=Leaf(op.kernels, "heads"),
        size=Leaf(op.area, "taps"),
        stride=unless(weights.stride, ONE, "stride"),
        value=unless(weights.value, True, "value"),
        projection_bias=unless(weights.bias, False, "projection_bias"),
        **_biases(op),
    )
