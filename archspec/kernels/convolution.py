"""Static weights shared over offsets, as torch convolutions; (B, H, W, C) -> (B, H', W', C').

Inside a window, or over the whole map, sharing over offsets is a convolution with 2h-1 by 2w-1 taps, of which each
position uses the h by w that stay inside.
"""

import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.depthwise import Geometry, depthwise
from archspec.kernels.shapes import Parameters, channel_bias, channels_first, channels_last, position_bias
from archspec.kernels.sliding import padded
from archspec.kernels.windows import join, split


def sliding(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Convolution and grouped convolution."""
    assert isinstance(op.space, ir.Sliding)
    x, padding = padded(op, x)
    y = F.conv2d(
        channels_first(x.contiguous()),
        torch_weight(op, parameters["weight"]),
        channel_bias(op, parameters),
        stride=op.space.stride,
        padding=padding,
        dilation=op.space.dilation,
        groups=op.channel_groups,
    )
    return position_bias(op, parameters, channels_last(y))


def sliding_by_channel(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Depth-wise convolution."""
    assert isinstance(op.space, ir.Sliding)
    kernels = torch_weight(op, parameters["weight"]).transpose(0, 1)
    x, padding = padded(op, x)
    y = depthwise(x, kernels, channel_bias(op, parameters), Geometry(op.space.stride, padding, op.space.dilation))
    return position_bias(op, parameters, y)


def inside_windows(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Full space or windows, shared over offsets: each window is a small map of its own."""
    high, wide = op.extent
    windows = split(op, x)
    maps = windows.flatten(0, 1).unflatten(1, (high, wide))
    y = F.conv2d(
        channels_first(maps),
        torch_weight(op, parameters["weight"]),
        channel_bias(op, parameters),
        padding=(high - 1, wide - 1),
        groups=op.channel_groups,
    )
    y = channels_last(y).flatten(1, 2).unflatten(0, (len(x), -1))
    return position_bias(op, parameters, join(op, y))


def torch_weight(op: ir.Connect, weight: Tensor) -> Tensor:
    """The weight as torch wants it, (C', C/g, kh, kw), with kernels that channels share repeated for each."""
    if op.channels == "separate":
        kernels = weight.unsqueeze(0) if op.share_channels == "all" else weight
        return kernels.repeat_interleave(op.target.channels // len(kernels), 0).unsqueeze(1)
    if op.share_channels == "all":
        return weight.repeat(op.channel_groups, 1, 1, 1)
    return weight
