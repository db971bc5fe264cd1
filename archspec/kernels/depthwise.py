"""A map and a kernel per channel go in, one set for the batch or one per image; the depth-wise convolution comes out.

Legend: (B, H, W, C) a map, (B, H', W', C) its convolution.

Measured on a CPU (torch 2.15, oneDNN 3.13, 7x7 taps, 56x56x96 to 7x7x768): oneDNN's forward and its gradient of x are
near the speed of memory when maps are channels last, and tens of times slower when they are not, which folding the
batch into groups, the usual way to run a kernel per image, makes them. Its gradient of the weight takes a quarter
longer with a bias, and ten times as long when that gradient takes more than 128 KiB: both are avoided here.
On an accelerator torch's own operators are used, with the batch folded into groups.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from archspec import ir
from archspec.kernels.shapes import channels_first, channels_last, under_autocast

# Numbers in the largest gradient of a weight that is computed at once: 128 KiB in float32.
LARGEST_GRADIENT = 1 << 15


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
            triples = zip(_images(x, kernels), _images(gy, kernels), kernels, strict=True)
            gkernels = torch.stack([_weight_gradient(*triple, ctx.geometry) for triple in triples])
        if ctx.needs_input_grad[2]:
            gbias = gy.sum((0, 1, 2))
        return gx, gkernels, gbias, None, None, None


def _images(x: Tensor, kernels: Tensor) -> tuple[Tensor, ...]:
    """The batch as one part where it has one kernel, else image by image: each (1 or B, C, H, W), channels last."""
    return channels_first(x).split(len(x) if len(kernels) == 1 else 1)


def _weight_gradient(image: Tensor, gradient: Tensor, kernel: Tensor, geometry: tuple[ir.Pair, ...]) -> Tensor:
    """image (B, C, H, W), gradient (B, C, H', W'), kernel (C, kh, kw) -> (C, kh, kw), some channels at a time."""
    channels = image.shape[1]
    parts = -(-kernel.numel() // LARGEST_GRADIENT)
    width = -(-channels // parts // 16) * 16
    gradients = [
        torch.ops.aten.convolution_backward(
            some_gradient.contiguous(memory_format=torch.channels_last),
            some.contiguous(memory_format=torch.channels_last),
            weight.unsqueeze(1),
            None,
            *geometry,
            False,
            (0, 0),
            some.shape[1],
            (False, True, False),
        )[1].squeeze(1)
        for some, some_gradient, weight in zip(
            image.split(width, 1), gradient.split(width, 1), kernel.split(width), strict=True
        )
    ]
    return gradients[0] if len(gradients) == 1 else torch.cat(gradients)
