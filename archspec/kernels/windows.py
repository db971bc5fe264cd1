"""A feature map goes in; its windows come out, laid out so that no mask is needed (and the other way)."""

import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.shapes import as_map, flat


def split(op: ir.Connect, x: Tensor) -> Tensor:
    """The windows of a layer whose weights do not depend on what stands outside the map: -> (B, windows, K, C).

    A shifted grid is laid out with zeros before the map instead of wrapping the map around: the pieces that wrapping
    would put into one window stand in two, so nothing needs a mask. The full space is one window.
    """
    if not isinstance(op.space, ir.Window):
        return flat(x).unsqueeze(1)
    pads = padding(op.space, op.source)
    return cut(F.pad(x, pads) if any(pads) else x, op.space.size)


def join(op: ir.Connect, windows: Tensor) -> Tensor:
    """The outgoing map of what `split` made: (B, windows, K', C') -> (B, H', W', C')."""
    if not isinstance(op.space, ir.Window):
        return as_map(windows.flatten(1, 2), op.target)
    left, right, top, bottom = padding(op.space, op.source)[2:]
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


def padding(space: ir.Window, source: ir.Feature) -> tuple[int, ...]:
    """What F.pad needs to lay whole windows over a map: channels, then columns, then rows."""
    pads: tuple[int, ...] = (0, 0)
    for axis, extent in ((1, source.width), (0, source.height)):
        size, shift = space.size[axis], space.shift[axis]
        before = size - shift if shift else 0
        pads += before, -(before + extent) % size
    return pads
