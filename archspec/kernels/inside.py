"""Windows and a kernel over the offsets inside them go in; each position's sum over its window comes out.

Legend: T by U positions that a window reads, (h, w) positions that it gives; (Th, Tw) = (T + h - 1, U + w - 1) offsets;
L windows of the whole batch, or of an image.

    y[l, i, j] = sum over t, u of kernel[t - i + h - 1, u - j + w - 1] * x[l, t, u]

It is a convolution with h-1 and w-1 rows and columns of zeros around, of whose taps a position uses the T by U that
stay inside. oneDNN skips the zeros, so nothing is gained by laying the kernel out as a matrix (measured: 7x7x192 to
14x14x384). A flop counter would count them, so these are operators of our own, which it counts by our formulas:
each position as often as `reads` says (a piece of a window that a shift wraps around counts as all of it).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from archspec.kernels.depthwise import Geometry, convolve, gradients
from archspec.kernels.shapes import channels_first, channels_last, wide_enough

# ------------------------------------------------------------------ a kernel per channel


@torch.library.custom_op("archspec::inside_by_channel", mutates_args=())
def inside_by_channel(x: Tensor, kernels: Tensor, high: int, wide: int, reads: int) -> Tensor:
    """x (B, L, T, U, C), kernels (B or 1, C, Th, Tw), one set per image or for all -> (B, L, h, w, C)."""
    return _taken(convolve(_column(x, kernels, high), kernels, None, _geometry(high, wide)), x, kernels, high)


@torch.library.custom_op("archspec::inside_by_channel_backward", mutates_args=())
def inside_by_channel_backward(
    gy: Tensor, x: Tensor, kernels: Tensor, high: int, wide: int, reads: int
) -> tuple[Tensor, Tensor]:
    """Gradients of x and the kernels."""
    laid_out = _column(x, kernels, high)
    if len(kernels) == 1:
        upstream = gy.flatten(0, 1)
    else:
        upstream = F.pad(gy, (0, 0, 0, 0, 0, x.shape[2] - 1)).flatten(1, 2)
        upstream = upstream[:, : laid_out.shape[1] + high - x.shape[2]]
    gx, gkernels = gradients(laid_out, kernels, upstream.contiguous(), _geometry(high, wide))
    gx = gx.view(x.shape) if len(kernels) == 1 else gx.unflatten(1, (x.shape[1], -1))[:, :, : x.shape[2]].contiguous()
    return gx, gkernels


def _column(x: Tensor, kernels: Tensor, high: int) -> Tensor:
    """The windows as maps; with a kernel per image one above the other, so that an image is one map.

    h-1 rows of zeros stand between, so that no kernel reaches from one into another.
    """
    if len(kernels) == 1:
        return x.flatten(0, 1)
    return F.pad(x, (0, 0, 0, 0, 0, high - 1)).flatten(1, 2)


def _taken(y: Tensor, x: Tensor, kernels: Tensor, high: int) -> Tensor:
    """The windows of a convolved column."""
    tall = x.shape[2]
    if len(kernels) == 1:
        return y.unflatten(0, x.shape[:2])
    y = F.pad(y, (0, 0, 0, 0, 0, tall - high)) if tall > high else y
    return y.unflatten(1, (-1, tall + high - 1))[:, :, :high].contiguous()


def _geometry(high: int, wide: int) -> Geometry:
    return Geometry((1, 1), (high - 1, wide - 1), (1, 1))


@inside_by_channel.register_fake
def _(x: Tensor, kernels: Tensor, high: int, wide: int, reads: int) -> Tensor:
    return x.new_empty((*x.shape[:2], high, wide, x.shape[4]))


@inside_by_channel_backward.register_fake
def _(gy: Tensor, x: Tensor, kernels: Tensor, high: int, wide: int, reads: int) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), kernels.new_empty(kernels.shape)


# ------------------------------------------------------------------ a kernel per pair of channels


@torch.library.custom_op("archspec::inside_mixing", mutates_args=())
def inside_mixing(x: Tensor, weight: Tensor, high: int, wide: int, groups: int, reads: int) -> Tensor:
    """x (L, T, U, C), weight (C', C/g, Th, Tw) -> (L, h, w, C')."""
    y = F.conv2d(channels_first(x.contiguous()), weight, None, padding=(high - 1, wide - 1), groups=groups)
    return channels_last(y)


@torch.library.custom_op("archspec::inside_mixing_backward", mutates_args=())
def inside_mixing_backward(
    gy: Tensor, x: Tensor, weight: Tensor, high: int, wide: int, groups: int, reads: int
) -> tuple[Tensor, Tensor]:
    """Gradients of x and the weight.

    On a CPU as a product of matrices for each offset, which takes half to a third of the time of a convolution's.
    """
    if x.device.type == "cpu":
        return _by_offset(gy, x, weight, groups)
    moves = ((1, 1), (high - 1, wide - 1), (1, 1), False, (0, 0), groups, (True, True, False))
    gx, gweight, _ = torch.ops.aten.convolution_backward(
        channels_first(gy.contiguous()), channels_first(x.contiguous()), weight, None, *moves
    )
    return channels_last(gx), gweight.contiguous()


def _by_offset(gy: Tensor, x: Tensor, weight: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    (high, wide), (tall, broad) = gy.shape[1:3], x.shape[1:3]
    g, reads = (wide_enough(each).unflatten(-1, (groups, -1)) for each in (gy, x))
    # (Th, Tw, g, C'/g, C/g): one matrix per offset and group, each in one piece.
    matrices = wide_enough(weight).unflatten(0, (groups, -1)).permute(3, 4, 0, 1, 2).contiguous()
    gx, gmatrices = torch.zeros_like(reads), torch.empty_like(matrices)
    for down in range(tall + high - 1):
        to_rows, from_rows = _meeting(down, high, tall)
        for across in range(broad + wide - 1):
            to_columns, from_columns = _meeting(across, wide, broad)
            left = g[:, to_rows, to_columns].flatten(0, 2).transpose(0, 1)
            right = reads[:, from_rows, from_columns].flatten(0, 2).transpose(0, 1)
            part = gx[:, from_rows, from_columns]
            part += torch.bmm(left, matrices[down, across]).transpose(0, 1).view(part.shape)
            torch.bmm(left.transpose(1, 2), right, out=gmatrices[down, across])
    gweight = gmatrices.permute(2, 3, 4, 0, 1).flatten(0, 1)
    return gx.flatten(3).to(x.dtype), gweight.to(weight.dtype).contiguous()


def _meeting(offset: int, given: int, read: int) -> tuple[slice, slice]:
    """The positions that read at this offset, and those that they read, along one axis."""
    move = offset - (given - 1)
    first, last = max(0, -move), min(given, read - move)
    return slice(first, last), slice(first + move, last + move)


@inside_mixing.register_fake
def _(x: Tensor, weight: Tensor, high: int, wide: int, groups: int, reads: int) -> Tensor:
    return x.new_empty((len(x), high, wide, len(weight)))


@inside_mixing_backward.register_fake
def _(gy: Tensor, x: Tensor, weight: Tensor, high: int, wide: int, groups: int, reads: int) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


# ------------------------------------------------------------------ what autograd and the flop counter need


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, *ctx.sizes = inputs
    ctx.save_for_backward(x, weight)


def _channel_gradients(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    return *inside_by_channel_backward(gy, *ctx.saved_tensors, *ctx.sizes), None, None, None


def _mixing_gradients(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    return *inside_mixing_backward(gy, *ctx.saved_tensors, *ctx.sizes), None, None, None, None


inside_by_channel.register_autograd(_channel_gradients, setup_context=_keep)
inside_mixing.register_autograd(_mixing_gradients, setup_context=_keep)


def _entries(x: Any, weight: Any, high: int, wide: int, reads: int) -> int:
    """Multiply-adds: positions of all windows times what each reads, times the channels that each channel reads."""
    channels = weight[0] * weight[1] if len(x) == 4 else x[4]
    windows = torch.Size(x[:-3]).numel()
    return int(windows * high * wide * reads * channels)


@register_flop_formula(torch.ops.archspec.inside_by_channel)
def _(x: Any, weight: Any, high: int, wide: int, reads: int, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * _entries(x, weight, high, wide, reads)


@register_flop_formula(torch.ops.archspec.inside_by_channel_backward)
def _(gy: Any, x: Any, weight: Any, high: int, wide: int, reads: int, out_shape: Any = None, **kwargs: Any) -> int:
    return 4 * _entries(x, weight, high, wide, reads)


@register_flop_formula(torch.ops.archspec.inside_mixing)
def _(x: Any, weight: Any, high: int, wide: int, groups: int, reads: int, **kwargs: Any) -> int:
    return 2 * _entries(x, weight, high, wide, reads)


@register_flop_formula(torch.ops.archspec.inside_mixing_backward)
def _(gy: Any, x: Any, weight: Any, high: int, wide: int, groups: int, reads: int, **kwargs: Any) -> int:
    return 4 * _entries(x, weight, high, wide, reads)
