"""A feature map goes in; its windows come out, and the other way.

Legend: K slots of a window; R slots of what a window reads, which with a halo is more than itself; (h, w) and (t, u)
their heights and widths.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from archspec import ir
from archspec.kernels.shapes import as_map, flat


def split(op: ir.Connect, x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, windows, K, C), padded with zeros at the end; any other space is one window: the map.

    A shifted grid wraps around, as in Swin: what the last windows must not mix is for `tables.wrapped` to take out.
    """
    space = op.space
    if not isinstance(space, ir.Window):
        return flat(x).unsqueeze(1)
    x = _to_whole(space, op.source, x)
    if space.shift != (0, 0):
        x = x.roll((-space.shift[0], -space.shift[1]), (1, 2))
    return cut(x, space.size, space.interlaced)


def split_keys(op: ir.Connect, x: Tensor) -> Tensor:
    """What each window of `split` reads: (B, H, W, C) -> (B, windows, R, C), with zeros beyond the map."""
    space = op.space
    if not isinstance(space, ir.Window) or space.halo == (0, 0):
        return split(op, x)
    return cut_surrounded(space, surround(space, op.source, x))


def join(op: ir.Connect, windows: Tensor) -> Tensor:
    """The outgoing map of what `split` made: (B, windows, K', C') -> (B, H', W', C')."""
    space, source = op.space, op.source
    if not isinstance(space, ir.Window):
        return as_map(windows.flatten(1, 2), op.target)
    y = paste(windows, space.size, space.padded(source), space.interlaced)
    if space.shift != (0, 0):
        y = y.roll(space.shift, (1, 2))
    return y[:, : source.height, : source.width].contiguous()


def each_window(op: ir.Connect, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """Run (B, windows, t, u, C) -> (B, windows, h, w, C') on what windows read: (B, H, W, C) -> (B, H', W', C').

    A window that a shift wraps around is one by its cost, but its pieces read only themselves: each runs alone.
    """
    space, source = op.space, op.source
    if not isinstance(space, ir.Window) or space.shift == (0, 0):
        return join(op, run(split_keys(op, x).unflatten(2, reach(op))).flatten(2, 3))
    x, bands = _to_whole(space, source, x), []
    for top, bottom, high in _pieces(space.size[0], space.shift[0], x.shape[1]):
        parts = []
        for left, right, wide in _pieces(space.size[1], space.shift[1], x.shape[2]):
            windows = cut(x[:, top:bottom, left:right], (high, wide)).unflatten(2, (high, wide))
            parts.append(paste(run(windows).flatten(2, 3), (high, wide), (bottom - top, right - left)))
        bands.append(torch.cat(parts, 2))
    return torch.cat(bands, 1)[:, : source.height, : source.width].contiguous()


def _pieces(size: int, shift: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Where whole windows, and the pieces of a wrapped one, begin and end along one axis, and how long each is."""
    if shift:
        yield 0, shift, shift
    yield shift, length - (size - shift if shift else 0), size
    if shift:
        yield length - (size - shift), length, size - shift


def cut(x: Tensor, size: ir.Pair, interlaced: bool = False) -> Tensor:
    """(B, H, W, C) of whole windows -> (B, windows, K, C)."""
    if interlaced:
        # A window takes every (extent / size)-th position: the slot is the slow axis.
        x = x.unflatten(2, (size[1], -1)).unflatten(1, (size[0], -1)).permute(0, 2, 4, 1, 3, 5)
    else:
        x = x.unflatten(2, (-1, size[1])).unflatten(1, (-1, size[0])).permute(0, 1, 3, 2, 4, 5)
    return x.flatten(3, 4).flatten(1, 2)


def paste(windows: Tensor, size: ir.Pair, whole: ir.Pair, interlaced: bool = False) -> Tensor:
    """(B, windows, K, C) -> (B, H, W, C), H and W as in `whole`."""
    grid = (whole[0] // size[0], whole[1] // size[1])
    x = windows.unflatten(2, size).unflatten(1, grid)
    x = x.permute(0, 3, 1, 4, 2, 5) if interlaced else x.permute(0, 1, 3, 2, 4, 5)
    return x.flatten(3, 4).flatten(1, 2)


def surround(space: ir.Window, source: ir.Feature, x: Tensor) -> Tensor:
    """(B, H, W, C) -> the map padded with zeros to whole windows and to the halo of the outer ones."""
    (down, across), (height, width) = space.halo, space.padded(source)
    return F.pad(x, (0, 0, across, width - source.width + across, down, height - source.height + down))


def cut_surrounded(space: ir.Window, x: Tensor) -> Tensor:
    """A surrounded map (B, H, W, C) -> (B, windows, R, C): windows overlap by their halo."""
    keys: Tensor = _Overlapping.apply(x, space.size, space.reach)
    return keys


def reach(op: ir.Connect) -> ir.Pair:
    """Height and width of what a window, or the map as one, reads."""
    return op.space.reach if isinstance(op.space, ir.Window) else op.extent


def given(op: ir.Connect, windows: Tensor) -> ir.Pair:
    """Height and width of what windows (B, L, t, u, C), or pieces of them, give: all but the halo."""
    (tall, broad), (high, wide) = reach(op), op.extent
    return windows.shape[2] - (tall - high), windows.shape[3] - (broad - wide)


def own_offsets(table: Tensor, windows: Tensor, size: ir.Pair) -> Tensor:
    """The middle of a table (..., offsets down, offsets across): what windows (B, L, t, u, C) need that give `size`."""
    tall, broad = windows.shape[2] + size[0] - 1, windows.shape[3] + size[1] - 1
    top, left = (table.shape[-2] - tall) // 2, (table.shape[-1] - broad) // 2
    return table[..., top : top + tall, left : left + broad]


def _to_whole(space: ir.Window, source: ir.Feature, x: Tensor) -> Tensor:
    """The map padded at its end to whole windows."""
    height, width = space.padded(source)
    if (height, width) == (source.height, source.width):
        return x
    return F.pad(x, (0, 0, 0, width - source.width, 0, height - source.height))


class _Overlapping(torch.autograd.Function):
    """Windows of `reach`, `size` apart. The gradient adds tiles that do not overlap: torch's, of `unfold`, takes
    9 to 16 times as long (56x56x96 in windows of 14, 14x14x384 in windows of 9)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: ir.Pair, reach: ir.Pair) -> Tensor:
        windows = x.unfold(1, reach[0], size[0]).unfold(2, reach[1], size[1]).permute(0, 1, 2, 4, 5, 3)
        ctx.geometry = (size, reach, tuple(windows.shape[1:3]), tuple(x.shape[1:3]))
        return windows.flatten(3, 4).flatten(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (high, wide), reach, (rows, columns), (height, width) = ctx.geometry
        pieces = gradient.unflatten(2, reach).unflatten(1, (rows, columns)).transpose(2, 3)
        # As tall and wide as tiles that begin anywhere in the reach of the last window may need.
        gx = gradient.new_zeros(len(gradient), rows * high + reach[0], columns * wide + reach[1], gradient.shape[3])
        for top in range(0, reach[0], high):
            for left in range(0, reach[1], wide):
                piece = pieces[:, :, top : top + high, :, left : left + wide]
                tiles = gx[:, top : top + rows * high, left : left + columns * wide]
                tiles = tiles.unflatten(2, (columns, wide)).unflatten(1, (rows, high))
                tiles[:, :, : piece.shape[2], :, : piece.shape[4]].add_(piece)
        return gx[:, :height, :width], None, None
