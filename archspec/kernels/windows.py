"""A feature map goes in; its windows come out, and the index tables that belong to windows.

Tables depend on sizes only; they are cached and are no part of a checkpoint.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.shapes import as_map, flat

# Far below any logit, and finite in float16: a row with nothing to read gives numbers that are dropped, not NaN.
MASKED = -30000.0


def split(op: ir.Connect, x: Tensor) -> Tensor:
    """The windows of a layer whose weights do not depend on what stands outside the map: -> (B, windows, K, C).

    A shifted grid is laid out with zeros before the map instead of wrapping the map around: the pieces that wrapping
    would put into one window stand in two, so nothing needs a mask. The full space is one window.
    """
    if not isinstance(op.space, ir.Window):
        return flat(x).unsqueeze(1)
    pads = _padding(op.space, op.source)
    return cut(F.pad(x, pads) if any(pads) else x, op.space.size)


def join(op: ir.Connect, windows: Tensor) -> Tensor:
    """The outgoing map of what `split` made: (B, windows, K', C') -> (B, H', W', C')."""
    if not isinstance(op.space, ir.Window):
        return as_map(windows.flatten(1, 2), op.target)
    left, right, top, bottom = _padding(op.space, op.source)[2:]
    whole = (op.source.height + top + bottom, op.source.width + left + right)
    y = paste(windows, op.space.size, whole)
    return y[:, top : top + op.source.height, left : left + op.source.width].contiguous()


def cut(x: Tensor, size: ir.Pair) -> Tensor:
    """(B, H, W, C) of whole windows -> (B, windows, K, C)."""
    x = x.unflatten(2, (-1, size[1])).unflatten(1, (-1, size[0]))
    return x.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)


def paste(windows: Tensor, size: ir.Pair, whole: ir.Pair) -> Tensor:
    """(B, windows, K, C) -> (B, H, W, C), H and W as in `whole`."""
    rows, columns = whole[0] // size[0], whole[1] // size[1]
    x = windows.unflatten(2, size).unflatten(1, (rows, columns))
    return x.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)


def _padding(space: ir.Window, source: ir.Feature) -> tuple[int, ...]:
    """What F.pad needs to lay whole windows over a map: channels, then columns, then rows."""
    pads: tuple[int, ...] = (0, 0)
    for axis, extent in ((1, source.width), (0, source.height)):
        size, shift = space.size[axis], space.shift[axis]
        before = size - shift if shift else 0
        pads += before, -(before + extent) % size
    return pads


@lru_cache(maxsize=256)
def window_numbers(space: ir.Window, source: ir.Feature, device: torch.device) -> Tensor:
    """Which window of the wrapped grid each window of `split` belongs to: the pieces before the map to the last."""
    rows, columns = (
        torch.arange(-1 if shift else 0, count) % count
        for count, shift in zip(space.grid(source), space.shift, strict=True)
    )
    # With a shift the padded map may end before the last window of the wrapped grid does.
    pads = _padding(space, source)
    tall = (source.height + pads[4] + pads[5]) // space.size[0]
    wide = (source.width + pads[2] + pads[3]) // space.size[1]
    numbers = rows[:tall, None] * space.grid(source)[1] + columns[None, :wide]
    return numbers.flatten().to(device)


@lru_cache(maxsize=256)
def offset_index(extent: ir.Pair, device: torch.device) -> Tensor:
    """(K, K): for slots i and j, the number of the offset j - i in a table of (2h-1, 2w-1) offsets."""
    height, width = extent
    rows, columns = torch.arange(height), torch.arange(width)
    down = rows[None, :] - rows[:, None] + height - 1
    across = columns[None, :] - columns[:, None] + width - 1
    index = down[:, None, :, None] * (2 * width - 1) + across[None, :, None, :]
    return index.reshape(height * width, height * width).to(device)


def at_offsets(table: Tensor, axis: int, extent: ir.Pair) -> Tensor:
    """A table with one axis of offsets j - i, laid out with two axes (K, K) in its place."""
    index = offset_index(extent, table.device)
    return table.index_select(axis, index.flatten()).unflatten(axis, index.shape)


@lru_cache(maxsize=256)
def wrap_mask(space: ir.Window, source: ir.Feature, device: torch.device) -> Tensor | None:
    """(windows, K, K): 0 where slot i may read slot j in the wrapped grid, MASKED elsewhere; None if all may."""
    if space.shift == (0, 0) and not space.masked:
        return None
    whole = space.padded(source)
    sides = []  # of every position of the padded map, wrapped: which part of the wrap it is of, and if it exists
    for length, extent, shift in zip(whole, (source.height, source.width), space.shift, strict=True):
        position = (torch.arange(length) + shift) % length
        sides.append((position < shift, position < extent))
    (down, inside_down), (across, inside_across) = sides
    part = (down[:, None] * 2 + across[None, :]).unsqueeze(0).unsqueeze(-1)
    parts = cut(part, space.size).squeeze(-1).squeeze(0)
    reads = parts[:, :, None] == parts[:, None, :]
    if space.masked:
        inside = (inside_down[:, None] & inside_across[None, :]).unsqueeze(0).unsqueeze(-1)
        reads &= cut(inside, space.size).squeeze(-1).squeeze(0)[:, None, :]
    return torch.where(reads, 0.0, MASKED).to(device)
