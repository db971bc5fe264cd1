"""A sliding window, or windows, whose weights differ from position to position (I-Dynamic, involution).

Separate channels; (B, H, W, C) -> (B, H', W', C). Weights are parameters or predicted at each position.
"""

import torch
from torch import Tensor

from archspec import ir
from archspec.kernels.predictor import at_targets
from archspec.kernels.reduced import read
from archspec.kernels.shapes import Parameters, across_channels, with_bias
from archspec.kernels.sliding import surrounded, tap_shifts
from archspec.kernels.softmax_taps import softmax_taps
from archspec.kernels.tables import wrapped
from archspec.kernels.taps import given_taps, predicted_taps
from archspec.kernels.windows import join, split


def static(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Sliding, one kernel per position. weight: (G, N', kh, kw), without G when all channels share."""
    space, target = _sliding(op), op.target
    weight = across_channels(op, parameters["weight"]).flatten(2)
    # (G, N', K) -> (K, H', 1, W', 1, G): images share weights, so the batch stands beside the channels.
    w = weight.unflatten(1, (target.height, target.width)).permute(3, 1, 2, 0)[:, :, None, :, None].contiguous()
    laid_out = _by_kernel(op, surrounded(op, x)).permute(1, 0, 4, 2, 3).flatten(1, 2).unsqueeze(3).contiguous()
    dtype = torch.promote_types(laid_out.dtype, w.dtype)
    y = given_taps(laid_out.to(dtype), w.to(dtype), tap_shifts(space), space.stride).squeeze(3)
    y = y.unflatten(1, (len(x), -1)).permute(1, 0, 3, 4, 2).flatten(3)
    return with_bias(op, parameters, y)


def sliding(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Sliding, one kernel per position, predicted from the feature there (the mean of a patch, with a stride)."""
    h = at_targets(op, parameters, x, training).permute(1, 2, 0, 3)
    laid_out = _by_kernel(op, surrounded(op, x)).permute(1, 4, 2, 0, 3)
    y = _predicted(op, parameters, laid_out, h, tap_shifts(_sliding(op)))
    return with_bias(op, parameters, y.permute(3, 0, 2, 4, 1).flatten(3))


def in_windows(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Windows or the whole (or a reduced) map, one row of weights per position, predicted from the feature there."""
    h = split(op, at_targets(op, parameters, x, training)).permute(2, 1, 0, 3)
    laid_out = _by_kernel(op, read(op, parameters, x)).permute(2, 4, 1, 0, 3)
    exists = wrapped(op, h)
    if exists is not None:
        exists = exists.permute(2, 1, 0)[:, :, None, :, None, None]  # (windows, K, K) -> (taps, R, 1, S, 1, 1)
    y = _predicted(op, parameters, laid_out, h, (), exists)
    return with_bias(op, parameters, join(op, y.permute(3, 2, 0, 4, 1).flatten(3)))


def _predicted(
    op: ir.Connect,
    parameters: Parameters,
    x: Tensor,
    h: Tensor,
    shifts: tuple[int, ...],
    exists: Tensor | None = None,
) -> Tensor:
    """x (R', M, S', B, G), h (R, S, B, hidden) -> (R, M, S, B, G), all in one type, autocast or not."""
    # The bias rides along as the weight of one more hidden unit, which is always 1.
    weight = torch.cat([parameters["predict.weight"], parameters["predict.bias"].unsqueeze(1)], 1)
    weight = weight.unflatten(0, (-1, op.kernels)).to(h.dtype)
    h = torch.cat([h, h.new_ones(()).expand(*h.shape[:3], 1)], 3)
    assert isinstance(op.weights, ir.Predicted)
    taps = softmax_taps if op.weights.normalise else predicted_taps
    stride = op.space.stride if isinstance(op.space, ir.Sliding) else (1, 1)
    y: Tensor = taps(x.to(h.dtype).contiguous(), h, weight, shifts, stride, exists)
    return y


def _by_kernel(op: ir.Connect, x: Tensor) -> Tensor:
    """(..., C) -> (..., G, M): channels by the kernel that serves them."""
    return x.unflatten(-1, (op.kernels, -1))


def _sliding(op: ir.Connect) -> ir.Sliding:
    assert isinstance(op.space, ir.Sliding)
    return op.space
