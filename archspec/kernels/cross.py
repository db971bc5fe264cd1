"""Each position reads its row and its column (criss-cross); (B, H, W, C) -> (B, H, W, C').

Two matrices: one along the rows, whose neighbours are v, and one along the columns, whose neighbours are u. A position
stands in both; it is read with the row, and what the matrix of the column has for it is zero.
Legend: g groups of channels, d and c outgoing and incoming channels of a group; weights are in a kernel's own order.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from archspec import ir
from archspec.kernels.inside import inside_mixing
from archspec.kernels.predictor import hidden, pooled
from archspec.kernels.shapes import Parameters, across_channels, under_autocast, with_bias
from archspec.kernels.tables import cross_offsets, laid_out

Matrices = tuple[Tensor, Tensor]


def static(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """weight: (G, N, W + H - 1), or (G, offsets), without G when all channels share."""
    weight = across_channels(op, parameters["weight"])
    if op.share_positions == "offsets":
        rows, columns = _along(op, weight, 1)
        return _apply(op, parameters, x, (rows, columns), ("gwv,bhvgm->bhwgm", "ghu,buwgm->bhwgm"))
    return _apply(op, parameters, x, _by_place(op, weight), ("ghwv,bhvgm->bhwgm", "gwhu,buwgm->bhwgm"))


def dense(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Channels mixed too. weight: (C', C/g, N, W + H - 1), or (C'/g, ...) when groups share."""
    weight, groups = parameters["weight"], op.channel_groups
    every = op.share_channels == "all"
    weight = weight.expand(groups, *weight.shape) if every else weight.unflatten(0, (groups, -1))
    equations = ("gdchwv,bhvgc->bhwgd", "gdcwhu,buwgc->bhwgd")
    return _apply(op, parameters, x, _by_place(op, weight), equations)


def dense_offsets(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """The same, shared over offsets: a row, and a column, is a window of its own. weight: (C', C/g, offsets)."""
    weight, x = under_autocast(parameters["weight"], x)
    if op.share_channels == "all":
        weight = weight.repeat(op.channel_groups, 1, 1)
    batch, height, width, _ = x.shape
    rows, before, after = weight.split((2 * width - 1, height - 1, height - 1), -1)
    columns = torch.cat([before, weight.new_zeros(()).expand_as(weight[..., :1]), after], -1)
    y = inside_mixing(x.flatten(0, 1).unsqueeze(1), rows.unsqueeze(2), 1, width, op.channel_groups, width)
    z = inside_mixing(
        x.transpose(1, 2).flatten(0, 1).unsqueeze(2), columns.unsqueeze(3), height, 1, op.channel_groups, height
    )
    y, z = y.view(batch, height, width, -1), z.view(batch, width, height, -1).transpose(1, 2)
    return with_bias(op, parameters, y + z)


def from_pooled(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """One pair of matrices per image, over offsets."""
    matrices = _along(op, pooled(op, parameters, x, training), 1)
    return _apply(op, parameters, x, matrices, ("bwvg,bhvgm->bhwgm", "bhug,buwgm->bhwgm"))


def from_positions(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Each position predicts the weights of what it reads.

    Where kernels are so many that all predicted weights would be an unfolded map, some are predicted at a time, and
    predicted again for the backward pass.
    """
    assert isinstance(op.weights, ir.Predicted)
    h = hidden(op.weights, parameters, x, training)
    weight = parameters["predict.weight"].unflatten(0, (-1, op.kernels))
    bias = parameters["predict.bias"].unflatten(0, (-1, op.kernels))
    channels = x.unflatten(-1, (op.kernels, -1))
    if 4 * op.kernels <= op.source.channels:
        y = _predicted(op, h, weight, bias, channels)
    else:
        parts, together = [], -(-op.kernels // 16)
        for first in range(0, op.kernels, together):
            some = slice(first, first + together)
            given = (op, h, weight[:, some], bias[:, some], channels[..., some, :])
            parts.append(checkpoint(_predicted, *given, use_reentrant=False, preserve_rng_state=False))
        y = torch.cat(parts, 3)
    return with_bias(op, parameters, y.flatten(3))


def _predicted(op: ir.Connect, h: Tensor, weight: Tensor, bias: Tensor, channels: Tensor) -> Tensor:
    """h (B, H, W, D), weight (K, G, D), channels (B, H, W, G, M) -> (B, H, W, G, M)."""
    # Kernels before neighbours: a row of the matrix is then contiguous.
    predicted = F.linear(h, weight.transpose(0, 1).flatten(0, 1), bias.T.flatten()).unflatten(-1, (-1, len(weight)))
    assert isinstance(op.weights, ir.Predicted)
    if op.weights.normalise:
        predicted = predicted.softmax(-1)
    rows, columns = predicted.split((op.source.width, op.source.height - 1), -1)
    columns = _with_diagonal(columns.permute(0, 2, 3, 1, 4))
    y = torch.einsum("bhwgv,bhvgm->bhwgm", rows, channels)
    return y + torch.einsum("bwghu,buwgm->bhwgm", columns, channels)


def _apply(op: ir.Connect, parameters: Parameters, x: Tensor, matrices: Matrices, equations: tuple[str, str]) -> Tensor:
    groups = op.kernels if op.channels == "separate" else op.channel_groups
    channels = x.unflatten(-1, (groups, -1))
    along_rows, along_columns = (torch.einsum(e, m, channels) for e, m in zip(equations, matrices, strict=True))
    return with_bias(op, parameters, (along_rows + along_columns).flatten(3))


def _along(op: ir.Connect, table: Tensor, axis: int) -> Matrices:
    """A table over the offsets of a cross, on one axis, as (..., W, W, ...) and (..., H, H, ...)."""
    rows, columns = cross_offsets(op.source, table.device)
    nothing = table.new_zeros(()).expand_as(table.narrow(axis, 0, 1))
    return laid_out(table, axis, rows), laid_out(torch.cat([table, nothing], axis), axis, columns)


def _by_place(op: ir.Connect, weight: Tensor) -> Matrices:
    """(..., N, W + H - 1) as (..., H, W, W) and (..., W, H, H)."""
    rows, columns = weight.unflatten(-2, (op.source.height, -1)).split((op.source.width, op.source.height - 1), -1)
    return rows, _with_diagonal(columns.transpose(-2, -3))


def _with_diagonal(columns: Tensor) -> Tensor:
    """(..., H, H - 1), each row without its own entry -> (..., H, H), with zero for it."""
    height = columns.shape[-2]
    # Read row by row, zeros stand first, and then after every H entries.
    spread = F.pad(columns.flatten(-2).unflatten(-1, (height - 1, height)), (0, 1)).flatten(-2)
    return F.pad(spread, (1, 0)).unflatten(-1, (height, height))
