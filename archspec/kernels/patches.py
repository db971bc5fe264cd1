"""Patch embedding: a sliding window whose stride is its size, as one matrix; (B, H, W, C) -> (B, H/k, W/k, C')."""

import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.shapes import Parameters, channel_bias, position_bias


def patches(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Windows that do not overlap are cut out once, without repeating a value. weight: (C', C, kh, kw)."""
    assert isinstance(op.space, ir.Sliding)
    (high, wide), target = op.space.size, op.target
    # What the last windows reach beyond the map is zero; what no window reaches is cut off (negative padding).
    below, right = target.height * high - x.shape[1], target.width * wide - x.shape[2]
    if below or right:
        x = F.pad(x, (0, 0, 0, right, 0, below))
    x = x.unflatten(2, (-1, wide)).unflatten(1, (-1, high))
    x = x.permute(0, 1, 3, 5, 2, 4).flatten(3)
    y = F.linear(x, parameters["weight"].flatten(1), channel_bias(op, parameters))
    return position_bias(op, parameters, y)
