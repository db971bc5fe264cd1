"""A laid-out map and the weights of each tap go in; their weighted sum comes out, one tap at a time.

Legend: R rows, S positions in a row, K taps, M channels a kernel serves, B batch, G kernels, D hidden units.

    y[r, m, s, b, g] = sum over k of w[k, r, s, b, g] * x[read(k, r), m, read(k, s), b, g]

Unfolding x would make a tensor K times its size. Here a tap reads a shifted view of x, and weights that are
predicted are predicted tap by tap: neither they nor the products ever exist all at once, forward or backward. Kernels
lie innermost so that a row is one contiguous run for x, w and y alike, whatever the number of groups.

These are operators of torch's own kind (torch.ops.archspec.*), so torch.compile takes each as one node instead of
unrolling its loop; the flop counter is told what they cost.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from archspec.kernels.shapes import wide_enough as wide_enough

# Rows are taken in blocks of about so many elements of y: what a tap needs stays in cache, and calls stay few enough to
# cost little beside the work, on busy cores too (measured at 56x56x96 to 7x7x768, batch 4).
BLOCK = 1 << 20
# Up to so many channels a kernel, their products are summed one by one; beyond, all products of a tap are summed once.
FEW = 4

Taps = Sequence[int]


def read(x: Tensor, tap: int, shifts: Taps, stride: Taps, rows: slice, columns: int) -> Tensor:
    """The part of x (R', M, S', B, G) that a tap reads for some outgoing rows: a view.

    `shifts` holds (down, across) of each tap, one after the other; it is empty where tap k reads row k of x, whatever
    the outgoing row is (the slots of a window).
    """
    if not shifts:
        return x[tap : tap + 1]
    down, across = shifts[2 * tap], shifts[2 * tap + 1]
    first, last = down + stride[0] * rows.start, down + stride[0] * (rows.stop - 1) + 1
    return x[first : last : stride[0], :, across : across + stride[1] * (columns - 1) + 1 : stride[1]]


def blocks(shape: Sequence[int]) -> Iterator[slice]:
    """Rows of a tensor of this shape, in blocks of about BLOCK elements."""
    elements = torch.Size(shape).numel()
    count = max(1, min(shape[0], round(elements / BLOCK)))
    size = -(-shape[0] // count)
    for start in range(0, shape[0], size):
        yield slice(start, min(start + size, shape[0]))


# ------------------------------------------------------------------ weights predicted at each position


@torch.library.custom_op("archspec::predicted_taps", mutates_args=())
def predicted_taps(
    x: Tensor,
    h: Tensor,
    weight: Tensor,
    shifts: Sequence[int],
    stride: Sequence[int],
    exists: Tensor | None = None,
) -> Tensor:
    """x (R', M, S', B, G), h (R, S, B, D), weight (K, G, D), w[k] = h weight[k]^T -> y (R, M, S, B, G).

    The last of the D hidden units is 1, and its weights are biases. `exists` (K, R, 1, S, 1, 1) multiplies weights.
    """
    wide, h, weight = wide_enough(x), wide_enough(h), wide_enough(weight)
    y = wide.new_zeros((len(h), x.shape[1], *h.shape[1:3], x.shape[4]))
    for rows in blocks(y.shape):
        hidden, part = h[rows].flatten(0, 2), y[rows]
        w = hidden.new_empty((len(hidden), x.shape[4]))
        spread = w.view(len(part), 1, *part.shape[2:])
        for tap in range(len(weight)):
            torch.mm(hidden, weight[tap].T, out=w)
            mask(spread, exists, tap, rows)
            part.addcmul_(read(wide, tap, shifts, stride, rows, h.shape[1]), spread)
    return y.to(x.dtype)


@torch.library.custom_op("archspec::predicted_taps_backward", mutates_args=())
def predicted_taps_backward(
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
    for rows in blocks(gy.shape):
        g, hidden, ghidden = gy[rows], h[rows].flatten(0, 2), gh[rows].flatten(0, 2)
        w, gw = (hidden.new_empty((len(hidden), x.shape[4])) for _ in range(2))
        spread, gspread = (each.view(len(g), 1, *g.shape[2:]) for each in (w, gw))
        products = torch.empty_like(g)
        for tap in range(len(weight)):
            torch.mm(hidden, weight[tap].T, out=w)
            mask(spread, exists, tap, rows)
            add(read(gx, tap, shifts, stride, rows, h.shape[1]), g, spread, products)
            sum_over_channels(g, read(x, tap, shifts, stride, rows, h.shape[1]), products, gspread)
            mask(gspread, exists, tap, rows)
            gweight[tap].addmm_(gw.T, hidden)
            ghidden.addmm_(gw, weight[tap])
    return gx.to(kind), gh.to(kind), gweight.to(kind)


def mask(w: Tensor, exists: Tensor | None, tap: int, rows: slice) -> None:
    """Take out weights of a tap that do not exist."""
    if exists is not None:
        w *= exists[tap, rows]


def add(part: Tensor, g: Tensor, w: Tensor, products: Tensor) -> None:
    """part += g * w, summed over the rows where part has one row for all."""
    if len(part) == len(g):
        part.addcmul_(g, w)
    else:
        part += torch.mul(g, w, out=products).sum(0, keepdim=True)


def sum_over_channels(g: Tensor, x: Tensor, products: Tensor, total: Tensor) -> None:
    """total (R, 1, S, B, G) = sum over M of g * x."""
    if g.shape[1] > FEW:
        torch.sum(torch.mul(g, x, out=products), 1, keepdim=True, out=total)
        return
    torch.mul(g[:, :1], x[:, :1], out=total)
    for m in range(1, g.shape[1]):
        total.addcmul_(g[:, m : m + 1], x[:, m : m + 1])


@predicted_taps.register_fake
def _(x: Tensor, h: Tensor, weight: Tensor, *rest: Any) -> Tensor:
    return x.new_empty((h.shape[0], x.shape[1], *h.shape[1:3], x.shape[4]))


@predicted_taps_backward.register_fake
def _(gy: Tensor, x: Tensor, h: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return x.new_empty(x.shape), h.new_empty(h.shape), weight.new_empty(weight.shape)


def keep_predicted(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """What the gradients of weights predicted at each position need."""
    *tensors, ctx.shifts, ctx.stride, exists = inputs
    ctx.save_for_backward(*tensors, exists)


def _predicted_gradients(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, exists = ctx.saved_tensors
    return *predicted_taps_backward(gy, *tensors, ctx.shifts, ctx.stride, exists), None, None, None


predicted_taps.register_autograd(_predicted_gradients, setup_context=keep_predicted)


def predicted_flops(x: Any, h: Any, weight: Any, predictions: int, sums: int = 1) -> int:
    """What it takes to predict all weights, and to sum over all taps, so many times: two for a multiply-add.

    The last hidden unit is not counted: it is the constant that makes the last weight a bias.
    """
    positions = torch.Size(h[:3]).numel() * weight[0]
    return int(2 * positions * (predictions * weight[1] * (weight[2] - 1) + sums * x[1] * x[4]))


@register_flop_formula(torch.ops.archspec.predicted_taps)
def _(x: Any, h: Any, weight: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return predicted_flops(x, h, weight, 1)


@register_flop_formula(torch.ops.archspec.predicted_taps_backward)
def _(gy: Any, x: Any, h: Any, weight: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return predicted_flops(x, h, weight, 3, 2)


# ------------------------------------------------------------------ weights that are parameters


@torch.library.custom_op("archspec::given_taps", mutates_args=())
def given_taps(x: Tensor, w: Tensor, shifts: Sequence[int], stride: Sequence[int]) -> Tensor:
    """x (R', M, S', 1, G), w (K, R, 1, S, 1, G) -> y (R, M, S, 1, G)."""
    wide, weights = wide_enough(x), wide_enough(w)
    y = wide.new_zeros((w.shape[1], x.shape[1], w.shape[3], *x.shape[3:]))
    for rows in blocks(y.shape):
        for tap in range(len(w)):
            y[rows].addcmul_(read(wide, tap, shifts, stride, rows, w.shape[3]), weights[tap, rows])
    return y.to(x.dtype)


@torch.library.custom_op("archspec::given_taps_backward", mutates_args=())
def given_taps_backward(
    gy: Tensor, x: Tensor, w: Tensor, shifts: Sequence[int], stride: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Gradients of x and w."""
    kind = x.dtype
    gy, x, w = wide_enough(gy), wide_enough(x), wide_enough(w)
    gx, gw = torch.zeros_like(x), torch.empty_like(w)
    for rows in blocks(gy.shape):
        g = gy[rows]
        products = torch.empty_like(g)
        for tap in range(len(w)):
            read(gx, tap, shifts, stride, rows, w.shape[3]).addcmul_(g, w[tap, rows])
            sum_over_channels(g, read(x, tap, shifts, stride, rows, w.shape[3]), products, gw[tap, rows])
    return gx.to(kind), gw.to(kind)


@given_taps.register_fake
def _(x: Tensor, w: Tensor, shifts: Taps, stride: Taps) -> Tensor:
    return x.new_empty((w.shape[1], x.shape[1], w.shape[3], *x.shape[3:]))


@given_taps_backward.register_fake
def _(gy: Tensor, x: Tensor, w: Tensor, shifts: Taps, stride: Taps) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), w.new_empty(w.shape)


def _keep_given(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.shifts, ctx.stride = inputs
    ctx.save_for_backward(*tensors)


def _given_gradients(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    return *given_taps_backward(gy, *ctx.saved_tensors, ctx.shifts, ctx.stride), None, None


given_taps.register_autograd(_given_gradients, setup_context=_keep_given)


@register_flop_formula(torch.ops.archspec.given_taps)
def _(x: Any, w: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * torch.Size(w).numel() * int(x[1])


@register_flop_formula(torch.ops.archspec.given_taps_backward)
def _(gy: Any, x: Any, w: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 4 * torch.Size(w).numel() * int(x[1])
