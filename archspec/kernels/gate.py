"""Space point with separate channels: each channel times a weight; (B, H, W, C) -> (B, H, W, C).

The weight is a parameter, predicted from the pooled image (squeeze-excite), or predicted from the position itself.
"""

from torch import Tensor

from archspec import ir
from archspec.kernels.predictor import at_positions, pooled
from archspec.kernels.shapes import Parameters, across_channels, as_map, flat, with_bias


def static(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """weight: (G,) or (G, N), without the axis G when all channels share."""
    weight = across_channels(op, parameters["weight"])
    if op.share_positions == "none":
        weight = weight.T
    return _times(op, parameters, x, weight)


def from_pooled(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """One weight per image and kernel."""
    weight = pooled(op, parameters, x, training)
    return _times(op, parameters, x, weight.unflatten(0, (-1, 1)) if weight.ndim == 2 else weight)


def from_position(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """One weight per image, position and kernel."""
    return _times(op, parameters, x, at_positions(op, parameters, flat(x), training))


def _times(op: ir.Connect, parameters: Parameters, x: Tensor, weight: Tensor) -> Tensor:
    """weight: (G,), (N or 1, G) or (B, N or 1, G)."""
    y = flat(x).unflatten(-1, (op.kernels, -1)) * weight.unsqueeze(-1)
    return with_bias(op, parameters, as_map(y.flatten(2), op.target))
