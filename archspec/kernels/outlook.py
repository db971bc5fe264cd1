"""Outlook attention (VOLO): windows predict how their positions read each other; (B, H, W, C) -> (B, H, W, C).

Legend: h by w windows of K slots; G heads of D = C / G channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from archspec import ir
from archspec.kernels.outlook_sum import outlook_sum
from archspec.kernels.shapes import Parameters, channels_first, with_bias


def outlook(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """All heads at once; or some at a time, where they are so many that their maps would outgrow an unfolded x."""
    weights = op.weights
    assert isinstance(weights, ir.Outlook)
    v = F.linear(x, parameters["projection.weight"], parameters.get("projection.bias")) if weights.value else x
    z = _centres(weights, x)
    predict = (parameters["predict.weight"], parameters["predict.bias"])
    parts = _parts(op, weights)
    if parts == 1:
        y = _attend(op, z, v, *predict)
    else:
        some = zip(v.chunk(parts, 3), *(each.chunk(parts) for each in predict), strict=True)
        given = ((op, z, *each) for each in some)
        y = torch.cat([checkpoint(_attend, *each, use_reentrant=False, preserve_rng_state=False) for each in given], 3)
    return with_bias(op, parameters, y)


def _parts(op: ir.Connect, weights: ir.Outlook) -> int:
    """How many parts the heads are taken in: each predicts at most a quarter of an unfolded map."""
    rows, columns = weights.grid(op.source)
    predicted = rows * columns * op.kernels * op.neighbours
    least = min(op.kernels, -(-4 * predicted // (op.source.positions * op.source.channels)))
    return next(parts for parts in range(least, op.kernels + 1) if op.kernels % parts == 0)


def _centres(weights: ir.Outlook, x: Tensor) -> Tensor:
    """The mean of the patch at each window, of what exists of it: (B, h, w, C)."""
    if weights.stride == (1, 1):
        return x
    return F.avg_pool2d(channels_first(x), weights.stride, ceil_mode=True).permute(0, 2, 3, 1)


def _attend(op: ir.Connect, z: Tensor, v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """z (B, h, w, C), v (B, H, W, G * D), weight (G * K * K, C) and bias of some heads -> (B, H, W, G * D)."""
    assert isinstance(op.weights, ir.Outlook)
    assert isinstance(op.space, ir.Sliding)
    slots, scale = op.neighbours, (op.source.channels // op.kernels) ** -0.5
    # Rows from (G, K to, K from) to (K from, G, K to): a softmax over an outer axis is ten times as fast (torch 2.15).
    turned = (each.unflatten(0, (-1, slots, slots)).movedim(2, 0).flatten(0, 2) * scale for each in (weight, bias))
    a = F.linear(z, *turned).unflatten(-1, (slots, -1)).softmax(3)
    a = a.unflatten(-1, (-1, slots)).movedim(3, 5).to(v.dtype).contiguous()
    y: Tensor = outlook_sum(a, v, op.space.size, op.weights.stride)
    return y
