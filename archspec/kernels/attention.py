"""Attention over the map, or inside windows (ViT, Swin); (B, H, W, C) -> (B, H, W, C).

Heads are the kernels: D = C / G channels each. The projections of query, key and value are one matrix, as in timm.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from archspec import ir
from archspec.kernels.shapes import Parameters, as_map, flat, with_bias
from archspec.kernels.tables import offset_index, wrap_mask


def over_map(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Every position reads every position, without a relative bias: torch's fused attention."""
    projected = F.linear(flat(x), parameters["projection.weight"], parameters.get("projection.bias"))
    parts = projected.unflatten(-1, (-1, op.kernels, op.source.channels // op.kernels)).permute(2, 0, 3, 1, 4)
    query, key, *values = parts.unbind(0)
    value = values[0] if values else flat(x).unflatten(-1, (op.kernels, -1)).transpose(1, 2).to(query.dtype)
    y = F.scaled_dot_product_attention(query, key, value)
    return with_bias(op, parameters, as_map(y.transpose(1, 2).flatten(2), op.target))


def in_windows(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Windows of a padded, rolled map (or the whole map as one window), with relative bias and mask added as one."""
    x = _laid_out(op, x)
    query, key, value = _projected(op, parameters, x)
    y = _attend(query, key, value, _added(op, parameters, x.device))
    return with_bias(op, parameters, _put_back(op, y, x.shape[1:3]))


def by_head(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """The same for many narrow heads, whose logits would take more memory than an unfolded map: some at a time."""
    x = _laid_out(op, x)
    query, key, value = _projected(op, parameters, x)
    added = _added(op, parameters, x.device)
    together = max(1, op.kernels // 16)
    parts = []
    for first in range(0, op.kernels, together):
        heads = slice(first, first + together)
        bias = added[..., heads if added.shape[-3] > 1 else slice(None), :, :] if added is not None else None
        some = (query[:, :, heads], key[:, :, heads], value[:, :, heads], bias)
        parts.append(checkpoint(_attend, *some, use_reentrant=False, preserve_rng_state=False))
    return with_bias(op, parameters, _put_back(op, torch.cat(parts, 2), x.shape[1:3]))


def _attend(query: Tensor, key: Tensor, value: Tensor, added: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(D) + added) v: (B, windows, G, K, D) each."""
    scale = query.shape[-1] ** -0.5
    nothing = query.new_empty(1)
    logits = torch.baddbmm(nothing, query.flatten(0, 2), key.flatten(0, 2).transpose(1, 2), beta=0, alpha=scale)
    logits = logits.view(*query.shape[:4], -1)
    weights = (logits if added is None else logits.add_(added)).softmax(-1)
    return torch.bmm(weights.flatten(0, 2), value.flatten(0, 2)).view(query.shape)


def _laid_out(op: ir.Connect, x: Tensor) -> Tensor:
    """The map padded to whole windows and rolled so that windows start at 0."""
    space = op.space
    if not isinstance(space, ir.Window):
        return x
    height, width = space.padded(op.source)
    if (height, width) != (op.source.height, op.source.width):
        x = F.pad(x, (0, 0, 0, width - op.source.width, 0, height - op.source.height))
    return x.roll((-space.shift[0], -space.shift[1]), (1, 2)) if space.shift != (0, 0) else x


def _put_back(op: ir.Connect, y: Tensor, whole: tuple[int, ...]) -> Tensor:
    """(B, windows, G, K, D) -> the outgoing map: the inverse of `_laid_out` and of cutting windows and heads."""
    space = op.space
    if not isinstance(space, ir.Window):
        return as_map(y.squeeze(1).transpose(1, 2).flatten(2), op.target)
    high, wide = space.size
    y = y.unflatten(3, space.size).unflatten(1, (whole[0] // high, whole[1] // wide))
    # (B, rows, columns, G, h, w, D) -> (B, rows, h, columns, w, G, D)
    y = y.permute(0, 1, 4, 2, 5, 3, 6).reshape(len(y), *whole, -1)
    y = y.roll(space.shift, (1, 2)) if space.shift != (0, 0) else y
    if tuple(whole) != (op.target.height, op.target.width):
        y = y[:, : op.target.height, : op.target.width].contiguous()
    return y


def _projected(op: ir.Connect, parameters: Parameters, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value by window and head: (B, windows, G, K, D) each."""
    projected = F.linear(x, parameters["projection.weight"], parameters.get("projection.bias"))
    query, key, *value = _by_head(op, projected)
    return query, key, value[0] if value else _by_head(op, x)[0].to(query.dtype)


def _by_head(op: ir.Connect, x: Tensor) -> Tensor:
    """(B, H, W, P * C) -> (P, B, windows, G, K, D), windows and heads cut in one copy."""
    parts = (x.shape[-1] // op.source.channels, op.kernels, op.source.channels // op.kernels)
    if not isinstance(op.space, ir.Window):
        x = flat(x).unsqueeze(1).unflatten(-1, parts)
        return x.permute(3, 0, 1, 4, 2, 5).contiguous()
    high, wide = op.space.size
    x = x.unflatten(3, parts).unflatten(2, (-1, wide)).unflatten(1, (-1, high))
    # (B, rows, h, columns, w, P, G, D) -> (P, B, rows, columns, G, h, w, D)
    return x.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(5, 6).flatten(2, 3)


def _added(op: ir.Connect, parameters: Parameters, device: torch.device) -> Tensor | None:
    """What is added to the logits: relative bias (G, K, K), mask (windows, 1, K, K), their sum, or nothing."""
    mask = wrap_mask(op.space, op.source, device) if isinstance(op.space, ir.Window) else None
    assert isinstance(op.weights, ir.Attention)
    if not op.weights.relative_bias:
        return mask
    # The table is indexed by query minus key (timm's Swin): the transpose of the index of j - i.
    index = offset_index(op.extent, device).T
    table = parameters["relative_bias"]
    bias: Tensor = table.index_select(0, index.flatten()).T.unflatten(1, index.shape)
    return bias if mask is None else bias + mask
