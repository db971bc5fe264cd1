"""Laid-out queries and keys go in; the dot product of each query with the key at each tap comes out.

    d[k, r, s, b, g] = sum over m of q[r, m, s, b, g] * key[read(k, r), m, read(k, s), b, g]

The legend, the layouts and the way a tap reads are those of taps.py: this is the gradient of its weights, as an
operator with gradients of its own. Nothing K times the size of the keys exists, forward or backward.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from archspec.kernels.attend_taps import ONE, blocks, dots
from archspec.kernels.taps import Taps, read, wide_enough


@torch.library.custom_op("archspec::dot_taps", mutates_args=())
def dot_taps(q: Tensor, key: Tensor, shifts: Sequence[int]) -> Tensor:
    """q (R, M, S, B, G), key (R', M, S', B, G), down and across of each tap -> (K, R, 1, S, B, G)."""
    wide, keys = wide_enough(q), wide_enough(key)
    d = wide.new_empty((len(shifts) // 2, len(q), 1, *q.shape[2:]))
    for rows in blocks(q.shape):
        dots(wide[rows], keys, shifts, rows, d[:, rows])
    return d.to(q.dtype)


@torch.library.custom_op("archspec::dot_taps_backward", mutates_args=())
def dot_taps_backward(gd: Tensor, q: Tensor, key: Tensor, shifts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Gradients of the queries and of the keys."""
    kind, columns = q.dtype, q.shape[2]
    gd, q, key = wide_enough(gd), wide_enough(q), wide_enough(key)
    gq, gkey = torch.zeros_like(q), torch.zeros_like(key)
    for rows in blocks(q.shape):
        for tap in range(len(gd)):
            gq[rows].addcmul_(read(key, tap, shifts, ONE, rows, columns), gd[tap, rows])
            read(gkey, tap, shifts, ONE, rows, columns).addcmul_(q[rows], gd[tap, rows])
    return gq.to(kind), gkey.to(kind)


@dot_taps.register_fake
def _(q: Tensor, key: Tensor, shifts: Taps) -> Tensor:
    return q.new_empty((len(shifts) // 2, q.shape[0], 1, *q.shape[2:]))


@dot_taps_backward.register_fake
def _(gd: Tensor, q: Tensor, key: Tensor, shifts: Taps) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), key.new_empty(key.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    q, key, ctx.shifts = inputs
    ctx.save_for_backward(q, key)


def _gradients(ctx: Any, gd: Tensor) -> tuple[Tensor | None, ...]:
    return *dot_taps_backward(gd, *ctx.saved_tensors, ctx.shifts), None


dot_taps.register_autograd(_gradients, setup_context=_keep)


def _flops(q: Sequence[int], shifts: Taps) -> int:
    return torch.Size(q).numel() * len(shifts)


@register_flop_formula(torch.ops.archspec.dot_taps)
def _(q: Any, key: Any, shifts: Taps, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return _flops(q, shifts)


@register_flop_formula(torch.ops.archspec.dot_taps_backward)
def _(gd: Any, q: Any, key: Any, shifts: Taps, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * _flops(q, shifts)
