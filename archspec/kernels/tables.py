"""The sizes of windows go in; the index and mask tables that follow from them come out.

Tables are no part of a checkpoint. Each is made once and kept, by its sizes and device.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from archspec import ir
from archspec.kernels.windows import cut, padding

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


def window_numbers(space: ir.Window, source: ir.Feature, device: torch.device) -> Tensor:
    """Which window of the wrapped grid each window of `split` belongs to: the pieces before the map to the last."""
    return _table(_window_numbers, space, source, device=device)


def offset_index(extent: ir.Pair, device: torch.device) -> Tensor:
    """(K, K): for slots i and j, the number of the offset j - i in a table of (2h-1, 2w-1) offsets."""
    return _table(_offset_index, extent, device=device)


def wrap_mask(space: ir.Window, source: ir.Feature, device: torch.device) -> Tensor | None:
    """(windows, 1, K, K): 0 where slot i may read slot j in the wrapped grid, MASKED elsewhere; None if all may."""
    if space.shift == (0, 0) and not space.masked:
        return None
    return _table(_wrap_mask, space, source, device=device)


def at_offsets(table: Tensor, axis: int, extent: ir.Pair) -> Tensor:
    """A table with one axis of offsets j - i, laid out with two axes (K, K) in its place."""
    index = offset_index(extent, table.device)
    laid_out: Tensor = table.index_select(axis, index.flatten()).unflatten(axis, index.shape)
    return laid_out


def _window_numbers(space: ir.Window, source: ir.Feature) -> Tensor:
    rows, columns = (
        torch.arange(-1 if shift else 0, count) % count
        for count, shift in zip(space.grid(source), space.shift, strict=True)
    )
    # With a shift the padded map may end before the last window of the wrapped grid does.
    pads = padding(space, source)
    tall = (source.height + pads[4] + pads[5]) // space.size[0]
    wide = (source.width + pads[2] + pads[3]) // space.size[1]
    return (rows[:tall, None] * space.grid(source)[1] + columns[None, :wide]).flatten()


def _offset_index(extent: ir.Pair) -> Tensor:
    height, width = extent
    rows, columns = torch.arange(height), torch.arange(width)
    down = rows[None, :] - rows[:, None] + height - 1
    across = columns[None, :] - columns[:, None] + width - 1
    index = down[:, None, :, None] * (2 * width - 1) + across[None, :, None, :]
    return index.reshape(height * width, height * width)


def _wrap_mask(space: ir.Window, source: ir.Feature) -> Tensor:
    sides = []  # of every position of the padded map, wrapped: which part of the wrap it is of, and if it exists
    lengths = zip(space.padded(source), (source.height, source.width), space.shift, strict=True)
    for length, extent, shift in lengths:
        position = (torch.arange(length) + shift) % length
        sides.append((position < shift, position < extent))
    (down, exists_down), (across, exists_across) = sides
    parts = _by_window(down[:, None] * 2 + across[None, :], space)
    reads = parts[:, :, None] == parts[:, None, :]
    if space.masked:
        reads &= _by_window(exists_down[:, None] & exists_across[None, :], space)[:, None, :]
    return torch.where(reads, 0.0, MASKED).unsqueeze(1)


def _by_window(x: Tensor, space: ir.Window) -> Tensor:
    """(H, W) -> (windows, K)."""
    return cut(x[None, :, :, None], space.size)[0, :, :, 0]
