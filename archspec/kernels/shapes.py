"""A feature map goes in; the same numbers come out as (B, N, C), as NCHW or as a map again, with the bias added."""

from collections.abc import Mapping

import torch
from torch import Tensor

from archspec import ir

Parameters = Mapping[str, Tensor]


def flat(x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, N, C); the class token, if there is one, is position 0."""
    return x.flatten(1, 2)


def as_map(y: Tensor, target: ir.Feature) -> Tensor:
    """(B, N', C') -> (B, H', W', C'), or (B, 1, N', C') with a class token."""
    if target.class_tokens:
        return y.unflatten(1, (1, target.positions))
    return y.unflatten(1, (target.height, target.width))


def channels_first(x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, C, H, W), a view: what torch calls the channels_last memory format."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H, W, C), a view where x is in the channels_last memory format, and a copy otherwise."""
    return x.permute(0, 2, 3, 1).contiguous()


def with_bias(op: ir.Connect, parameters: Parameters, y: Tensor) -> Tensor:
    """Add the bias of the layer, per channel or per position, to its outgoing map."""
    if op.bias == "none":
        return y
    bias = parameters["bias"]
    if op.bias == "positions":
        bias = bias.view(y.shape[1], y.shape[2], 1)
    return y + bias


def channel_bias(op: ir.Connect, parameters: Parameters) -> Tensor | None:
    """The bias per channel, for functions of torch that add one themselves."""
    return parameters["bias"] if op.bias == "channels" else None


def position_bias(op: ir.Connect, parameters: Parameters, y: Tensor) -> Tensor:
    """Add the bias per position, where the bias per channel has been added already."""
    return with_bias(op, parameters, y) if op.bias == "positions" else y


def across_channels(op: ir.Connect, weight: Tensor) -> Tensor:
    """Static weights of separate channels, normalised if asked, as (G, ...): G is 1 when all channels share."""
    weight = weight.unsqueeze(0) if op.share_channels == "all" else weight
    assert isinstance(op.weights, ir.Static)
    return over_neighbours(op, weight, -1) if op.weights.normalise else weight


def over_neighbours(op: ir.Connect, weight: Tensor, last: int) -> Tensor:
    """Softmax over the K neighbours of a position, which are the axis `last` (from the end), or for a kernel two."""
    if not isinstance(op.space, ir.Sliding):
        return weight.softmax(last)
    return weight.flatten(last - 1, last).softmax(last).view(weight.shape)


def under_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the type that autocast asks for, where it is on: for functions that autocast does not know."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors)


def wide_enough(x: Tensor) -> Tensor:
    """Sums of many half-precision terms are made in float32."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
