"""A connection goes in; what it costs comes out: multiply-adds, the paper's FLOPs. No torch.

The conventions are those of archspec.costs. Legend: N positions; C channels; K neighbours; k sizes of kernels.
"""

from math import prod

from archspec import ir

PAPER_FLOPS_PER_ACTIVATION = {"relu": 1, "gelu": 5}
PAPER_FLOPS_PER_SOFTMAX = 5
PAPER_FLOPS_PER_NORM = {"layer": 2, "batch": 2, "affine": 0}


def aggregation_macs(op: ir.Connect) -> int:
    """Multiply-adds of y = W v once W is known: the entries of W, counting those beyond the border.

    A diagonal W (space point, separate channels) is an elementwise product, which adds nothing: none, as for `scale`.
    """
    if isinstance(op.space, ir.Point) and op.channels == "separate":
        return 0
    if isinstance(op.weights, ir.Outlook):
        return prod(op.weights.grid(op.source)) * op.neighbours**2 * op.source.channels
    return reading_positions(op) * read_products(op) * op.target.channels * (op.source.channels // op.channel_groups)


def reading_positions(op: ir.Connect) -> int:
    """Positions that something is computed for: those of y, or of the map padded to whole windows."""
    if isinstance(op.space, ir.Window):
        return prod(op.space.padded(op.source))
    return op.target.positions


def read_positions(op: ir.Connect) -> int:
    """Positions that are read: those of x, with the padding and halo of windows, or of the reduced map."""
    if isinstance(op.space, ir.Window):
        return prod(op.space.surrounded(op.source))
    return op.space.map(op.source).positions if isinstance(op.space, ir.Reduced) else op.source.positions


def read_products(op: ir.Connect) -> int:
    """Products per reading position: K; of a cross H + W, because the crossing is in its row and in its column."""
    return op.neighbours + isinstance(op.space, ir.Cross)


def weight_macs(op: ir.Connect) -> int:
    """Multiply-adds of everything but y = W v: finding W from x, projections, the reduction of a pooled map."""
    macs = _reduction_macs(op)
    if isinstance(op.weights, ir.Attention):
        return macs + _attention_macs(op, op.weights)
    if isinstance(op.weights, ir.Outlook):
        width, windows = op.source.channels, prod(op.weights.grid(op.source))
        value = op.source.positions * width**2 if op.weights.value else 0
        return value + windows * width * op.kernels * op.neighbours**2
    if isinstance(op.weights, ir.Predicted):
        hidden = op.weights.hidden * op.source.channels * places(op, op.weights)
        return macs + hidden + op.weights.hidden * predicted_elements(op, op.weights)
    return macs


def _reduction_macs(op: ir.Connect) -> int:
    if not isinstance(op.space, ir.Reduced) or op.space.by == "mean":
        return 0
    return read_positions(op) * prod(op.space.ratio) * op.source.channels**2


def _attention_macs(op: ir.Connect, weights: ir.Attention) -> int:
    """Projections, products, and what is done to the products."""
    width, heads, queries = op.source.channels, op.kernels, reading_positions(op)
    products = queries * read_products(op)
    macs = width**2 * (queries + read_positions(op) * (2 if weights.value else 1)) + products * width
    if weights.pre_convolution:
        channels = width if weights.pre_convolution.channels == "full" else 1
        macs += op.source.positions * weights.pre_convolution.size**2 * width * channels
    macs += products * heads * weights.post_convolution**2
    macs += queries * width * heads * op.relative_offsets if weights.centre else 0
    macs += products * heads**2 if weights.mix_heads else 0
    return macs + (queries * width**2 if weights.output else 0)


def places(op: ir.Connect, weights: ir.Predicted) -> int:
    """How many sets of weights an image needs: one, or one for each position."""
    return 1 if weights.source == "pooled" else op.target.positions


def predicted_elements(op: ir.Connect, weights: ir.Predicted) -> int:
    """How many numbers are predicted for an image, those for the padding of windows too."""
    return prod(op.weight_shape) * (1 if weights.source == "pooled" else reading_positions(op))


def connect_paper_flops(op: ir.Connect) -> int:
    """One connection in the convention of the paper; see archspec.costs."""
    flops = aggregation_macs(op) + weight_macs(op) + PAPER_FLOPS_PER_SOFTMAX * _softmax_elements(op)
    if op.bias == "channels" and isinstance(op.space, ir.Sliding):
        flops += op.target.elements
    if isinstance(op.space, ir.Reduced):
        flops += _reduction_paper_flops(op, op.space)
    if isinstance(op.weights, ir.Attention) and op.weights.mix_heads:
        # The mixing is a 1x1 convolution with a bias.
        flops += reading_positions(op) * read_products(op) * op.kernels
    if isinstance(op.weights, ir.Outlook) and op.weights.stride != (1, 1):
        flops += op.source.elements
    if isinstance(op.weights, ir.Predicted):
        flops += _predictor_paper_flops(op, op.weights)
    return flops


def _softmax_elements(op: ir.Connect) -> int:
    if isinstance(op.weights, ir.Attention):
        return reading_positions(op) * op.neighbours * op.kernels if op.weights.softmax else 0
    if isinstance(op.weights, ir.Outlook):
        return prod(op.weights.grid(op.source)) * op.kernels * op.neighbours**2
    if not op.weights.normalise:
        return 0
    return predicted_elements(op, op.weights) if isinstance(op.weights, ir.Predicted) else prod(op.weight_shape)


def _reduction_paper_flops(op: ir.Connect, space: ir.Reduced) -> int:
    """A convolution has a bias, a mean reads what it pools."""
    elements = read_positions(op) * op.source.channels
    reduced = elements if space.by == "convolution" else elements * prod(space.ratio)
    return reduced + (PAPER_FLOPS_PER_NORM["layer"] * elements if space.norm else 0)


def _predictor_paper_flops(op: ir.Connect, weights: ir.Predicted) -> int:
    """The predictor is two 1x1 convolutions around a batch norm and an activation."""
    per_place = PAPER_FLOPS_PER_ACTIVATION.get(weights.act, 0) * weights.hidden
    per_place += weights.hidden if weights.hidden_bias else 0
    per_place += PAPER_FLOPS_PER_NORM["batch"] * weights.hidden if weights.norm else 0
    flops = per_place * places(op, weights) + predicted_elements(op, weights)
    if weights.source == "pooled":
        return flops + op.source.elements
    pooled = isinstance(op.space, ir.Sliding) and op.space.stride != (1, 1)
    return flops - aggregation_macs(op) + (op.source.elements if pooled else 0)
