"""A connection op goes in; its result by gathering neighbours, or one wrong in a named way, comes out.

As in canaries.py, for grids, halos, crosses, pooled maps and the newer weights: each position's neighbours are listed
one by one, gathered, and weighted.

Legend: B batch; N positions; K neighbours; C channels; G kernels, or pairs of channels.
"""

import math
from collections.abc import Mapping
from itertools import product

import torch
import torch.nn.functional as F
from canaries import Pattern
from torch import Tensor

from archspec.ir import Connect, Cross, Full, Point, Predicted, Reduced, Sliding, Static, Window

Parameters = Mapping[str, Tensor]
Place = tuple[int, int]
Neighbour = tuple[Place, int]  # where it stands on the map, or beyond it, and the number of its weight


def _window(op: Connect, space: Window, i: Place, defect: str) -> list[Neighbour]:
    grid, (high, wide), (down, across) = space.grid(op.source), space.size, space.halo
    if space.interlaced and defect != "neighbouring positions":
        window, slot = (i[0] % grid[0], i[1] % grid[1]), (i[0] // grid[0], i[1] // grid[1])
        step, first = grid, window
    else:
        window, slot = (i[0] // high, i[1] // wide), (i[0] % high, i[1] % wide)
        step, first = (1, 1), (window[0] * high - down, window[1] * wide - across)
    if defect == "halo to one side":
        first = (first[0] + down, first[1] + across)
    number = window[1] * grid[0] + window[0] if defect == "windows by column" else window[0] * grid[1] + window[1]
    tall, broad = space.reach
    found = []
    for t, u in product(range(tall), range(broad)):
        here, there = slot[0] * wide + slot[1], t * broad + u
        tie = {"windows": here * tall * broad + there, "none": (number * high * wide + here) * tall * broad + there}
        moved = (t - slot[0] + high - 1, u - slot[1] + wide - 1)
        if defect == "offsets reversed":
            moved = (tall + high - 2 - moved[0], broad + wide - 2 - moved[1])
        tie["offsets"] = moved[0] * (broad + wide - 1) + moved[1]
        place = (first[0] + step[0] * t, first[1] + step[1] * u)
        found.append((place, there if _local(op) else tie[op.share_positions]))
    return found


def _cross(op: Connect, i: Place, defect: str) -> list[Neighbour]:
    height, width = op.source.height, op.source.width
    row = [
        ((i[0], v), 2 * width - 2 - (v - i[1] + width - 1) if defect == "offsets reversed" else v - i[1] + width - 1)
        for v in range(width)
    ]
    column = [
        ((u, i[1]), 2 * width - 1 + u - i[0] + height - 1 - (u > i[0] and defect != "itself in the column"))
        for u in range(height)
        if u != i[0]
    ]
    ordered = [*column, *row] if defect == "column first" else [*row, *column]
    number = i[0] * width + i[1]
    if op.share_positions == "offsets":
        return [(place, min(tie, 2 * width + 2 * height - 4)) for place, tie in ordered]
    return [(place, k if _local(op) else number * len(ordered) + k) for k, (place, _) in enumerate(ordered)]


def _whole(op: Connect, height: int, width: int, i: Place, defect: str) -> list[Neighbour]:
    largest = op.space.largest if isinstance(op.space, Full) and op.space.largest else (height, width)
    number, found = i[0] * op.target.width + i[1], []
    for k, j in enumerate(product(range(height), range(width))):
        tie = (j[0] - i[0] + largest[0] - 1) * (2 * largest[1] - 1) + j[1] - i[1] + largest[1] - 1
        if defect == "table cropped at its corner":
            tie = (j[0] - i[0] + height - 1) * (2 * largest[1] - 1) + j[1] - i[1] + width - 1
        found.append((j, k if _local(op) else tie if op.share_positions == "offsets" else number * height * width + k))
    return found


def _sliding(op: Connect, space: Sliding, i: Place) -> list[Neighbour]:
    number, found = i[0] * op.target.width + i[1], []
    for k, tap in enumerate(product(range(space.size[0]), range(space.size[1]))):
        place = [
            s * p - b + d * t for s, p, b, d, t in zip(space.stride, i, space.before, space.dilation, tap, strict=True)
        ]
        own = _local(op) or op.share_positions == "offsets"
        found.append(((place[0], place[1]), k if own else number * space.taps + k))
    return found


def _neighbours(op: Connect, i: Place, size: Place, defect: str) -> list[Neighbour]:
    if isinstance(op.space, Window):
        return _window(op, op.space, i, defect)
    if isinstance(op.space, Cross):
        return _cross(op, i, defect)
    if isinstance(op.space, Sliding):
        return _sliding(op, op.space, i)
    return [(i, 0)] if isinstance(op.space, Point) else _whole(op, *size, i, defect)


def _local(op: Connect) -> bool:
    return isinstance(op.weights, Predicted) and op.weights.source == "local"


def _reduced(op: Connect, space: Reduced, parameters: Parameters, x: Tensor, defect: str) -> Tensor:
    """What is read instead of x: (B, C, H, W)."""
    norm = [parameters.get(f"reduction.norm.{name}") for name in ("weight", "bias")]
    if space.norm and defect == "normalised before":
        x = F.layer_norm(x, x.shape[3:], *norm)
    x = x.permute(0, 3, 1, 2)
    if space.by == "mean":
        x = F.avg_pool2d(x, space.ratio)
    else:
        bias = None if defect == "reduction without bias" else parameters["reduction.bias"]
        x = F.conv2d(x, parameters["reduction.weight"], bias, stride=space.ratio)
    if not space.norm or defect in ("normalised before", "not normalised"):
        return x
    return F.layer_norm(x.permute(0, 2, 3, 1), norm[0].shape, *norm).permute(0, 3, 1, 2)


def _values(op: Connect, parameters: Parameters, x: Tensor, training: bool, defect: str) -> Tensor:
    """The weight of each number: (B or 1, N or 1, G, numbers)."""
    kernels, weights = math.prod(op.channel_shape), op.weights
    if isinstance(weights, Static):
        return parameters["weight"].reshape(1, 1, kernels, -1)
    assert isinstance(weights, Predicted)
    z = x.mean((1, 2)).unsqueeze(1) if weights.source == "pooled" else x.flatten(1, 2)
    if weights.source == "local" and isinstance(op.space, Sliding) and op.space.stride != (1, 1):
        (down, across), rows, columns = op.space.stride, range(op.target.height), range(op.target.width)
        cut = [x[:, down * r : down * r + down, across * c : across * c + across] for r in rows for c in columns]
        at_corner = defect == "predicted at the corner"
        z = torch.stack([part[:, 0, 0] if at_corner else part.mean((1, 2)) for part in cut], 1)
    h = F.linear(z, parameters["reduce.weight"], parameters.get("reduce.bias"))
    if weights.norm:
        running = [parameters[f"norm.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        h = F.batch_norm(h.flatten(0, 1), *running, training).view(h.shape)
    found = F.linear(getattr(F, weights.act)(h), parameters["predict.weight"], parameters["predict.bias"])
    if defect == "weights of the first sample for all":
        found = found[:1].expand_as(found)
    return found.unflatten(-1, (-1, kernels)).transpose(2, 3)


def gathered(op: Connect, parameters: Parameters, x: Tensor, training: bool, defect: str = "") -> Tensor:
    """The neighbours of every position, gathered, times their weights."""
    assert isinstance(op.weights, Static | Predicted)
    maps = x.permute(0, 3, 1, 2)
    if isinstance(op.space, Reduced):
        maps = _reduced(op, op.space, parameters, x, defect)
    height, width = maps.shape[2:]
    rows, columns = (1, op.target.positions) if op.target.class_tokens else (op.target.height, op.target.width)
    positions = product(range(rows), range(columns))
    listed = [_neighbours(op, i, (height, width), defect) for i in positions]
    inside = [[r * width + c if 0 <= r < height and 0 <= c < width else -1 for (r, c), _ in row] for row in listed]
    keys = F.pad(maps.flatten(2), (0, 1))[:, :, torch.tensor(inside)]  # (B, C, N, K), -1 is the zero at the end
    found = _values(op, parameters, x, training, defect)
    numbers = torch.tensor([[tie for _, tie in row] for row in listed])
    every = found.expand(-1, len(numbers), -1, -1)
    weight = every.gather(3, numbers[None, :, None].expand(len(every), -1, every.shape[2], -1))  # (B, N, G, K)
    if op.weights.normalise and defect != "not a softmax":
        weight = weight.softmax(2 if defect == "softmax over kernels" else 3)
    y = _combined(op, weight, keys, defect)
    if op.bias != "none":
        y = y + (parameters["bias"] if op.bias == "channels" else parameters["bias"][:, None])
    return y.unflatten(1, (rows, columns))


def _combined(op: Connect, weight: Tensor, keys: Tensor, defect: str) -> Tensor:
    """weight (B, N, G, K), keys (B, C, N, K) -> (B, N, C')."""
    if op.channels == "separate":
        weight = weight.repeat_interleave(op.source.channels // weight.shape[2], 2)
        return torch.einsum("bnck,bcnk->bnc", weight.expand(len(keys), -1, -1, -1), keys)
    groups = op.channel_groups
    weight = weight.unflatten(2, op.channel_shape)
    shared = op.share_channels == "all"
    weight = weight.unsqueeze(2).expand(-1, -1, groups, -1, -1, -1) if shared else weight.unflatten(2, (groups, -1))
    keys = (
        keys.unflatten(1, (-1, groups)).transpose(1, 2)
        if defect == "groups interleaved"
        else keys.unflatten(1, (groups, -1))
    )
    return torch.einsum("bngdck,bgcnk->bngd", weight.expand(len(keys), -1, -1, -1, -1, -1), keys).flatten(2)


def _window_of(op: Connect) -> Window | None:
    return op.space if isinstance(op.space, Window) and isinstance(op.weights, Static | Predicted) else None


def _plain(op: Connect) -> bool:
    return isinstance(op.weights, Static | Predicted)


PATTERNS: dict[str, Pattern] = {
    "grid": Pattern(
        gathered,
        lambda op: (space := _window_of(op)) is not None and space.interlaced,
        ("neighbouring positions", "windows by column", "offsets reversed", "groups interleaved"),
    ),
    "halo": Pattern(
        gathered,
        lambda op: (space := _window_of(op)) is not None and space.halo != (0, 0),
        ("halo to one side", "windows by column", "offsets reversed", "groups interleaved"),
    ),
    "cross": Pattern(
        gathered,
        lambda op: isinstance(op.space, Cross) and _plain(op),
        ("itself in the column", "column first", "offsets reversed", "groups interleaved"),
    ),
    "pooled map": Pattern(
        gathered,
        lambda op: isinstance(op.space, Reduced) and _plain(op),
        ("normalised before", "not normalised", "reduction without bias"),
    ),
    "larger table": Pattern(
        gathered,
        lambda op: isinstance(op.space, Full) and op.space.largest is not None and _plain(op),
        ("table cropped at its corner",),
    ),
    "softmax": Pattern(
        gathered,
        lambda op: (
            isinstance(op.weights, Static | Predicted) and op.weights.normalise and isinstance(op.space, Sliding)
        ),
        ("not a softmax", "softmax over kernels"),
    ),
    "local with a stride": Pattern(
        gathered,
        lambda op: isinstance(op.space, Sliding) and op.space.stride != (1, 1) and _local(op),
        ("predicted at the corner",),
    ),
    "dynamic linear": Pattern(
        gathered,
        lambda op: (
            isinstance(op.space, Point)
            and _plain(op)
            and isinstance(op.weights, Predicted)
            and op.channels != "separate"
        ),
        ("weights of the first sample for all", "groups interleaved"),
    ),
}
