"""A feature map and a sliding window go in; the map with the zeros that the window reaches beyond it comes out."""

import torch.nn.functional as F
from torch import Tensor

from archspec import ir


def padded(op: ir.Connect, x: Tensor) -> tuple[Tensor, ir.Pair]:
    """(B, H, W, C) -> a map and the padding that F.conv2d should add on both sides.

    F.conv2d pads both sides alike. Where that gives the right size the map stays as it is, and costs no copy.
    """
    assert isinstance(op.space, ir.Sliding)
    space, target = op.space, op.target
    fits = all(
        (extent + 2 * before - dilation * (size - 1) - 1) // stride + 1 == wanted
        for extent, before, dilation, size, stride, wanted in zip(
            x.shape[1:3],
            space.before,
            space.dilation,
            space.size,
            space.stride,
            (target.height, target.width),
            strict=True,
        )
    )
    return (x, space.before) if fits else (surrounded(op, x), (0, 0))


def surrounded(op: ir.Connect, x: Tensor) -> Tensor:
    """(B, H, W, C) -> the map with exactly what the window reaches: zeros put around it, unread rows cut off."""
    assert isinstance(op.space, ir.Sliding)
    space, pads = op.space, [0, 0]
    for axis, wanted in ((1, op.target.width), (0, op.target.height)):
        reach = space.stride[axis] * (wanted - 1) + space.dilation[axis] * (space.size[axis] - 1) + 1
        pads += [space.before[axis], reach - space.before[axis] - x.shape[axis + 1]]
    return F.pad(x, pads) if any(pads) else x


def tap_shifts(space: ir.Sliding) -> tuple[int, ...]:
    """(down, across) of each tap, one after the other, in the order of a torch kernel, in a `surrounded` map."""
    (high, wide), (down, across) = space.size, space.dilation
    return tuple(shift for i in range(high) for j in range(wide) for shift in (i * down, j * across))
