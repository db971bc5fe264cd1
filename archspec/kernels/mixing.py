"""Positions of a window, or of the whole map, mixed by a matrix inside each channel; (B, H, W, C) -> (B, H', W', C).

Separate channels with static weights (token-mixing MLP, static Swin), or weights predicted from the pooled image.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.predictor import hidden, pooled
from archspec.kernels.shapes import Parameters, across_channels, as_map, flat, with_bias
from archspec.kernels.tables import at_offsets, window_numbers
from archspec.kernels.windows import join, split


def tokens(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """One matrix over all positions, the same for every channel (Mixer, ResMLP). weight: (N', N)."""
    weight = parameters["weight"].expand(len(x), -1, -1)
    if op.bias != "positions":
        return with_bias(op, parameters, as_map(torch.bmm(weight, flat(x)), op.target))
    # The bias goes into the product instead of costing a pass of its own over the map.
    bias = parameters["bias"].unsqueeze(1).expand(len(x), -1, x.shape[-1])
    return as_map(torch.baddbmm(bias, weight, flat(x)), op.target)


def static(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """weight: (G, K, K), (G, windows, K, K), or (G, 2h-1, 2w-1) over offsets; without G when all channels share."""
    weight = across_channels(parameters["weight"], op)
    if op.share_positions == "offsets":
        weight = at_offsets(weight.flatten(1), 1, op.extent)
    if isinstance(op.space, ir.Window) and op.share_positions == "none":
        weight = weight[:, window_numbers(op.space, op.source, x.device)]
        return _apply(op, parameters, x, weight, "gwij,bwjgm->bwigm")
    return _apply(op, parameters, x, weight, "gij,bwjgm->bwigm")


def from_pooled(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """One matrix per image and kernel, for every window of the image."""
    weight = pooled(op, parameters, x, training)
    if op.share_positions == "offsets":
        weight = at_offsets(weight.flatten(1, 2), 1, op.extent)
    return _apply(op, parameters, x, weight, "bijg,bwjgm->bwigm")


def from_positions(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Each position predicts its row of the matrix."""
    # Batch norm counts the positions of the map, not the zeros that fill the last windows: cut after it.
    assert isinstance(op.weights, ir.Predicted)
    h = split(op, hidden(op.weights, parameters, x, training))
    predicted = F.linear(h, parameters["predict.weight"], parameters["predict.bias"])
    weight = predicted.unflatten(-1, (*op.position_shape, op.kernels))
    return _apply(op, parameters, x, weight, "bwijg,bwjgm->bwigm")


def _apply(op: ir.Connect, parameters: Parameters, x: Tensor, weight: Tensor, equation: str) -> Tensor:
    """Multiply every window by its matrix, kernel by kernel."""
    channels = split(op, x).unflatten(-1, (op.kernels, -1))
    y = torch.einsum(equation, weight, channels).flatten(3)
    return with_bias(op, parameters, join(op, y))
