"""Depth-wise convolution whose kernel is predicted from the pooled image (D-DW); (B, H, W, C) -> (B, H', W', C)."""

import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.depthwise import Geometry, depthwise
from archspec.kernels.predictor import pooled
from archspec.kernels.shapes import Parameters, channel_bias, position_bias
from archspec.kernels.sliding import padded
from archspec.kernels.windows import join, split


def sliding(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """A sliding window over the map, a kernel per image."""
    assert isinstance(op.space, ir.Sliding)
    kernels = _by_channel(op, pooled(op, parameters, x, training))
    x, padding = padded(op, x)
    y = depthwise(x, kernels, channel_bias(op, parameters), Geometry(op.space.stride, padding, op.space.dilation))
    return position_bias(op, parameters, y)


def inside_windows(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Every offset inside a window or the whole map: a kernel of 2h-1 by 2w-1 taps per image."""
    high, wide = op.extent
    kernels = _by_channel(op, pooled(op, parameters, x, training))
    # Windows stand one above the other with h-1 rows of zeros between, so that no kernel reaches from one into another.
    windows = F.pad(split(op, x).unflatten(2, (high, wide)), (0, 0, 0, 0, 0, high - 1))
    column = windows.flatten(1, 2)
    y = depthwise(column, kernels, channel_bias(op, parameters), Geometry((1, 1), (high - 1, wide - 1), (1, 1)))
    y = y.unflatten(1, (-1, 2 * high - 1))[:, :, :high]
    return position_bias(op, parameters, join(op, y.flatten(2, 3)))


def _by_channel(op: ir.Connect, predicted: Tensor) -> Tensor:
    """(B, kh, kw, G) -> (B, C, kh, kw), a kernel that channels share repeated for each."""
    kernels = predicted.permute(0, 3, 1, 2)
    if op.kernels != op.source.channels:
        kernels = kernels.repeat_interleave(op.source.channels // op.kernels, 1)
    return kernels
