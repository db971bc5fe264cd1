"""The map of each window to itself and a feature map go in; the sum over windows of what they give comes out (VOLO).

    y[s * w - p + i, c] = sum over windows w and slots j of a[w, g, i, j] * v[s * w - p + j, c],   c of head g

Legend: (B, H, W, C) v; (B, h, w, G, K, K) a: h by w windows of K = kh * kw slots, s apart, that begin p = k // 2 before
the map; D = C / G channels of a head. Windows are cut in blocks of rows, so v is never unfolded as a whole, forward or
backward: a block is multiplied while it is in cache, and cut again for the gradients.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from archspec.kernels.taps import BLOCK, wide_enough

Pair = Sequence[int]


@torch.library.custom_op("archspec::outlook_sum", mutates_args=())
def outlook_sum(a: Tensor, v: Tensor, size: Sequence[int], stride: Sequence[int]) -> Tensor:
    """The sum; zeros stand beyond the border."""
    whole = _surrounded(v, a, size, stride)
    y = torch.zeros_like(wide_enough(whole))
    for rows in _blocks(a, v):
        weights = a[:, rows].flatten(0, 3)
        _paste(y, torch.bmm(weights, _cut(whole, rows, a, size, stride)), rows, a, size, stride)
    return _inside(y, v, size).to(v.dtype)


@torch.library.custom_op("archspec::outlook_sum_backward", mutates_args=())
def outlook_sum_backward(
    gy: Tensor, a: Tensor, v: Tensor, size: Sequence[int], stride: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Gradients of a and of v."""
    whole, gwhole = _surrounded(v, a, size, stride), _surrounded(gy.to(v.dtype), a, size, stride)
    ga, gv = torch.empty_like(a), torch.zeros_like(wide_enough(whole))
    for rows in _blocks(a, v):
        weights, g = a[:, rows].flatten(0, 3), _cut(gwhole, rows, a, size, stride)
        ga[:, rows] = torch.bmm(g, _cut(whole, rows, a, size, stride).transpose(1, 2)).view(a[:, rows].shape)
        _paste(gv, torch.bmm(weights.transpose(1, 2), g), rows, a, size, stride)
    return ga, _inside(gv, v, size).to(v.dtype)


def _blocks(a: Tensor, v: Tensor) -> Iterator[slice]:
    """Rows of windows, in blocks of about BLOCK numbers once cut."""
    row = len(a) * a.shape[2] * a.shape[5] * v.shape[3]
    step = max(1, BLOCK // row)
    for first in range(0, a.shape[1], step):
        yield slice(first, min(first + step, a.shape[1]))


def _surrounded(v: Tensor, a: Tensor, size: Pair, stride: Pair) -> Tensor:
    """v with the zeros around it that its windows read."""
    pads = [0, 0]
    for axis in (1, 0):
        before, extent = size[axis] // 2, v.shape[axis + 1]
        pads += [before, max(0, stride[axis] * (a.shape[axis + 1] - 1) + size[axis] - before - extent)]
    return F.pad(v, pads)


def _inside(y: Tensor, v: Tensor, size: Pair) -> Tensor:
    top, left = size[0] // 2, size[1] // 2
    return y[:, top : top + v.shape[1], left : left + v.shape[2]].contiguous()


def _cut(whole: Tensor, rows: slice, a: Tensor, size: Pair, stride: Pair) -> Tensor:
    """Rows of windows of a surrounded map: (B * rows * w * G, K, D)."""
    windows = whole[:, rows.start * stride[0] :].unfold(1, size[0], stride[0])[:, : rows.stop - rows.start]
    windows = windows.unfold(2, size[1], stride[1])[:, :, : a.shape[2]].unflatten(3, (a.shape[3], -1))
    # (B, rows, w, G, D, kh, kw) -> (B, rows, w, G, kh, kw, D)
    return windows.permute(0, 1, 2, 3, 5, 6, 4).flatten(4, 5).flatten(0, 3)


def _paste(y: Tensor, windows: Tensor, rows: slice, a: Tensor, size: Pair, stride: Pair) -> None:
    """Add what rows of windows give, laid out as in `_cut`, to a surrounded map."""
    down, across, count = stride[0], stride[1], rows.stop - rows.start
    pieces = windows.view(len(a), count, *a.shape[2:4], *size, -1)
    for i in range(size[0]):
        top = rows.start * down + i
        for j in range(size[1]):
            there = y[:, top : top + (count - 1) * down + 1 : down, j : j + (a.shape[2] - 1) * across + 1 : across]
            there.unflatten(3, (a.shape[3], -1)).add_(pieces[:, :, :, :, i, j])


@outlook_sum.register_fake
def _(a: Tensor, v: Tensor, size: Pair, stride: Pair) -> Tensor:
    return v.new_empty(v.shape)


@outlook_sum_backward.register_fake
def _(gy: Tensor, a: Tensor, v: Tensor, size: Pair, stride: Pair) -> tuple[Tensor, Tensor]:
    return a.new_empty(a.shape), v.new_empty(v.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    a, v, ctx.size, ctx.stride = inputs
    ctx.save_for_backward(a, v)


def _gradients(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    return *outlook_sum_backward(gy, *ctx.saved_tensors, ctx.size, ctx.stride), None, None


outlook_sum.register_autograd(_gradients, setup_context=_keep)


def _flops(a: Sequence[int], v: Sequence[int]) -> int:
    return 2 * torch.Size(a).numel() * (v[3] // a[3])


@register_flop_formula(torch.ops.archspec.outlook_sum)
def _(a: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return _flops(a, v)


@register_flop_formula(torch.ops.archspec.outlook_sum_backward)
def _(gy: Any, a: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * _flops(a, v)
