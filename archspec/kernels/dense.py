"""Static weights that mix channels and differ from position to position; (B, H, W, C) -> (B, H', W', C').

Up to the fully connected layer. The weights are as many as the multiplications, so reading them is the cost.
Legend: g groups of channels, d and c outgoing and incoming channels of a group.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archspec import ir
from archspec.kernels.products import contract, per_window
from archspec.kernels.reduced import read as read_windows
from archspec.kernels.shapes import Parameters, as_map, flat, with_bias
from archspec.kernels.sliding import surrounded, tap_shifts
from archspec.kernels.taps import read
from archspec.kernels.windows import join


def point(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """A channel matrix per position. weight: (C', C/g, N), or (C'/g, C/g, N) when groups share."""
    equation = "gdcn,bngc->bngd"
    y = contract(equation, _by_group(op, parameters), _channels(op, flat(x))).flatten(2)
    return with_bias(op, parameters, as_map(y, op.target))


def in_windows(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """A matrix over positions and channels, per window, for all windows, or for the whole (or a reduced) map."""
    weight = _by_group(op, parameters)
    windows = _channels(op, read_windows(op, parameters, x))
    if op.neighbours == 1 and not isinstance(op.space, ir.Window):
        return with_bias(op, parameters, as_map(_spread(weight, windows), op.target))
    by_window = isinstance(op.space, ir.Window) and op.share_positions == "none"
    y = per_window(op, weight, "gdcwij" if by_window else "gdcij", windows, "jgc", "igd")
    return with_bias(op, parameters, join(op, y.flatten(3)))


def sliding(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """A convolution kernel per position. weight: (C', C/g, N', kh, kw)."""
    space, target = op.space, op.target
    assert isinstance(space, ir.Sliding)
    weight = _by_group(op, parameters).flatten(4).unflatten(3, (target.height, target.width))
    laid_out = _channels(op, surrounded(op, x))
    dtype = torch.promote_types(laid_out.dtype, weight.dtype)
    with torch.autocast(x.device.type, enabled=False):
        y: Tensor = _Taps.apply(laid_out.to(dtype), weight.to(dtype), tap_shifts(space), space.stride)
    return with_bias(op, parameters, y.flatten(3))


def _spread(weight: Tensor, windows: Tensor) -> Tensor:
    """One position read by all, (B, 1, 1, g, c), times (g, d, c, N', 1) -> (B, N', g * d): the way back of a low rank.

    A product for each outgoing channel reads the weights where they lie, 2 to 8 times as fast as in another order.
    """
    one = windows[:, 0, 0].transpose(0, 1).unsqueeze(1).expand(-1, weight.shape[1], -1, -1)
    return torch.bmm(one.flatten(0, 1), weight.squeeze(4).flatten(0, 1)).permute(1, 2, 0)


def _by_group(op: ir.Connect, parameters: Parameters) -> Tensor:
    """The weight as (g or 1, C'/g, C/g, *positions); groups that share it get the same view."""
    weight = parameters["weight"]
    if op.share_channels == "all":
        return weight.expand(op.channel_groups, *weight.shape)
    return weight.unflatten(0, (op.channel_groups, -1))


def _channels(op: ir.Connect, x: Tensor) -> Tensor:
    return x.unflatten(-1, (op.channel_groups, -1))


class _Taps(torch.autograd.Function):
    """x (B, H, W, g, c), weight (g, d, c, H', W', K) -> (B, H', W', g, d), a tap at a time: x is never unfolded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, shifts: tuple[int, ...], stride: ir.Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shifts, ctx.stride = shifts, stride
        y = x.new_zeros((len(x), *weight.shape[3:5], weight.shape[0], weight.shape[1]))
        for tap in range(weight.shape[5]):
            part = _read(x, tap, shifts, stride, weight)
            y += contract("gdchw,bhwgc->bhwgd", weight[..., tap], part)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gx, gweight = torch.zeros_like(x), torch.empty_like(weight)
        for tap in range(weight.shape[5]):
            part, gpart = (_read(each, tap, ctx.shifts, ctx.stride, weight) for each in (x, gx))
            gpart.add_(torch.einsum("gdchw,bhwgd->bhwgc", weight[..., tap], gy))
            gweight[..., tap] = torch.einsum("bhwgd,bhwgc->gdchw", gy, part)
        return gx, gweight, None, None


def _read(x: Tensor, tap: int, shifts: tuple[int, ...], stride: ir.Pair, weight: Tensor) -> Tensor:
    """What a tap reads, as a view: (B, H', W', g, c)."""
    by_rows = x.permute(1, 2, 0, 3, 4).unsqueeze(1)  # (H, 1, W, B, g, c): the order that `read` knows
    part = read(by_rows, tap, shifts, stride, slice(0, weight.shape[3]), weight.shape[4])
    return part.squeeze(1).permute(2, 0, 1, 3, 4)
