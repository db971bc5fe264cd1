"""A laid-out map and the weights of each tap go in; their weighted sum comes out, one tap at a time.

Legend: R rows, S the contiguous rest of a row, K taps, M channels a kernel serves, B batch, G kernels.

    y[r, m, s, b, g] = sum over k of w[k, r, s, b, g] * x[read(k, r), m, read(k, s), b, g]

Unfolding x would make a tensor K times its size. Here a tap reads a shifted view of x, and weights that are
predicted are predicted tap by tap: neither they nor the products ever exist all at once, forward or backward. Kernels
lie innermost so that a row is one contiguous run for x, w and y alike, whatever the number of groups.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

# Rows are taken in blocks of about so many elements: small enough for a core's cache, large enough to share out.
BLOCK = 1 << 17


@dataclass(frozen=True)
class Reads:
    """Which part of x each tap reads: a sliding window (`shifts`), or one slot of every window (no shifts)."""

    shifts: tuple[tuple[int, int], ...] = ()
    stride: tuple[int, int] = (1, 1)

    def view(self, x: Tensor, tap: int, rows: slice, columns: int) -> Tensor:
        """The part of x (R, M, S, B, G) that a tap reads for some outgoing rows; one row where all read the same."""
        if not self.shifts:
            return x[tap : tap + 1]
        (down, across), (step, side) = self.shifts[tap], self.stride
        first, last = down + step * rows.start, down + step * (rows.stop - 1) + 1
        return x[first:last:step, :, across : across + side * (columns - 1) + 1 : side]


def blocks(y: Tensor) -> list[slice]:
    """The rows of y in blocks."""
    count = max(1, min(len(y), round(y.numel() / BLOCK)))
    size = -(-len(y) // count)
    return [slice(start, min(start + size, len(y))) for start in range(0, len(y), size)]


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type to sum in: sums of many half-precision terms are kept in float32."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


class GivenTaps(torch.autograd.Function):
    """Weights are parameters: w (K, R, 1, S, B or 1, G), x (R', M, S', B, G) -> y (R, M, S, B, G)."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, w: Tensor, reads: Reads) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.reads = reads  # type: ignore[attr-defined]
        columns = w.shape[3]
        y = x.new_zeros((w.shape[1], x.shape[1], columns, *x.shape[3:]), dtype=wide(x.dtype))
        for rows in blocks(y):
            for tap in range(len(w)):
                y[rows].addcmul_(reads.view(x, tap, rows, columns), w[tap, rows])
        return y.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        gx, gw = torch.zeros_like(x, dtype=wide(x.dtype)), torch.empty_like(w)
        for rows in blocks(gy):
            g = gy[rows]
            for tap in range(len(w)):
                _add(ctx.reads.view(gx, tap, rows, w.shape[3]), g, w[tap, rows])
                read = ctx.reads.view(x, tap, rows, w.shape[3])
                gw[tap, rows] = (g * read).sum_to_size(w[tap, rows].shape)
        return gx.to(x.dtype), gw, None


class PredictedTaps(torch.autograd.Function):
    """Weights are predicted, w[k] = h weight[k]^T + bias[k], and predicted again in the backward pass.

    x (R', M, S', B, G), h (R, S, B, hidden), weight (K, G, hidden), bias (K, G) -> y (R, M, S, B, G).
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, h: Tensor, weight: Tensor, bias: Tensor, reads: Reads) -> Tensor:
        ctx.save_for_backward(x, h, weight, bias)
        ctx.reads = reads  # type: ignore[attr-defined]
        y = x.new_zeros((len(h), x.shape[1], *h.shape[1:3], x.shape[4]), dtype=wide(x.dtype))
        for rows in blocks(y):
            for tap in range(len(weight)):
                w = _predict(h[rows], weight[tap], bias[tap])
                y[rows].addcmul_(reads.view(x, tap, rows, h.shape[1]), w)
        return y.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, h, weight, bias = ctx.saved_tensors
        gx, gh = torch.zeros_like(x, dtype=wide(x.dtype)), torch.zeros_like(h, dtype=wide(x.dtype))
        gweight, gbias = torch.zeros_like(weight, dtype=wide(x.dtype)), torch.zeros_like(bias, dtype=wide(x.dtype))
        for rows in blocks(gy):
            g, hidden = gy[rows], h[rows].flatten(0, 2)
            for tap in range(len(weight)):
                w = _predict(h[rows], weight[tap], bias[tap])
                _add(ctx.reads.view(gx, tap, rows, h.shape[1]), g, w)
                gw = _product_over_channels(g, ctx.reads.view(x, tap, rows, h.shape[1])).flatten(0, 2)
                gbias[tap] += gw.sum(0)
                gweight[tap] += gw.T @ hidden
                gh[rows].flatten(0, 2).add_(gw @ weight[tap])
        return gx.to(x.dtype), gh.to(h.dtype), gweight.to(weight.dtype), gbias.to(bias.dtype), None


def _predict(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(R, S, B, hidden) -> (R, 1, S, B, G)."""
    return torch.addmm(bias, h.flatten(0, 2), weight.T).view(len(h), 1, *h.shape[1:3], -1)


def _add(part: Tensor, g: Tensor, w: Tensor) -> None:
    """part += g * w, summed over the rows where part has one row for all."""
    if len(part) == len(g):
        part.addcmul_(g, w)
    else:
        part += (g * w).sum(0, keepdim=True)


def _product_over_channels(g: Tensor, x: Tensor) -> Tensor:
    """Sum over M of g * x: (R, M, S, B, G) -> (R, S, B, G)."""
    total = g[:, 0] * x[:, 0]
    for m in range(1, g.shape[1]):
        total.addcmul_(g[:, m], x[:, m])
    return total
