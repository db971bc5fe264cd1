"""Static weights shared over offsets, as torch convolutions; (B, H, W, C) -> (B, H', W', C').

Inside a window, or over the whole map, sharing over offsets is a convolution with 2h-1 by 2w-1 taps, of which each
position uses the h by w that stay inside.
"""

import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.depthwise import Geometry, depthwise
from archspec.kernels.inside import inside_by_channel, inside_mixing
from archspec.kernels.shapes import (
    Parameters,
    across_channels,
    channel_bias,
    channels_first,
    channels_last,
    position_bias,
    under_autocast,
    with_bias,
)
from archspec.kernels.sliding import padded
from archspec.kernels.windows import each_window, given, own_offsets


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
    """Full space or windows, shared over offsets: what each window reads is a small map of its own."""
    x, weight = under_autocast(x, torch_weight(op, parameters["weight"]))
    reads = op.neighbours

    def run(windows: Tensor) -> Tensor:
        high, wide = given(op, windows)
        kernels = own_offsets(weight, windows, (high, wide))
        if op.channels == "separate":
            return inside_by_channel(windows, kernels.transpose(0, 1), high, wide, reads)
        y: Tensor = inside_mixing(windows.flatten(0, 1), kernels, high, wide, op.channel_groups, reads)
        return y.unflatten(0, windows.shape[:2])

    return with_bias(op, parameters, each_window(op, x, run))


def torch_weight(op: ir.Connect, weight: Tensor) -> Tensor:
    """The weight as torch wants it, (C', C/g, kh, kw), with kernels that channels share repeated for each."""
    if op.channels == "separate":
        kernels = across_channels(op, weight)
        return kernels.repeat_interleave(op.target.channels // len(kernels), 0).unsqueeze(1)
    return weight.repeat(op.channel_groups, 1, 1, 1) if op.share_channels == "all" else weight
