"""Laid-out queries, keys and values go in; each query's attention to the keys at its taps comes out.

    w[k, r, s, b, g] = softmax over k of (added + mask
                      + sum over m of q[r, m, s, b, g] * key[read(k, r), m, read(k, s), b, g])
    y[r, m, s, b, g] = sum over k of w[k, r, s, b, g] * value[read(k, r), m, read(k, s), b, g]

The legend, the layouts and the way a tap reads are those of taps.py. Some rows are done from logits to sums while they
are in cache. Neither logits nor weights are kept: the backward pass makes them again, block by block.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from archspec.kernels.taps import Taps, read, sum_over_channels, wide_enough

ONE = (1, 1)
# Elements of the queries of a block: what is read for a tap, added and written fits a cache of a few MiB (measured at
# 56x56x96, batch 4: 1 << 20 takes twice as long as anything from 1 << 16 to 1 << 18).
BLOCK = 1 << 17


def blocks(shape: Sequence[int]) -> Iterator[slice]:
    """Rows of a tensor of this shape, in blocks of about BLOCK elements."""
    count = max(1, min(shape[0], round(torch.Size(shape).numel() / BLOCK)))
    step = -(-shape[0] // count)
    for first in range(0, shape[0], step):
        yield slice(first, min(first + step, shape[0]))


@torch.library.custom_op("archspec::attend_taps", mutates_args=())
def attend_taps(q: Tensor, key: Tensor, value: Tensor, added: Tensor, mask: Tensor, shifts: Sequence[int]) -> Tensor:
    """q (R, M, S, B, G), key and value (R', M, S', B, G), shifts of the K taps.

    What is added to logits (K, R, 1, S, B, G), and a mask without a gradient, may be 1 on any axis but the first.
    """
    y = torch.zeros_like(wide_enough(q))
    keys, values = wide_enough(key), wide_enough(value)
    for rows in blocks(q.shape):
        w = _weights(wide_enough(q[rows]), keys, (added, mask), shifts, rows)
        for tap in range(len(w)):
            y[rows].addcmul_(read(values, tap, shifts, ONE, rows, q.shape[2]), w[tap])
    return y.to(q.dtype)


def _weights(q: Tensor, keys: Tensor, added: tuple[Tensor, ...], shifts: Taps, rows: slice) -> Tensor:
    """(K, rows, 1, S, B, G)."""
    logits = dots(q, keys, shifts, rows, q.new_empty((len(shifts) // 2, len(q), 1, *q.shape[2:])))
    for each in added:
        logits.add_(_rows(each, rows))
    return logits.softmax(0)


def _rows(added: Tensor, rows: slice) -> Tensor:
    """Those rows of (K, R or 1, ...)."""
    return added if added.shape[1] == 1 else added[:, rows]


def dots(q: Tensor, keys: Tensor, shifts: Taps, rows: slice, out: Tensor) -> Tensor:
    """Dot products of some rows of queries with the keys at each tap: into `out`, (K, rows, 1, S, B, G)."""
    products = torch.empty_like(q)
    for tap in range(len(out)):
        sum_over_channels(q, read(keys, tap, shifts, ONE, rows, q.shape[2]), products, out[tap])
    return out


@torch.library.custom_op("archspec::attend_taps_backward", mutates_args=())
def attend_taps_backward(
    gy: Tensor, q: Tensor, key: Tensor, value: Tensor, added: Tensor, mask: Tensor, shifts: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of queries, keys, values and what is added."""
    keys, values, columns = wide_enough(key), wide_enough(value), q.shape[2]
    gq = torch.zeros_like(wide_enough(q))
    gkey, gvalue, gadded = torch.zeros_like(keys), torch.zeros_like(values), torch.zeros_like(wide_enough(added))
    for rows in blocks(q.shape):
        part, g = wide_enough(q[rows]), wide_enough(gy[rows]).contiguous()
        w = _weights(part, keys, (added, mask), shifts, rows)
        gw = dots(g, values, shifts, rows, torch.empty_like(w))
        gw = gw.sub_((gw * w).sum(0)).mul_(w)  # of the logits
        gsome = _rows(gadded, rows)
        gsome += gw.sum_to_size(gsome.shape)
        for tap in range(len(w)):
            read(gvalue, tap, shifts, ONE, rows, columns).addcmul_(g, w[tap])
            gq[rows].addcmul_(read(keys, tap, shifts, ONE, rows, columns), gw[tap])
            read(gkey, tap, shifts, ONE, rows, columns).addcmul_(part, gw[tap])
    return gq.to(q.dtype), gkey.to(q.dtype), gvalue.to(q.dtype), gadded.to(added.dtype)


@attend_taps.register_fake
def _(q: Tensor, key: Tensor, value: Tensor, added: Tensor, mask: Tensor, shifts: Taps) -> Tensor:
    return q.new_empty(q.shape)


@attend_taps_backward.register_fake
def _(
    gy: Tensor, q: Tensor, key: Tensor, value: Tensor, added: Tensor, mask: Tensor, shifts: Taps
) -> tuple[Tensor, ...]:
    return tuple(each.new_empty(each.shape) for each in (q, key, value, added))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.shifts = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    return *attend_taps_backward(gy, *ctx.saved_tensors, ctx.shifts), None, None


attend_taps.register_autograd(_gradients, setup_context=_keep)


def _flops(q: Sequence[int], shifts: Taps) -> int:
    """Of one product of everything with everything at its taps: two for a multiply-add."""
    return torch.Size(q).numel() * len(shifts)


@register_flop_formula(torch.ops.archspec.attend_taps)
def _(q: Any, key: Any, value: Any, added: Any, mask: Any, shifts: Taps, *, out_shape: Any = None, **rest: Any) -> int:
    return 2 * _flops(q, shifts)


@register_flop_formula(torch.ops.archspec.attend_taps_backward)
def _(gy: Any, q: Any, key: Any, value: Any, added: Any, mask: Any, shifts: Taps, **rest: Any) -> int:
    return 5 * _flops(q, shifts)
