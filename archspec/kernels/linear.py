"""A 1x1 convolution: space point, channels full or in groups, offsets, static; (B, H, W, C) -> (B, H, W, C')."""

import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.products import contract
from archspec.kernels.shapes import Parameters, channel_bias, position_bias, with_bias


def linear(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """One matrix over the channels of each position. weight: (C', C)."""
    y = F.linear(x, parameters["weight"], channel_bias(op, parameters))
    return position_bias(op, parameters, y)


def linear_in_groups(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """One matrix per group of channels. weight: (C', C/g), or (C'/g, C/g) when the groups share it."""
    groups = op.channel_groups
    x = x.unflatten(-1, (groups, -1))
    weight = parameters["weight"]
    if op.share_channels == "all":
        return with_bias(op, parameters, F.linear(x, weight).flatten(-2))
    y = contract("gdc,bhwgc->bhwgd", weight.unflatten(0, (groups, -1)), x)
    return with_bias(op, parameters, y.flatten(-2))
