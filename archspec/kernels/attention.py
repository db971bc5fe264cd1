"""Attention over the map, a reduced map, or inside windows (ViT, PVT, Swin); (B, H, W, C) -> (B, H, W, C).

Heads are the kernels: D = C / G channels each. K queries of a window, R keys that it reads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from archspec import ir
from archspec.kernels.attention_projection import apart, by_window, finished, projections, put_back, sources
from archspec.kernels.attention_weights import attend, weighting
from archspec.kernels.shapes import Parameters, as_map, flat

PARTS = 16


def over_map(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Nothing stands between dot products and softmax: torch's fused attention."""
    heads = (-1, op.kernels, op.source.channels // op.kernels)
    parts: list[Tensor] = []
    for projected in projections(op, parameters, sources(op, parameters, x)):
        parts += apart(flat(projected).unflatten(-1, heads).permute(2, 0, 3, 1, 4), 0)
    query, key, value = parts
    y = F.scaled_dot_product_attention(query, key, value)
    return finished(op, parameters, as_map(y.transpose(1, 2).flatten(2), op.target))


def in_windows(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Windows of a padded, rolled map, or the whole map as one window."""
    maps = sources(op, parameters, x)
    query, key, value = by_window(op, parameters, maps)
    return put_back(op, parameters, attend(query, key, value, weighting(op, parameters, maps.centre)))


def in_parts(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """The same for many narrow heads, whose logits would take more memory than an unfolded map: some at a time."""
    maps = sources(op, parameters, x)
    query, key, value = by_window(op, parameters, maps)
    how = weighting(op, parameters, maps.centre)
    parts, along = [], 1 if query.shape[1] > 1 else 3
    for windows, slots in _parts(op, query):
        some = (query[:, windows, :, slots], key[:, windows], value[:, windows], how.part(windows, slots))
        parts.append(checkpoint(attend, *some, use_reentrant=False, preserve_rng_state=False))
    return put_back(op, parameters, torch.cat(parts, along))


def _parts(op: ir.Connect, query: Tensor) -> list[tuple[slice, slice]]:
    """Some windows each, or of a single one some queries each: whole rows of them, as `Centre` wants it."""
    windows, slots = query.shape[1], query.shape[3]
    if windows > 1:
        step = -(-windows // PARTS)
        return [(slice(first, first + step), slice(None)) for first in range(0, windows, step)]
    row = op.extent[1] if op.extent[0] > 1 and not op.source.class_tokens else 1
    step = -(-slots // (PARTS * row)) * row
    return [(slice(None), slice(first, first + step)) for first in range(0, slots, step)]
