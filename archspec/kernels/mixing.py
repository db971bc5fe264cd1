"""Positions of a window, or of the whole map, mixed by a matrix inside each channel; (B, H, W, C) -> (B, H', W', C).

Separate channels with static weights (token-mixing MLP, static Swin), or weights predicted from the pooled image or
at each position. Legend: R positions that a window reads, which may be more (a halo) or fewer (a reduced map) than K.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.predictor import at_targets, pooled
from archspec.kernels.products import per_window
from archspec.kernels.reduced import read
from archspec.kernels.shapes import Parameters, across_channels, as_map, with_bias
from archspec.kernels.tables import at_offsets
from archspec.kernels.windows import join, split


def tokens(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """One matrix over all positions, the same for every channel (Mixer, ResMLP). weight: (N', R)."""
    weight = across_channels(op, parameters["weight"]).expand(len(x), -1, -1)
    positions = read(op, parameters, x).squeeze(1)
    if op.bias != "positions":
        return with_bias(op, parameters, as_map(torch.bmm(weight, positions), op.target))
    # The bias goes into the product instead of costing a pass of its own over the map.
    bias = parameters["bias"].unsqueeze(1).expand(len(x), -1, x.shape[-1])
    return as_map(torch.baddbmm(bias, weight, positions), op.target)


def static(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """weight: (G, K, R), (G, windows, K, R), or (G, 2h-1, 2w-1) over offsets; without G when all channels share."""
    weight = across_channels(op, parameters["weight"])
    if op.share_positions == "offsets":
        weight = at_offsets(op, weight.flatten(1), 1)
    by_window = isinstance(op.space, ir.Window) and op.share_positions == "none"
    return _apply(op, parameters, x, weight, "gwij" if by_window else "gij")


def from_pooled(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """One matrix per image and kernel, for every window of the image."""
    weight = pooled(op, parameters, x, training)
    if op.share_positions == "offsets":
        weight = at_offsets(op, weight.flatten(1, 2), 1)
    return _apply(op, parameters, x, weight, "bijg")


def from_positions(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Each position predicts its row of the matrix."""
    assert isinstance(op.weights, ir.Predicted)
    # Batch norm counts the positions of the map, not the zeros that fill the last windows: cut after it.
    h = split(op, at_targets(op, parameters, x, training))
    predicted = F.linear(h, parameters["predict.weight"], parameters["predict.bias"])
    weight = predicted.unflatten(-1, (*op.position_shape, op.kernels))
    if op.weights.normalise:
        weight = weight.softmax(-2)
    return _apply(op, parameters, x, weight, "bwijg")


def _apply(op: ir.Connect, parameters: Parameters, x: Tensor, weight: Tensor, axes: str) -> Tensor:
    """Multiply what every window reads by its matrix, kernel by kernel."""
    channels = read(op, parameters, x).unflatten(-1, (op.kernels, -1))
    y = per_window(op, weight, axes, channels, "jgm", "igm").flatten(3)
    return with_bias(op, parameters, join(op, y))
