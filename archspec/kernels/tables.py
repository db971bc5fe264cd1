"""The sizes of windows go in; the index and mask tables that follow from them come out.

Tables are no part of a checkpoint. Each is made once and kept, by its sizes and device.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.windows import cut, cut_surrounded, surround

# Far below any logit, and finite in float16: a row with nothing to read gives numbers that are dropped, not NaN.
MASKED = -30000.0
MOST_KEPT = 256

_kept: dict[tuple[object, ...], Tensor] = {}


def _table(build: Callable[..., Tensor], *sizes: object, device: torch.device) -> Tensor:
    """What `build` makes of the sizes, made once for each device.

    While torch.compile traces, the table is made anew and becomes a constant of the graph. It is made outside
    inference mode, so that training may use it later, and a tensor that only imitates one is not kept.
    """
    if torch.compiler.is_compiling():
        return build(*sizes).to(device)
    key = (build.__name__, *sizes, device)
    if key not in _kept:
        with torch.inference_mode(False):
            table = build(*sizes).to(device)
        if type(table) is not Tensor:
            return table
        if len(_kept) >= MOST_KEPT:
            _kept.clear()
        _kept[key] = table
    return _kept[key]


def offset_index(extent: ir.Pair, device: torch.device) -> Tensor:
    """(K, K): for slots i and j, the number of the offset j - i in a table of (2h-1, 2w-1) offsets."""
    return _table(_offset_index, extent, (0, 0), (extent[0] - 1, extent[1] - 1), device=device)


def offsets_of(op: ir.Connect, device: torch.device) -> Tensor:
    """(K, R): for the slot i of a position and the slot j of what it reads, the number of the offset j - i.

    Of a table with op.offsets, which may hold more than this map needs. That of i - j is its last number less this.
    """
    halo = op.space.halo if isinstance(op.space, ir.Window) else (0, 0)
    return _table(_offset_index, op.extent, halo, op.farthest, device=device)


def cross_offsets(source: ir.Feature, device: torch.device) -> tuple[Tensor, Tensor]:
    """(W, W) and (H, H): the numbers of the offsets j - i in a row, and in a column, of a table over a cross.

    A column leaves out the position itself, which the row has read: its number there is one past the table's end.
    """
    height, width = source.height, source.width
    rows = _table(_offset_index, (1, width), (0, 0), (0, width - 1), device=device)
    return rows, _table(_column_offsets, height, width, device=device)


def wrap_mask(space: ir.Window, source: ir.Feature, device: torch.device) -> Tensor | None:
    """(windows, 1, K, R): 0 where slot i may read slot j in the wrapped grid, MASKED elsewhere; None if all may."""
    if space.shift == (0, 0) and not space.masked:
        return None
    return _table(_wrap_mask, space, source, device=device)


def wrapped(op: ir.Connect, like: Tensor) -> Tensor | None:
    """(windows, K, K) in the type of a tensor: 1 where the shift lets slot i read slot j, 0 elsewhere; None: anywhere.

    Padded positions take part: weights that are not attention are never masked by them.
    """
    if not isinstance(op.space, ir.Window) or op.space.shift == (0, 0):
        return None
    return _table(_wrapped, op.space, op.source, device=like.device).to(like.dtype)


def at_offsets(op: ir.Connect, table: Tensor, axis: int) -> Tensor:
    """A table with one axis of offsets j - i, laid out with two axes (K, R) in its place."""
    return laid_out(table, axis, offsets_of(op, table.device))


def laid_out(table: Tensor, axis: int, index: Tensor) -> Tensor:
    """A table with the axes of `index` in the place of the one that it numbers."""
    result: Tensor = table.index_select(axis, index.flatten()).unflatten(axis, index.shape)
    return result


def _offset_index(extent: ir.Pair, halo: ir.Pair, farthest: ir.Pair) -> Tensor:
    along = []
    for size, beyond, most in zip(extent, halo, farthest, strict=True):
        along.append(torch.arange(-beyond, size + beyond)[None, :] - torch.arange(size)[:, None] + most)
    index = along[0][:, None, :, None] * (2 * farthest[1] + 1) + along[1][None, :, None, :]
    return index.flatten(2, 3).flatten(0, 1)


def _column_offsets(height: int, width: int) -> Tensor:
    offset = torch.arange(height)[None, :] - torch.arange(height)[:, None]
    number = 2 * width - 1 + offset + height - 1 - (offset > 0).long()
    return number.masked_fill(offset == 0, 2 * width + 2 * height - 3)


def _wrap_mask(space: ir.Window, source: ir.Feature) -> Tensor:
    """What wraps apart, and what stands beyond the map where it is masked; nothing wraps with a halo or interlaced."""
    exists = torch.ones(1, source.height, source.width, 1, dtype=torch.bool)
    if space.halo != (0, 0):
        there = cut_surrounded(space, surround(space, source, exists))
    else:
        height, width = space.padded(source)
        whole = F.pad(exists, (0, 0, 0, width - source.width, 0, height - source.height))
        there = cut(whole.roll((-space.shift[0], -space.shift[1]), (1, 2)), space.size, space.interlaced)
    reads = there[0, :, None, :, 0].expand(-1, space.positions, -1) if space.masked else torch.ones(1, 1, 1)
    if space.shift != (0, 0):
        reads = reads * _wrapped(space, source)
    return torch.where(reads.bool(), 0.0, MASKED).unsqueeze(1)


def _wrapped(space: ir.Window, source: ir.Feature) -> Tensor:
    (height, width), (down, across) = space.padded(source), space.shift
    sides = (torch.arange(height) < down)[:, None] * 2 + (torch.arange(width) < across)[None, :]
    parts = cut(sides.roll((-down, -across), (0, 1))[None, :, :, None], space.size)[0, :, :, 0]
    return (parts[:, :, None] == parts[:, None, :]).float()
