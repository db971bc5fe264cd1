"""The ops around connections go in; what they do to (B, N, C) features comes out, position by position.

Legend: B batch; H, W height and width; N positions; C channels.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from archspec import ir
from archspec.reference.pointwise import Parameters, activation, batch_norm, layer_norm


def step(op: ir.Op, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """y (B, N', C') of any op that is no connection and holds no other ops."""
    if isinstance(op, ir.Norm):
        return _norm(op, parameters, x, training)
    if isinstance(op, ir.DropPath):
        return drop_path(op, x, training)
    if isinstance(op, ir.ClassToken):
        token = parameters["weight"].expand(x.shape[0], 1, -1)
        return torch.cat([token, x], dim=1)
    if isinstance(op, ir.PositionEmbedding):
        return x + parameters["weight"]
    if isinstance(op, ir.Scale):
        return x * parameters["weight"]
    without_parameters = _WITHOUT_PARAMETERS.get(type(op))
    if without_parameters is None:
        raise ValueError(f"the oracle does not know {type(op).__name__}")
    return without_parameters(op, x)


def _norm(op: ir.Norm, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    if op.kind == "layer":
        return layer_norm(x, parameters, op.eps)
    if op.kind == "batch":
        if op.centring:
            x = x + parameters["centring.weight"] * x.sum(dim=1, keepdim=True) / x.shape[1]
        return batch_norm(x, parameters, "", op.eps, training)
    return x * parameters["weight"] + parameters["bias"]


def drop_path(op: ir.DropPath, x: Tensor, training: bool, keep: Tensor | None = None) -> Tensor:
    """While training, drop samples of x (B, N, C) and divide the others by the share kept on average.

    `keep` (B,) says which samples stay; left out, each stays with probability 1 - rate.
    """
    if not training or not op.rate:
        return x
    if keep is None:
        keep = torch.rand(x.shape[0], device=x.device) >= op.rate
    return x * keep[:, None, None].to(x.dtype) / (1 - op.rate)


def _activation(op: ir.Activation, x: Tensor) -> Tensor:
    return activation(op.kind, x)


def _gather(op: ir.Gather, x: Tensor) -> Tensor:
    """Channel (column * size + row) * C + c of a patch is channel c at that row and column of it."""
    source, target, size = op.source, op.target, op.size
    y = []
    for row in range(target.height):
        for column in range(target.width):
            parts = []
            for right in range(size):
                for down in range(size):
                    i, j = row * size + down, column * size + right
                    inside = i < source.height and j < source.width
                    there = x[:, i * source.width + j] if inside else torch.zeros_like(x[:, 0])
                    parts.append(there)
            y.append(torch.cat(parts, dim=-1))
    return torch.stack(y, dim=1)


def _pool(op: ir.Pool, x: Tensor) -> Tensor:
    if op.kind == "class_token":
        return x[:, :1]
    positions = list(x.unbind(1))[op.source.class_tokens :]
    return _most(positions) if op.kind == "max" else (sum(positions[1:], positions[0]) / len(positions))[:, None]


def _most(positions: list[Tensor]) -> Tensor:
    largest = positions[0]
    for other in positions[1:]:
        largest = torch.where(other > largest, other, largest)
    return largest[:, None]


def _sliding_pool(op: ir.SlidingPool, x: Tensor) -> Tensor:
    """Window (i, j) holds the positions stride * (i, j) - before + (0, 0) up to the size that are on the map."""
    space, source = op.space, op.source
    y = []
    for i in range(op.target.height):
        for j in range(op.target.width):
            top, left = space.stride[0] * i - space.before[0], space.stride[1] * j - space.before[1]
            rows = [row for row in range(top, top + space.size[0]) if 0 <= row < source.height]
            columns = [column for column in range(left, left + space.size[1]) if 0 <= column < source.width]
            there = [x[:, row * source.width + column] for row in rows for column in columns]
            if op.kind == "max":
                y.append(_most(there)[:, 0])
            else:
                count = space.size[0] * space.size[1] if op.count_padding else len(there)
                y.append(sum(there[1:], there[0]) / count)
    return torch.stack(y, dim=1)


def _map_only(op: ir.MapOnly, x: Tensor) -> Tensor:
    return x[:, op.source.class_tokens :]


def _shuffle(op: ir.Shuffle, x: Tensor) -> Tensor:
    """Channel number c of group g becomes number g of group c."""
    width = x.shape[-1] // op.groups
    where = [group * width + number for number in range(width) for group in range(op.groups)]
    return x[..., where]


def _resize(op: ir.Resize, x: Tensor) -> Tensor:
    """Both directions are one small matrix each: y = rows X columns^T."""
    between = _nearest if op.kind == "nearest" else _bilinear
    rows = between(op.source.height, op.target.height).to(x)
    columns = between(op.source.width, op.target.width).to(x)
    maps = x.unflatten(1, (op.source.height, op.source.width))
    return torch.einsum("ih,jw,bhwc->bijc", rows, columns, maps).flatten(1, 2)


def _nearest(old: int, new: int) -> Tensor:
    """Position i of the new row is position floor(i * old / new) of the old one."""
    matrix = torch.zeros(new, old, dtype=torch.float64)
    for i in range(new):
        matrix[i, i * old // new] = 1
    return matrix


def _bilinear(old: int, new: int) -> Tensor:
    """Centres of positions are at their number plus one half; beyond the outer centres the value stays what it is."""
    matrix = torch.zeros(new, old, dtype=torch.float64)
    for i in range(new):
        place = min(max((i + 0.5) * old / new - 0.5, 0), old - 1)
        first = min(int(place), max(old - 2, 0))
        matrix[i, first] += 1 - (place - first)
        matrix[i, min(first + 1, old - 1)] += place - first
    return matrix


def _multiply(op: ir.Multiply, x: Tensor) -> Tensor:
    return x * op.factor


_WITHOUT_PARAMETERS: dict[type[ir.Op], Callable[..., Tensor]] = {
    ir.Activation: _activation,
    ir.Gather: _gather,
    ir.Pool: _pool,
    ir.SlidingPool: _sliding_pool,
    ir.MapOnly: _map_only,
    ir.Shuffle: _shuffle,
    ir.Resize: _resize,
    ir.Multiply: _multiply,
}
