"""Weights predicted from the pooled image and shared by all positions; (B, H, W, C) -> (B, H', W', C').

A depth-wise convolution (D-DW), over the map or inside windows, or a channel matrix (dynamic 1x1 convolution).
"""

import torch
from torch import Tensor

from archspec import ir
from archspec.kernels.depthwise import Geometry, depthwise
from archspec.kernels.inside import inside_by_channel
from archspec.kernels.predictor import pooled
from archspec.kernels.products import contract
from archspec.kernels.shapes import Parameters, as_map, channel_bias, flat, position_bias, under_autocast, with_bias
from archspec.kernels.sliding import padded
from archspec.kernels.windows import each_window, given, own_offsets


def sliding(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """A sliding window over the map, a kernel per image."""
    assert isinstance(op.space, ir.Sliding)
    kernels = _by_channel(op, pooled(op, parameters, x, training))
    x, padding = padded(op, x)
    y = depthwise(x, kernels, channel_bias(op, parameters), Geometry(op.space.stride, padding, op.space.dilation))
    return position_bias(op, parameters, y)


def inside_windows(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Every offset inside a window or the whole map: a kernel of 2h-1 by 2w-1 taps per image."""
    x, kernels = under_autocast(x, _by_channel(op, pooled(op, parameters, x, training)))

    def run(windows: Tensor) -> Tensor:
        size = given(op, windows)
        return inside_by_channel(windows, own_offsets(kernels, windows, size), *size, op.neighbours)

    return with_bias(op, parameters, each_window(op, x, run))


def point(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """A matrix over the channels per image, or one for each of their groups."""
    groups, channels = op.channel_groups, flat(x)
    weight = pooled(op, parameters, x, training).unflatten(1, op.channel_shape)
    if groups > 1:
        channels = channels.unflatten(-1, (groups, -1))
    if groups == 1:
        y = torch.bmm(channels, weight.transpose(1, 2))
    elif op.share_channels == "all":
        y = torch.bmm(channels.flatten(1, 2), weight.transpose(1, 2)).unflatten(1, (-1, groups)).flatten(2)
    else:
        y = contract("bgdc,bngc->bngd", weight.unflatten(1, (groups, -1)), channels).flatten(2)
    return with_bias(op, parameters, as_map(y, op.target))


def _by_channel(op: ir.Connect, predicted: Tensor) -> Tensor:
    """(B, kh, kw, G) -> (B, C, kh, kw), a kernel that channels share repeated for each."""
    kernels = predicted.permute(0, 3, 1, 2)
    if op.kernels != op.source.channels:
        kernels = kernels.repeat_interleave(op.source.channels // op.kernels, 1)
    return kernels
