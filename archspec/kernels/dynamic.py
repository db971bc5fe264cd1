"""Depth-wise convolution whose kernel is predicted from the pooled image (D-DW); (B, H, W, C) -> (B, H', W', C)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.predictor import pooled
from archspec.kernels.shapes import Parameters, channels_first, channels_last, with_bias
from archspec.kernels.sliding import padded
from archspec.kernels.windows import join, split


def sliding(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """A sliding window over the map, a kernel per image."""
    assert isinstance(op.space, ir.Sliding)
    kernels = _torch_kernels(op, pooled(op, parameters, x, training))
    x, padding = padded(op, x)
    y = _convolve(x.unsqueeze(1), kernels, op.space.stride, padding, op.space.dilation)
    return with_bias(op, parameters, y.squeeze(1))


def inside_windows(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Every offset inside a window or the whole map: a kernel of 2h-1 by 2w-1 taps per image."""
    high, wide = op.extent
    kernels = _torch_kernels(op, pooled(op, parameters, x, training))
    maps = split(op, x).unflatten(2, (high, wide))
    y = _convolve(maps, kernels, (1, 1), (high - 1, wide - 1), (1, 1))
    return with_bias(op, parameters, join(op, y.flatten(2, 3)))


def _torch_kernels(op: ir.Connect, predicted: Tensor) -> Tensor:
    """(B, kh, kw, G) -> (B, C, 1, kh, kw), a kernel that channels share repeated for each."""
    kernels = predicted.permute(0, 3, 1, 2)
    if op.kernels != op.source.channels:
        kernels = kernels.repeat_interleave(op.source.channels // op.kernels, 1)
    return kernels.unsqueeze(2)


def _convolve(maps: Tensor, kernels: Tensor, stride: ir.Pair, padding: ir.Pair, dilation: ir.Pair) -> Tensor:
    """One depth-wise convolution per image: (B, maps, H, W, C) -> (B, maps, H', W', C).

    On a CPU, image by image: with the batch folded into the channels, as grouped convolutions of dynamic kernels are
    commonly written, the map is no longer channels last and the convolution is tens of times slower. On an
    accelerator that one call is the fast way.
    """
    images, channels = len(maps), maps.shape[4]
    if maps.device.type == "cpu":
        each = [
            F.conv2d(channels_first(image), kernel, None, stride, padding, dilation, channels)
            for image, kernel in zip(maps, kernels, strict=True)
        ]
        return torch.stack([channels_last(y) for y in each])
    folded = maps.permute(1, 0, 4, 2, 3).flatten(1, 2)
    y = F.conv2d(folded, kernels.flatten(0, 1), None, stride, padding, dilation, images * channels)
    return y.unflatten(1, (images, channels)).permute(1, 0, 3, 4, 2).contiguous()
