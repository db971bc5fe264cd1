"""Dot products and a small kernel per head go in; their circular convolution over two axes comes out (Eq. 23).

    y[t, u] = sum over i, j of weight[i, j] * x[(t + i - k // 2) mod h, (u + j - k // 2) mod w]

Legend: (..., h, w, ...) x, its two axes at `axis` and after it; k size of the kernel; the weight has the shape
(k, k, *shape that x broadcasts to). A shifted product is added at a time: no unfolded copy exists, forward or backward.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from archspec.kernels.taps import wide_enough


@torch.library.custom_op("archspec::circular", mutates_args=())
def circular(x: Tensor, weight: Tensor, axis: int) -> Tensor:
    """The convolution; k odd."""
    y = wide_enough(x).new_zeros(x.shape)
    for shifted, (i, j) in _shifted(wide_enough(x), len(weight), axis):
        y.addcmul_(shifted, wide_enough(weight[i, j]))
    return y.to(x.dtype)


@torch.library.custom_op("archspec::circular_backward", mutates_args=())
def circular_backward(gy: Tensor, x: Tensor, weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Gradients of x, the convolution with the kernel turned around, and of the weight."""
    gy, wide = wide_enough(gy).contiguous(), wide_enough(x)
    gx, gweight = torch.zeros_like(gy), torch.empty_like(weight, dtype=gy.dtype)
    for shifted, (i, j) in _shifted(gy, len(weight), axis):
        gx.addcmul_(shifted, wide_enough(weight[-1 - i, -1 - j]))
    for shifted, (i, j) in _shifted(wide, len(weight), axis):
        gweight[i, j] = (gy * shifted).sum_to_size(weight.shape[2:])
    return gx.to(x.dtype), gweight.to(weight.dtype)


def _shifted(x: Tensor, size: int, axis: int) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """x moved by each tap of the kernel: views of x with its ends repeated around it."""
    shape = x.shape
    for along in (axis, axis + 1):
        index = torch.arange(-(size // 2), shape[along] + size // 2, device=x.device) % shape[along]
        x = x.index_select(along, index)
    for i in range(size):
        for j in range(size):
            yield x.narrow(axis, i, shape[axis]).narrow(axis + 1, j, shape[axis + 1]), (i, j)


@circular.register_fake
def _(x: Tensor, weight: Tensor, axis: int) -> Tensor:
    return x.new_empty(x.shape)


@circular_backward.register_fake
def _(gy: Tensor, x: Tensor, weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, ctx.axis = inputs
    ctx.save_for_backward(x, weight)


def _gradients(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    return *circular_backward(gy, *ctx.saved_tensors, ctx.axis), None


circular.register_autograd(_gradients, setup_context=_keep)


def _flops(x: Sequence[int], weight: Sequence[int]) -> int:
    return 2 * torch.Size(x).numel() * weight[0] * weight[1]


@register_flop_formula(torch.ops.archspec.circular)
def _(x: Any, weight: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return _flops(x, weight)


@register_flop_formula(torch.ops.archspec.circular_backward)
def _(gy: Any, x: Any, weight: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * _flops(x, weight)
