"""Each position attends to its row and its column (criss-cross), by one softmax over both; (B, H, W, C) -> the same.

A position stands in both. It is read with the row; in the column it is masked.
Legend: G heads of D = C / G channels; T = W + H entries of a position: its row, then its column.
"""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from archspec import ir
from archspec.kernels.attention_projection import Sources, apart, finished, options, pre_convolved, projections
from archspec.kernels.attention_weights import at_all_offsets, at_keys, dots, mixed
from archspec.kernels.shapes import Parameters
from archspec.kernels.tables import MASKED, cross_offsets, laid_out

PARTS = 16


def over_cross(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """All rows at once; or some at a time, where heads are so many that all logits would outgrow an unfolded map."""
    z, height = pre_convolved(op, parameters, x), op.source.height
    query, key, value = _by_head(op, parameters, Sources(z, z, x, x))
    if 4 * op.kernels <= op.source.channels:
        y = _attend(op, parameters, query, key, value, x, 0)
    else:
        step, parts = -(-height // PARTS), []
        for first in range(0, height, step):
            rows = slice(first, first + step)
            given = (op, parameters, query[:, rows], key, value, x[:, rows], first)
            parts.append(checkpoint(_attend, *given, use_reentrant=False, preserve_rng_state=False))
        y = torch.cat(parts, 1)
    return finished(op, parameters, y.flatten(3))


def _attend(
    op: ir.Connect, parameters: Parameters, query: Tensor, key: Tensor, value: Tensor, x: Tensor, first: int
) -> Tensor:
    """Some rows of queries (B, R, W, G, D), their x (B, R, W, C) and all keys and values -> (B, R, W, G, D)."""
    rows = slice(first, first + query.shape[1])
    along_row = dots(_rows(query), _rows(key[:, rows]))
    down_column = dots(_columns(query), _columns(key))
    if options(op).relative_bias:
        row_bias, column_bias = _relative_bias(op, parameters["relative_bias"])
        along_row, down_column = along_row + row_bias, down_column + column_bias[:, rows]
    if options(op).centre:
        row_centre, column_centre = _centre(op, parameters["centre.weight"], x, first)
        along_row, down_column = along_row + row_centre, down_column + column_centre
    logits = torch.cat([along_row, down_column.transpose(1, 3)], -1)  # (B, R, G, W, T)
    weights = _weights(op, parameters, logits, first)
    row_weights, column_weights = weights.split((op.source.width, op.source.height), -1)
    y = torch.matmul(row_weights, _rows(value[:, rows])).transpose(2, 3)
    return y + torch.matmul(column_weights.transpose(1, 3), _columns(value)).permute(0, 3, 1, 2, 4)


def _weights(op: ir.Connect, parameters: Parameters, logits: Tensor, first: int) -> Tensor:
    """(B, R, G, W, T) both: heads mixed, the position itself taken out of its column, softmax."""
    if options(op).mix_heads:
        logits = mixed(logits, parameters["mix_heads.weight"], parameters["mix_heads.bias"])
    row = torch.arange(logits.shape[1], device=logits.device) + first + op.source.width
    itself = (row[:, None] == torch.arange(logits.shape[-1], device=logits.device))[:, None, None]
    if options(op).softmax:
        return logits.masked_fill(itself, MASKED).softmax(-1)
    return logits.masked_fill(itself, 0.0)


def _relative_bias(op: ir.Connect, table: Tensor) -> tuple[Tensor, Tensor]:
    """(G, W, W) and (G, H, H), of a table by query minus key: the transpose of key minus query."""
    rows, columns = cross_offsets(op.source, table.device)
    itself = table.new_zeros(1, table.shape[1])  # which is masked
    along_row = laid_out(table, 0, rows.T)
    down_column = laid_out(torch.cat([table, itself]), 0, columns.T)
    return along_row.permute(2, 0, 1), down_column.permute(2, 0, 1)


def _centre(op: ir.Connect, theta: Tensor, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """(B, R, G, W, W) and (B, W, G, R, H)."""
    height, width = op.source.height, op.source.width
    across, down = theta.split((2 * width - 1, 2 * height - 2))
    along_row = at_keys(at_all_offsets(x, across), width, (1, width), (0, width - 1), 2 * width - 1)
    below, above = at_all_offsets(x.transpose(1, 2), down).chunk(2, -1)
    every = torch.cat([below, torch.zeros_like(below[..., :1]), above], -1)
    return along_row, at_keys(every, height, (1, height), (0, height - 1), 2 * height - 1, first)


def _by_head(op: ir.Connect, parameters: Parameters, maps: Sources) -> list[Tensor]:
    """Query, key and value, (B, H, W, G, D) each."""
    parts: list[Tensor] = []
    for projected in projections(op, parameters, maps):
        parts += apart(projected.unflatten(-1, (-1, op.kernels, op.source.channels // op.kernels)), 3)
    return parts


def _rows(x: Tensor) -> Tensor:
    """(B, H, W, G, D) -> (B, H, G, W, D)."""
    return x.transpose(2, 3)


def _columns(x: Tensor) -> Tensor:
    """(B, H, W, G, D) -> (B, W, G, H, D)."""
    return x.permute(0, 2, 3, 1, 4)
