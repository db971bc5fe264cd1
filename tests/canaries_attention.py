"""An attention op goes in; its result by gathering neighbours, or one wrong in a named way, comes out.

As in canaries.py: each kernel is right with no defect and wrong in one way with one. Each position's neighbours are
listed one by one; keys and values are gathered for every query, and every option of attention is a line of its own.

Legend: B batch; N queries; K neighbours; C channels; G heads of D channels.
"""

from collections.abc import Mapping
from itertools import product

import torch
import torch.nn.functional as F
from canaries import Pattern
from torch import Tensor

from archspec.ir import Attention, Connect, Cross, Full, Reduced, Sliding, Window

Parameters = Mapping[str, Tensor]
Place = tuple[int, int]
Neighbour = tuple[Place | None, int]  # where it stands, perhaps beyond the map; None: not there. Row of a table


def _axis(space: Window, axis: int, extent: int, p: int, defect: str) -> list[tuple[int, int, bool]]:
    """What a position of a window reads along an axis: where, how far before it, and whether it may."""
    size, halo, shift = space.size[axis], space.halo[axis], space.shift[axis]
    length = -(-extent // size) * size
    if space.interlaced and defect != "neighbouring positions":
        step = length // size
        return [(p % step + step * t, p // step - t, True) for t in range(size)]
    if halo:
        first = p // size * size - (2 * halo if defect == "halo to one side" else halo)
        return [(first + t, p % size + halo - t, True) for t in range(size + 2 * halo)]
    moved = (p - shift) % length
    there = [(moved // size * size + t + shift) % length for t in range(size)]
    return [(q, moved % size - t, (q < shift) == (p < shift)) for t, q in enumerate(there)]


def _in_window(op: Connect, space: Window, i: Place, defect: str) -> list[Neighbour]:
    height, width = op.source.height, op.source.width
    masked = space.masked != (defect == "padding the other way")
    found: list[Neighbour] = []
    along = [_axis(space, axis, extent, i[axis], defect) for axis, extent in enumerate((height, width))]
    for (row, down, may), (column, across, too) in product(*along):
        there = may and too and (not masked or (0 <= row < height and 0 <= column < width))
        found.append(((row, column) if there else None, _row(op, down, across, defect)))
    return found


def _row(op: Connect, down: int, across: int, defect: str) -> int:
    """The row of a table by query minus key."""
    if defect == "offsets reversed":
        down, across = -down, -across
    return (down + op.farthest[0]) * op.offsets[1] + across + op.farthest[1]


def _crossed(op: Connect, i: Place, defect: str) -> list[Neighbour]:
    height, width = op.source.height, op.source.width
    sign = -1 if defect == "offsets reversed" else 1
    found: list[Neighbour] = [((i[0], v), sign * (i[1] - v) + width - 1) for v in range(width)]
    for u in range(height):
        away = sign * (i[0] - u)
        if u != i[0] or defect == "itself twice":
            found.append(((u, i[1]), 2 * width - 2 + away + height - (away > 0)))
    return found


def _neighbours(op: Connect, i: Place, defect: str) -> list[Neighbour]:
    space, places = op.space, product(range(op.source.height), range(op.source.width))
    if isinstance(space, Window):
        return _in_window(op, space, i, defect)
    if isinstance(space, Cross):
        return _crossed(op, i, defect)
    if isinstance(space, Full):
        return [((u, v), _row(op, i[0] - u, i[1] - v, defect)) for u, v in places]
    assert isinstance(space, Sliding)
    found: list[Neighbour] = []
    for tap, (t, u) in enumerate(product(range(space.size[0]), range(space.size[1]))):
        row = i[0] - space.before[0] + space.dilation[0] * t
        column = i[1] - space.before[1] + space.dilation[1] * u
        there = (0 <= row < op.source.height and 0 <= column < op.source.width) or defect == "zeros beyond the border"
        found.append(((row, column) if there else None, space.taps - 1 - tap if defect == "offsets reversed" else tap))
    return found


def _tables(op: Connect, defect: str) -> tuple[Tensor, Tensor, Tensor]:
    """(N, K) each: the key's number, one past the map where it is padding; whether it exists; its row of a table."""
    height, width = op.source.height, op.source.width
    if isinstance(op.space, Reduced) or op.source.class_tokens:
        index = torch.arange(op.neighbours).expand(op.target.positions, -1)
        return index, torch.ones_like(index, dtype=torch.bool), torch.zeros_like(index)
    listed = [_neighbours(op, (r, c), defect) for r in range(height) for c in range(width)]

    def number(place: Place | None) -> int:
        inside = place is not None and 0 <= place[0] < height and 0 <= place[1] < width
        return place[0] * width + place[1] if place is not None and inside else height * width

    index = torch.tensor([[number(place) for place, _ in some] for some in listed])
    exists = torch.tensor([[place is not None for place, _ in some] for some in listed])
    return index, exists, torch.tensor([[row for _, row in some] for some in listed])


def _convolved(op: Connect, parameters: Parameters, x: Tensor) -> Tensor:
    assert isinstance(op.weights, Attention)
    options, channels = op.weights.pre_convolution, op.source.channels
    if options is None:
        return x
    weight = parameters["pre_convolution.weight"]
    groups = 1 if options.channels == "full" else channels
    weight = weight if groups == 1 else weight.expand(channels, -1, -1)[:, None]
    return F.conv2d(x.permute(0, 3, 1, 2), weight, None, 1, options.size // 2, 1, groups).permute(0, 2, 3, 1)


def _reduced(op: Connect, space: Reduced, parameters: Parameters, x: Tensor, defect: str) -> Tensor:
    x = x.permute(0, 3, 1, 2)
    if space.by == "mean":
        x = F.avg_pool2d(x, space.ratio)
    else:
        x = F.conv2d(x, parameters["reduction.weight"], parameters["reduction.bias"], space.ratio)
    x = x.permute(0, 2, 3, 1)
    if not space.norm or defect == "not normalised":
        return x
    return F.layer_norm(x, x.shape[3:], parameters["reduction.norm.weight"], parameters["reduction.norm.bias"])


def _project(op: Connect, parameters: Parameters, x: Tensor, part: int) -> Tensor:
    """(..., C) -> (..., G, D)."""
    rows, bias = slice(part * op.source.channels, (part + 1) * op.source.channels), parameters.get("projection.bias")
    y = F.linear(x, parameters["projection.weight"][rows], None if bias is None else bias[rows])
    return y.unflatten(-1, (op.kernels, -1))


def _circular(op: Connect, kernels: Tensor, logits: Tensor, defect: str) -> Tensor:
    """Eq. 23, (B, N, G, K) both."""
    half, area = kernels.shape[-1] // 2, logits.unflatten(-1, op.area)
    if defect == "post-convolution ends at the border":
        area = F.conv2d(area.flatten(0, 1), kernels[:, None], padding=half, groups=op.kernels)
        return area.flatten(2).unflatten(0, logits.shape[:2])
    kernels = kernels.flip(1, 2) if defect == "post-convolution flipped" else kernels
    moves = product(range(-half, half + 1), repeat=2)
    moved = (kernels[:, u + half, v + half, None, None] * area.roll((-u, -v), (-2, -1)) for u, v in moves)
    return torch.stack(list(moved)).sum(0).flatten(-2)


def _logits(
    op: Connect, parameters: Parameters, logits: Tensor, x: Tensor, tables: list[Tensor], defect: str
) -> Tensor:
    """What stands between dot products and softmax, (B, N, G, K); x (B, N, C) of the queries."""
    weights, (index, exists, rows) = op.weights, tables
    assert isinstance(weights, Attention)
    bias = parameters["relative_bias"][rows].transpose(1, 2) if weights.relative_bias else logits.new_zeros(())
    early = defect == "bias before the post-convolution"
    if weights.post_convolution:
        logits = logits + bias if early else logits
        there = exists[:, None] | (defect == "post-convolution of what does not exist")
        logits = _circular(op, parameters["post_convolution.weight"], logits * there, defect)
    logits = logits if early else logits + bias
    if weights.centre:
        asked = F.pad(x, (0, 0, 0, 1))[:, index] if defect == "centre of the key" else x[:, :, None]
        asked = asked.expand(-1, -1, rows.shape[1], -1)
        logits = logits + torch.einsum("nkgc,bnkc->bngk", parameters["centre.weight"][rows], asked)
    return logits


def attended(op: Connect, parameters: Parameters, x: Tensor, training: bool, defect: str = "") -> Tensor:
    """Attention of every space with every option."""
    z = _convolved(op, parameters, x)
    read, seen = (x, z) if not isinstance(op.space, Reduced) else (_reduced(op, op.space, parameters, x, defect),) * 2
    read = z if defect == "values convolved too" else read
    first = int(defect == "another position asks") * op.token_asks
    some = slice(first, first + op.target.positions)
    asking, convolved = x.flatten(1, 2)[:, some], z.flatten(1, 2)[:, some]
    query = _project(op, parameters, asking if defect == "queries not convolved" else convolved, 0)
    tables = [table.to(x.device) for table in _tables(op, defect)]
    # One more position, beyond the map: zero before projections.
    key = _project(op, parameters, F.pad(seen.flatten(1, 2), (0, 0, 0, 1)), 1)[:, tables[0]]
    logits = torch.einsum("bngd,bnkgd->bngk", query * query.shape[-1] ** -0.5, key)
    attention = _normalised(op, parameters, _logits(op, parameters, logits, asking, tables, defect), tables[1], defect)
    y = torch.einsum("bngk,bnkgd->bngd", attention, _values(op, parameters, read)[:, tables[0]])
    return finished(op, parameters, y.flatten(2), defect)


def _values(op: Connect, parameters: Parameters, x: Tensor) -> Tensor:
    """(B, M + 1, G, D), the last one beyond the map."""
    assert isinstance(op.weights, Attention)
    value = F.pad(x.flatten(1, 2), (0, 0, 0, 1))
    return _project(op, parameters, value, 2) if op.weights.value else value.unflatten(-1, (op.kernels, -1))


def _normalised(op: Connect, parameters: Parameters, logits: Tensor, exists: Tensor, defect: str) -> Tensor:
    weights = op.weights
    assert isinstance(weights, Attention)
    mix = weights.mix_heads and defect != "mixed after the softmax"
    late = weights.mix_heads and not mix
    logits = _mixed(parameters, logits, defect) if mix else logits
    if weights.softmax or defect == "softmax all the same":
        logits = logits.masked_fill(~exists[:, None], -1e9).softmax(-1)
    else:
        logits = logits * (exists[:, None] | (defect == "what does not exist is read"))
    return _mixed(parameters, logits, defect) if late else logits


def _mixed(parameters: Parameters, logits: Tensor, defect: str) -> Tensor:
    weight = parameters["mix_heads.weight"].T if defect == "mixed transposed" else parameters["mix_heads.weight"]
    mixed = torch.einsum("hg,bngk->bnhk", weight, logits)
    return mixed if defect == "mixed without bias" else mixed + parameters["mix_heads.bias"][:, None]


def finished(op: Connect, parameters: Parameters, y: Tensor, defect: str) -> Tensor:
    if isinstance(op.weights, Attention) and op.weights.output:
        weight = parameters["output.weight"].T if defect == "output transposed" else parameters["output.weight"]
        y = F.linear(y, weight, None if defect == "output without bias" else parameters.get("output.bias"))
    target = op.target
    y = y.unflatten(1, (1, -1) if target.class_tokens else (target.height, target.width))
    if op.bias == "none":
        return y
    return y + (parameters["bias"] if op.bias == "channels" else parameters["bias"].reshape(*y.shape[1:3], 1))


def _attention(op: Connect) -> Attention | None:
    return op.weights if isinstance(op.weights, Attention) else None


def _has(op: Connect, name: str) -> bool:
    return bool(getattr(_attention(op), name, False))


PATTERNS: dict[str, Pattern] = {
    "attention in grids": Pattern(
        attended,
        lambda op: _attention(op) is not None and isinstance(op.space, Window) and op.space.interlaced,
        ("neighbouring positions", "offsets reversed", "padding the other way"),
    ),
    "attention with a halo": Pattern(
        attended,
        lambda op: _attention(op) is not None and isinstance(op.space, Window) and op.space.halo != (0, 0),
        ("halo to one side", "offsets reversed", "padding the other way"),
    ),
    "sliding attention": Pattern(
        attended,
        lambda op: _attention(op) is not None and isinstance(op.space, Sliding),
        ("zeros beyond the border", "offsets reversed"),
    ),
    "attention over a cross": Pattern(
        attended,
        lambda op: _attention(op) is not None and isinstance(op.space, Cross),
        ("itself twice", "offsets reversed"),
    ),
    "attention to a pooled map": Pattern(
        attended, lambda op: _attention(op) is not None and isinstance(op.space, Reduced), ("not normalised",)
    ),
    "attention of a class token": Pattern(attended, lambda op: op.token_asks, ("another position asks",)),
    "output projection": Pattern(attended, lambda op: _has(op, "output"), ("output transposed", "output without bias")),
    "attention without softmax": Pattern(
        attended,
        lambda op: _attention(op) is not None and not _has(op, "softmax"),
        ("softmax all the same", "what does not exist is read"),
    ),
    "centre": Pattern(attended, lambda op: _has(op, "centre"), ("centre of the key", "offsets reversed")),
    "post-convolution": Pattern(
        attended,
        lambda op: _has(op, "post_convolution"),
        (
            "post-convolution flipped",
            "post-convolution ends at the border",
            "post-convolution of what does not exist",
            "bias before the post-convolution",
        ),
    ),
    "pre-convolution": Pattern(
        attended, lambda op: _has(op, "pre_convolution"), ("values convolved too", "queries not convolved")
    ),
    "mixed heads": Pattern(
        attended,
        lambda op: _has(op, "mix_heads"),
        ("mixed transposed", "mixed after the softmax", "mixed without bias"),
    ),
}
