"""Queries and keys go in; the weights with which values are summed come out, and the sums.

Between dot products and weights stand, in this order: post-convolution, relative bias, centre, heads mixed, mask,
softmax. `Weighting` holds what a layer has of them.

Legend: (B, windows, G, K, D) queries, (B, windows, G, R, D) keys and values; offsets, rows of a table over offsets.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.attention_projection import options
from archspec.kernels.circular import circular
from archspec.kernels.shapes import Parameters, flat
from archspec.kernels.tables import laid_out, offsets_of, wrap_mask
from archspec.kernels.windows import cut, reach


@dataclass(frozen=True)
class Centre:
    """theta[o(i, j)] . x_i (Eq. 22): one product gives all offsets of a query, a view picks those of its keys."""

    x: Tensor  # (B, windows, K, C)
    theta: Tensor  # (offsets, G, C), by query minus key
    width: int  # of the queries: slots in a row
    reach: ir.Pair
    farthest: ir.Pair  # how far below and right of the first query the table's last key is, less the halo
    offsets: ir.Pair
    first: int = 0  # slot of the first query

    def logits(self) -> Tensor:
        """(B, windows, G, K, R)."""
        every = at_all_offsets(self.x, self.theta)
        return at_keys(every, self.width, self.reach, self.farthest, self.offsets[1], self.first)

    def part(self, windows: slice, slots: slice) -> "Centre":
        return replace(self, x=self.x[:, windows, slots], first=self.first + (slots.start or 0))


def at_all_offsets(x: Tensor, theta: Tensor) -> Tensor:
    """x (..., C), theta (offsets, G, C) by query minus key -> (..., G, offsets) by key minus query."""
    return F.linear(x, theta.flip(0).transpose(0, 1).flatten(0, 1)).unflatten(-1, (-1, len(theta)))


def at_keys(every: Tensor, width: int, reach: ir.Pair, farthest: ir.Pair, across: int, first: int = 0) -> Tensor:
    """(B, windows, K, G, offsets) -> (B, windows, G, K, R), a view: of all offsets those from a query to its keys."""
    batch, windows, slots, heads, count = every.shape
    row, column = divmod(first, width)
    rows, columns = (slots // width, width) if slots >= width else (1, slots)
    step = heads * count
    shape = (batch, windows, heads, rows, columns, *reach)
    strides = (windows * slots * step, slots * step, count, columns * step - across, step - 1, across, 1)
    start = (farthest[0] - row) * across + farthest[1] - column
    picked = every.contiguous().as_strided(shape, strides, start)
    return picked.flatten(5, 6).flatten(3, 4)


@dataclass(frozen=True)
class Weighting:
    """What a layer does to dot products; None where it does not."""

    softmax: bool
    reach: ir.Pair
    post_convolution: Tensor | None = None  # (G, k, k)
    bias: Tensor | None = None  # (G, K, R)
    centre: Centre | None = None
    mix: tuple[Tensor, Tensor] | None = None  # (G, G), (G,)
    mask: Tensor | None = None  # (windows, 1, K, R): 0 or far below any logit

    def part(self, windows: slice, slots: slice) -> "Weighting":
        """The same for some of the windows, or for some of the queries of each."""
        return replace(
            self,
            bias=None if self.bias is None else self.bias[:, slots],
            centre=None if self.centre is None else self.centre.part(windows, slots),
            mask=None if self.mask is None else self.mask[windows, :, slots],
        )

    def plain(self) -> bool:
        """Nothing but one tensor to add before a softmax."""
        return self.softmax and self.post_convolution is None and self.centre is None and self.mix is None

    def added(self) -> Tensor | None:
        if self.bias is None or self.mask is None:
            return self.mask if self.bias is None else self.bias
        return self.bias + self.mask


def weighting(op: ir.Connect, parameters: Parameters, x: Tensor) -> Weighting:
    """Of a layer, for x (B, H, W, C) laid out as its queries are."""
    weights = options(op)
    mask = wrap_mask(op.space, op.source, x.device) if isinstance(op.space, ir.Window) else None
    mix = (parameters["mix_heads.weight"], parameters["mix_heads.bias"]) if weights.mix_heads else None
    return Weighting(
        weights.softmax,
        reach(op),
        parameters.get("post_convolution.weight"),
        relative_bias(op, parameters) if weights.relative_bias else None,
        _centre(op, parameters, x) if weights.centre else None,
        mix,
        mask,
    )


def relative_bias(op: ir.Connect, parameters: Parameters) -> Tensor:
    """(G, K, R). The table is indexed by query minus key (timm's Swin), an index of offsets by key minus query."""
    table = parameters["relative_bias"]
    return laid_out(table.flip(0), 0, offsets_of(op, table.device)).permute(2, 0, 1)


def _centre(op: ir.Connect, parameters: Parameters, x: Tensor) -> Centre:
    space, halo = op.space, (0, 0)
    if isinstance(space, ir.Window):
        halo, windows = space.halo, cut(x, space.size, space.interlaced)
    else:
        windows = flat(x).unsqueeze(1)
    farthest = (op.farthest[0] - halo[0], op.farthest[1] - halo[1])
    return Centre(windows, parameters["centre.weight"], op.extent[1], reach(op), farthest, op.offsets)


def attend(query: Tensor, key: Tensor, value: Tensor, how: Weighting) -> Tensor:
    """Values summed by their weights: (B, windows, G, K, D)."""
    weights = _plain(query, key, how) if how.plain() else _weights(query, key, how)
    return torch.bmm(weights.flatten(0, 2).to(value.dtype), value.flatten(0, 2)).view(query.shape)


def dots(query: Tensor, key: Tensor) -> Tensor:
    """q k^T / sqrt(D): (..., K, D), (..., R, D) -> (..., K, R)."""
    scale, nothing = query.shape[-1] ** -0.5, query.new_empty(1)
    query, key, shape = query.flatten(0, -3), key.flatten(0, -3), query.shape[:-1]
    return torch.baddbmm(nothing, query, key.transpose(1, 2), beta=0, alpha=scale).view(*shape, -1)


def _plain(query: Tensor, key: Tensor, how: Weighting) -> Tensor:
    logits, added = dots(query, key), how.added()
    return (logits if added is None else logits.add_(added)).softmax(-1)


def _weights(query: Tensor, key: Tensor, how: Weighting) -> Tensor:
    exists = None if how.mask is None else (how.mask == 0).to(query.dtype)
    if how.post_convolution is None:
        logits = dots(query, key)
    else:
        logits = _post_convolved(query, key, how.post_convolution, how.reach, exists)
    logits = logits if how.bias is None else logits + how.bias.to(logits.dtype)
    logits = logits if how.centre is None else logits + how.centre.logits()
    logits = logits if how.mix is None else mixed(logits, *how.mix)
    if how.softmax:
        return (logits if how.mask is None else logits + how.mask.to(logits.dtype)).softmax(-1)
    return logits if exists is None else logits * exists


def _post_convolved(query: Tensor, key: Tensor, kernel: Tensor, reach: ir.Pair, exists: Tensor | None) -> Tensor:
    """Dot products convolved over the slots of the keys, which stand before those of the queries meanwhile."""
    products = dots(key, query)
    if exists is not None:
        products = products * exists.transpose(2, 3)
    # (G, k, k) -> (k, k, G, h, w, K) for products (B * windows, G, h, w, K)
    weight = kernel.permute(1, 2, 0)[..., None, None, None].to(products.dtype)
    products = products.flatten(0, 1).unflatten(2, reach)
    convolved: Tensor = circular(products, weight, 2)
    return convolved.flatten(2, 3).transpose(2, 3).contiguous().unflatten(0, query.shape[:2])


def mixed(logits: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1x1 convolution over the heads (ResT): (B, windows, G, ...) -> the same."""
    flattened = logits.flatten(3).flatten(0, 1)
    every, bias = weight.to(logits.dtype).expand(len(flattened), -1, -1), bias[:, None].to(logits.dtype)
    return torch.baddbmm(bias, every, flattened).view(logits.shape)
