"""A map and a kernel per channel go in, one set for the batch or one per image; the depth-wise convolution comes out.

Legend: (B, H, W, C) a map, (B, H', W', C) its convolution, K taps.

Measured on a CPU (torch 2.15, oneDNN 3.13, 7x7 taps, 56x56x96 to 7x7x768): oneDNN's forward and its gradient of x are
near the speed of memory when maps are channels last, and tens of times slower when they are not, which folding the
batch into groups, the usual way to run a kernel per image, makes them. Its gradient of the weight takes five to fifty
times as long as its forward, and nearly half of that again when there is a bias; summing products tap by tap is
faster. On an accelerator torch's own operators are used, with the batch folded into groups.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula

from archspec import ir
from archspec.kernels.shapes import channels_first, channels_last, under_autocast

# Rows are taken in blocks of about so many elements, to stay in cache.
BLOCK = 1 << 18


def depthwise(
    x: Tensor, kernels: Tensor, bias: Tensor | None, stride: ir.Pair, padding: ir.Pair, dilation: ir.Pair
) -> Tensor:
    """x (B, H, W, C), kernels (B or 1, C, kh, kw), bias (C,) -> (B, H', W', C)."""
    if x.device.type == "cpu":
        x, kernels = under_autocast(x, kernels)
        bias = bias if bias is None else bias.to(x.dtype)
        y: Tensor = _Depthwise.apply(x, kernels, bias, stride, padding, dilation)
        return y
    if len(kernels) == 1:
        weight = kernels.transpose(0, 1)
        y = F.conv2d(channels_first(x), weight, bias, stride, padding, dilation, groups=x.shape[3])
        return channels_last(y)
    folded = channels_first(x).reshape(1, -1, *x.shape[1:3])
    y = F.conv2d(folded, kernels.flatten(0, 1).unsqueeze(1), None, stride, padding, dilation, folded.shape[1])
    y = channels_last(y.unflatten(1, (len(x), -1)).squeeze(0))
    return y if bias is None else y + bias


class _Depthwise(torch.autograd.Function):
    """On a CPU: image by image where each has a kernel of its own."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        kernels: Tensor,
        bias: Tensor | None,
        stride: ir.Pair,
        padding: ir.Pair,
        dilation: ir.Pair,
    ) -> Tensor:
        ctx.save_for_backward(x, kernels)
        ctx.geometry = stride, padding, dilation
        parts = [
            F.conv2d(image, kernel.unsqueeze(1), bias, stride, padding, dilation, x.shape[3])
            for image, kernel in zip(_images(x, kernels), kernels, strict=True)
        ]
        return channels_last(parts[0] if len(parts) == 1 else torch.cat(parts))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, kernels = ctx.saved_tensors
        stride, padding, dilation = ctx.geometry
        gy = gy.contiguous()
        gx = gkernels = gbias = None
        if ctx.needs_input_grad[0]:
            rest = (None, stride, padding, dilation, False, (0, 0), x.shape[3], (True, False, False))
            parts = [
                torch.ops.aten.convolution_backward(gradient, image, kernel.unsqueeze(1), *rest)[0]
                for gradient, image, kernel in zip(_images(gy, kernels), _images(x, kernels), kernels, strict=True)
            ]
            gx = channels_last(parts[0] if len(parts) == 1 else torch.cat(parts))
        if ctx.needs_input_grad[1]:
            taps = depthwise_weight_gradient(x, gy, kernels.shape, stride, padding, dilation)
            gkernels = taps.permute(1, 2, 0).unflatten(2, kernels.shape[2:])
        if ctx.needs_input_grad[2]:
            gbias = gy.sum((0, 1, 2))
        return gx, gkernels, gbias, None, None, None


def _images(x: Tensor, kernels: Tensor) -> tuple[Tensor, ...]:
    """The batch as one part where it has one kernel, else image by image: each (1 or B, C, H, W), channels last."""
    return channels_first(x).split(len(x) if len(kernels) == 1 else 1)


@torch.library.custom_op("archspec::depthwise_weight_gradient", mutates_args=())
def depthwise_weight_gradient(
    x: Tensor, gy: Tensor, kernels: list[int], stride: list[int], padding: list[int], dilation: list[int]
) -> Tensor:
    """Gradient of the weight of a depth-wise convolution, (K, B or 1, C), for kernels (B or 1, C, kh, kw).

    One operator, so that torch.compile does not unroll its loops.
    """
    kind = x.dtype
    if kind in (torch.bfloat16, torch.float16):
        x, gy = x.float(), gy.float()
    batch, height, width, channels = gy.shape
    below, beside = (
        max(0, step * (wanted - 1) + hole * (size - 1) + 1 - extent - before)
        for step, wanted, hole, size, extent, before in zip(
            stride, gy.shape[1:3], dilation, kernels[2:], x.shape[1:3], padding, strict=True
        )
    )
    x = F.pad(x, (0, 0, padding[1], beside, padding[0], below))
    gradient = x.new_zeros((kernels[2] * kernels[3], kernels[0], channels))
    rows = max(1, BLOCK // (batch * width * channels))
    for first in range(0, height, rows):
        g = gy[:, first : first + rows]
        products = torch.empty_like(g)
        # The batch is summed over with the positions, unless each image has a kernel.
        flat = products.view(kernels[0], -1, channels)
        for tap in range(len(gradient)):
            top = first * stride[0] + tap // kernels[3] * dilation[0]
            left = tap % kernels[3] * dilation[1]
            down = slice(top, top + stride[0] * (g.shape[1] - 1) + 1, stride[0])
            across = slice(left, left + stride[1] * (width - 1) + 1, stride[1])
            torch.mul(g, x[:, down, across], out=products)
            gradient[tap] += flat.sum(1)
    return gradient.to(kind)


@depthwise_weight_gradient.register_fake
def _(x: Tensor, gy: Tensor, kernels: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> Tensor:
    return x.new_empty((kernels[2] * kernels[3], kernels[0], x.shape[3]))


@register_flop_formula(torch.ops.archspec.depthwise_weight_gradient)
def _(x: Any, gy: Any, kernels: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * torch.Size(gy).numel() * int(kernels[2] * kernels[3])
