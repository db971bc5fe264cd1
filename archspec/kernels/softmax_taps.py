"""A laid-out map and features that predict the weights of each tap go in; the sum weighted by their softmax comes out.

The legend, the layouts and the way a tap reads are those of taps.py. A softmax needs the weights of all taps at once,
so rows are taken in blocks whose weights are about as many as a block of taps.py has elements.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from archspec.kernels.shapes import wide_enough
from archspec.kernels.taps import add, blocks, keep_predicted, mask, predicted_flops, read, sum_over_channels


@torch.library.custom_op("archspec::softmax_taps", mutates_args=())
def softmax_taps(
    x: Tensor,
    h: Tensor,
    weight: Tensor,
    shifts: Sequence[int],
    stride: Sequence[int],
    exists: Tensor | None = None,
) -> Tensor:
    """x (R', M, S', B, G), h (R, S, B, D), weight (K, G, D), w = softmax_k(h weight[k]^T) -> y (R, M, S, B, G).

    The last hidden unit and `exists` are those of predicted_taps; what does not exist took part in the softmax.
    """
    wide, h, weight = wide_enough(x), wide_enough(h), wide_enough(weight)
    y = wide.new_zeros((len(h), x.shape[1], *h.shape[1:3], x.shape[4]))
    for rows in blocks((*h.shape[:3], *weight.shape[:2])):
        part = y[rows]
        for tap, w in enumerate(_weights(h[rows], weight)):
            mask(w, exists, tap, rows)
            part.addcmul_(read(wide, tap, shifts, stride, rows, h.shape[1]), w)
    return y.to(x.dtype)


@torch.library.custom_op("archspec::softmax_taps_backward", mutates_args=())
def softmax_taps_backward(
    gy: Tensor,
    x: Tensor,
    h: Tensor,
    weight: Tensor,
    shifts: Sequence[int],
    stride: Sequence[int],
    exists: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, h and weight. The weights are predicted a second time, so none of them was kept."""
    kind = x.dtype
    gy, x, h, weight = wide_enough(gy).contiguous(), wide_enough(x), wide_enough(h), wide_enough(weight)
    gx, gh, gweight = torch.zeros_like(x), torch.zeros_like(h), torch.zeros_like(weight)
    for rows in blocks((*h.shape[:3], *weight.shape[:2])):
        g, w = gy[rows], _weights(h[rows], weight)
        gw, products = torch.empty_like(w), torch.empty_like(g)
        for tap in range(len(weight)):
            used = w[tap] if exists is None else w[tap] * exists[tap, rows]
            add(read(gx, tap, shifts, stride, rows, h.shape[1]), g, used, products)
            sum_over_channels(g, read(x, tap, shifts, stride, rows, h.shape[1]), products, gw[tap])
            mask(gw[tap], exists, tap, rows)
        gw -= (gw * w).sum(0, keepdim=True)
        logits, hidden = (gw * w).view(len(weight), -1, x.shape[4]), h[rows].flatten(0, 2)
        gweight += torch.matmul(logits.transpose(1, 2), hidden)
        for tap in range(len(weight)):
            gh[rows].flatten(0, 2).addmm_(logits[tap], weight[tap])
    return gx.to(kind), gh.to(kind), gweight.to(kind)


def _weights(h: Tensor, weight: Tensor) -> Tensor:
    """(K, R, 1, S, B, G): the softmax over the taps."""
    w = torch.matmul(h.flatten(0, 2), weight.transpose(1, 2)).softmax(0)
    return w.view(len(weight), len(h), 1, *h.shape[1:3], -1)


@softmax_taps.register_fake
def _(x: Tensor, h: Tensor, weight: Tensor, *rest: Any) -> Tensor:
    return x.new_empty((h.shape[0], x.shape[1], *h.shape[1:3], x.shape[4]))


@softmax_taps_backward.register_fake
def _(gy: Tensor, x: Tensor, h: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return x.new_empty(x.shape), h.new_empty(h.shape), weight.new_empty(weight.shape)


def _gradients(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, exists = ctx.saved_tensors
    return *softmax_taps_backward(gy, *tensors, ctx.shifts, ctx.stride, exists), None, None, None


softmax_taps.register_autograd(_gradients, setup_context=keep_predicted)


@register_flop_formula(torch.ops.archspec.softmax_taps)
def _(x: Any, h: Any, weight: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return predicted_flops(x, h, weight, 1)


@register_flop_formula(torch.ops.archspec.softmax_taps_backward)
def _(gy: Any, x: Any, h: Any, weight: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return predicted_flops(x, h, weight, 3, 2)
