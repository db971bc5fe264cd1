"""A map and a kernel per channel go in, one set for the batch or one per image; the depth-wise convolution comes out.

Legend: (B, H, W, C) a map, (B, H', W', C) its convolution, (kh, kw) the size of a kernel.

On a CPU (torch 2.15, oneDNN 3.13; 7x7 taps, maps of 56x56x96 to 7x7x768) a depth-wise convolution runs near the speed
of memory where its map is channels last, and tens of times slower where it is not. So a kernel per image is run with
the images folded into the channels, as is usual, but side by side in each position: (1, H, W, B * C).

oneDNN's gradient of the weight takes 5 to 50 times as long as its forward. But that gradient is itself a depth-wise
convolution, of x by the gradient of y, with stride and dilation exchanged:

    gw[c, i, j] = sum over b, h, w of x[b, stride * h + dilation * i, stride * w + dilation * j, c] * gy[b, h, w, c]

and as such, with an image's gradient as a kernel of H' by W' taps, it takes about as long as the forward pass.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from archspec import ir
from archspec.kernels.shapes import channels_first, channels_last, under_autocast


class Geometry(NamedTuple):
    """How a kernel moves over a map, as in F.conv2d: the padding is the same on both sides."""

    stride: ir.Pair
    padding: ir.Pair
    dilation: ir.Pair


def depthwise(x: Tensor, kernels: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """x (B, H, W, C), kernels (B or 1, C, kh, kw), bias (C,) -> (B, H', W', C)."""
    if x.device.type == "cpu":
        x, kernels = under_autocast(x, kernels)
        bias = bias if bias is None else bias.to(x.dtype)
        y: Tensor = _Depthwise.apply(x, kernels, bias, geometry)
        return y
    return convolve(x, kernels, bias, geometry)


def convolve(x: Tensor, kernels: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """The same by F.conv2d, with its gradients."""
    channels = x.shape[3] * len(kernels)
    if bias is not None:
        bias = bias.expand(len(kernels), -1).flatten()
    folded = channels_first(_fold(x, len(kernels)))
    y = F.conv2d(folded, kernels.flatten(0, 1).unsqueeze(1), bias, *geometry, channels)
    return _unfold(channels_last(y), len(x))


def _fold(x: Tensor, kernels: int) -> Tensor:
    """(B, H, W, C) -> (1, H, W, B * C) where each image has a kernel of its own; as it is for one kernel."""
    return x if kernels == 1 else x.permute(1, 2, 0, 3).flatten(2).unsqueeze(0)


def _unfold(y: Tensor, images: int) -> Tensor:
    """The inverse of `_fold`."""
    return y if len(y) == images else y.squeeze(0).unflatten(2, (images, -1)).permute(2, 0, 1, 3).contiguous()


class _Depthwise(torch.autograd.Function):
    """The same, with the gradient of the weight as a convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, kernels)
        ctx.geometry = geometry
        return convolve(x, kernels, bias, geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, kernels = ctx.saved_tensors
        gy = gy.contiguous()
        gx = _map_gradient(x, kernels, gy, ctx.geometry) if ctx.needs_input_grad[0] else None
        gkernels = _kernel_gradient(x, kernels, gy, ctx.geometry) if ctx.needs_input_grad[1] else None
        gbias = gy.sum((0, 1, 2)) if ctx.needs_input_grad[2] else None
        return gx, gkernels, gbias, None


def gradients(x: Tensor, kernels: Tensor, gy: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Gradients of the map and of the kernels."""
    if x.device.type == "cpu":
        return _map_gradient(x, kernels, gy, geometry), _kernel_gradient(x, kernels, gy, geometry)
    folded, gradient = (channels_first(_fold(each, len(kernels))) for each in (x, gy))
    weight = kernels.flatten(0, 1).unsqueeze(1)
    moves = (*geometry, False, (0, 0), len(weight), (True, True, False))
    gx, gweight, _ = torch.ops.aten.convolution_backward(gradient, folded, weight, None, *moves)
    return _unfold(channels_last(gx), len(x)), gweight.view(kernels.shape)


def _map_gradient(x: Tensor, kernels: Tensor, gy: Tensor, geometry: Geometry) -> Tensor:
    folded, gradient = (channels_first(_fold(each, len(kernels))) for each in (x, gy))
    weight = kernels.flatten(0, 1).unsqueeze(1)
    moves = (*geometry, False, (0, 0), len(weight))
    gx = torch.ops.aten.convolution_backward(gradient, folded, weight, None, *moves, (True, False, False))[0]
    return _unfold(channels_last(gx), len(x))


def _kernel_gradient(x: Tensor, kernels: Tensor, gy: Tensor, geometry: Geometry) -> Tensor:
    images, channels = len(x), x.shape[3]
    folded = channels_first(_fold(x, images))
    weight = channels_first(gy).reshape(images * channels, 1, *gy.shape[1:3])
    exchanged = (geometry.dilation, geometry.padding, geometry.stride)
    gradient = F.conv2d(folded, weight, None, *exchanged, images * channels)
    # A stride may leave rows at the end of x that no tap reads; they would come out as further taps.
    gradient = gradient[0, :, : kernels.shape[2], : kernels.shape[3]].unflatten(0, (images, channels))
    return gradient.sum(0, keepdim=True) if len(kernels) == 1 else gradient
