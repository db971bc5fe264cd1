"""Each position attends to the taps of a sliding window around it (neighbourhood attention); (B, H, W, C) -> the same.

Taps beyond the border do not exist. Logits are made tap by tap from shifted views, and made again for the backward
pass; the layouts are those of taps.py: (R, M, S, B, G) a map of R rows and S columns, (K, R, 1, S, B, G) logits.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from archspec import ir
from archspec.kernels.attend_taps import attend_taps
from archspec.kernels.attention_projection import Sources, finished, options, pre_convolved, projections
from archspec.kernels.circular import circular
from archspec.kernels.dot_taps import dot_taps
from archspec.kernels.shapes import Parameters
from archspec.kernels.sliding import surrounded, tap_shifts
from archspec.kernels.tables import MASKED
from archspec.kernels.taps import given_taps

PARTS = 16


@dataclass(frozen=True)
class Weighting:
    """What stands between the dot products and the weights of some rows; None where the layer has none of it."""

    softmax: bool
    size: ir.Pair
    exists: Tensor  # (K, R, 1, S, 1, 1): which taps of a position are on the map
    post_convolution: Tensor | None  # (G, k, k)
    bias: Tensor | None  # (K, G)
    centre: tuple[Tensor, Tensor] | None  # x (B, R, S, C) and theta (K, G, C)
    mix: tuple[Tensor, Tensor] | None  # (G, G), (G,)

    def rows(self, some: slice) -> "Weighting":
        centre = None if self.centre is None else (self.centre[0][:, some], self.centre[1])
        return replace(self, exists=self.exists[:, some], centre=centre)

    @property
    def adds(self) -> bool:
        """Whether all that happens before the softmax is that something is added."""
        return self.softmax and self.post_convolution is None and self.mix is None

    def added(self, like: Tensor) -> Tensor:
        """Relative bias and centre, (K, R or 1, 1, S or 1, B or 1, G or 1)."""
        added = like.new_zeros(len(self.exists), 1, 1, 1, 1, 1)
        if self.bias is not None:
            added = self.bias[:, None, None, None, None].to(like.dtype)
        if self.centre is None:
            return added
        x, theta = self.centre
        every = F.linear(x, theta.flatten(0, 1)).unflatten(-1, theta.shape[:2])  # (B, R, S, K, G)
        return added + every.permute(3, 1, 2, 0, 4).unsqueeze(2).to(like.dtype)


def over_taps(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """From logits to sums block by block, where something is added at most; else all logits of some rows."""
    z = pre_convolved(op, parameters, x)
    query, key, value = _laid_out(op, parameters, Sources(z, z, x, x))
    how, shifts = _weighting(op, parameters, x), tap_shifts(_space(op))
    if how.adds and how.centre is None:
        y = _attend(query, key, value, how, shifts)
    else:
        y = _in_parts(op, query, key, value, how, shifts)
    return finished(op, parameters, y.permute(3, 0, 2, 4, 1).flatten(3))


def _in_parts(
    op: ir.Connect, query: Tensor, key: Tensor, value: Tensor, how: Weighting, shifts: tuple[int, ...]
) -> Tensor:
    """All rows at once; or some at a time, where heads are so many that all logits would outgrow an unfolded map."""
    height, parts = len(query), []
    step = -(-height // PARTS) if 4 * op.kernels > op.source.channels else height
    for first in range(0, height, step):
        some, read = slice(first, first + step), slice(first, first + step + len(key) - height)
        given = (query[some], key[read], value[read], how.rows(some), shifts)
        parts.append(checkpoint(_attend, *given, use_reentrant=False, preserve_rng_state=False))
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _attend(query: Tensor, key: Tensor, value: Tensor, how: Weighting, shifts: tuple[int, ...]) -> Tensor:
    """(R, M, S, B, G) of these rows."""
    if how.adds:
        mask = torch.where(how.exists, 0.0, MASKED).to(query.dtype)
        y: Tensor = attend_taps(query, key, value, how.added(query), mask, shifts)
    else:
        weights = _weights(dot_taps(query, key, shifts), how)
        y = given_taps(value, weights.to(value.dtype), shifts, (1, 1))
    return y


def _weights(logits: Tensor, how: Weighting) -> Tensor:
    """(K, R, 1, S, B, G) both."""
    if how.post_convolution is not None:
        kernel = how.post_convolution.permute(1, 2, 0)[:, :, None, None, None, None, None, None].to(logits.dtype)
        logits = circular(logits.unflatten(0, how.size), kernel, 0).flatten(0, 1)
    logits = logits + how.added(logits)
    if how.mix is not None:
        logits = F.linear(logits, *how.mix)
    if how.softmax:
        return logits.masked_fill(~how.exists, MASKED).softmax(0)
    return logits * how.exists


def _weighting(op: ir.Connect, parameters: Parameters, x: Tensor) -> Weighting:
    weights = options(op)
    return Weighting(
        weights.softmax,
        _space(op).size,
        _exists(op, x.device),
        parameters.get("post_convolution.weight"),
        parameters.get("relative_bias"),
        (x, parameters["centre.weight"]) if weights.centre else None,
        (parameters["mix_heads.weight"], parameters["mix_heads.bias"]) if weights.mix_heads else None,
    )


def _exists(op: ir.Connect, device: torch.device) -> Tensor:
    """(K, H, 1, W, 1, 1)."""
    space, along = _space(op), []
    for axis, extent in enumerate((op.source.height, op.source.width)):
        first = torch.arange(space.size[axis], device=device) * space.dilation[axis] - space.before[axis]
        position = first[:, None] + torch.arange(extent, device=device)
        along.append((position >= 0) & (position < extent))
    down, across = along
    return (down[:, None, :, None] & across[None, :, None, :]).flatten(0, 1)[:, :, None, :, None, None]


def _laid_out(op: ir.Connect, parameters: Parameters, maps: Sources) -> list[Tensor]:
    """Query (R, M, S, B, G), key and value with what is read beyond the border: (R', M, S', B, G)."""
    parts: list[Tensor] = []
    for projected in projections(op, parameters, maps):
        for part in projected.split(op.source.channels, -1):
            # The queries, which come first, are scaled; keys and values are read beyond the border.
            whole = surrounded(op, part) if parts else part * (op.source.channels // op.kernels) ** -0.5
            parts.append(whole.unflatten(-1, (op.kernels, -1)).permute(1, 4, 2, 0, 3).contiguous())
    return parts


def _space(op: ir.Connect) -> ir.Sliding:
    assert isinstance(op.space, ir.Sliding)
    return op.space
