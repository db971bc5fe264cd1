"""A connection op goes in; which entries of its matrix W exist comes out (the connectivity axis).

An entry of W joins output position i and channel d to input position j and channel c. It exists when i may
read j (`reads`) and d may read c (`mixes`): W's support is the product of the two.

Legend: N outgoing, M incoming positions (with the padding of a window, or those of a reduced map); C channels
(C' outgoing).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from archspec.ir import Connect, Cross, Feature, Outlook, Pair, Point, Reduced, Sliding, Space, Window


@dataclass(frozen=True)
class Position:
    """One position of a map. A class token stands nowhere on it; padding stands beyond its border."""

    number: int
    row: int
    column: int
    token: bool = False
    padding: bool = False


@dataclass(frozen=True)
class Place:
    """Where a position stands in a grid of windows: which one, where in it, on which side of the wrap."""

    window: int
    slot: Pair
    wrapped: tuple[bool, bool]


def outgoing(target: Feature) -> list[Position]:
    """The positions of y, in order."""
    return _positions(target, (0, 0), (target.height, target.width))


def incoming(space: Space, source: Feature) -> list[Position]:
    """The positions that y may read, in order: those of x, of x padded to whole windows, or of a smaller map."""
    if isinstance(space, Window):
        height, width = space.padded(source)
        down, across = space.halo
        return _positions(source, (-down, -across), (height + down, width + across))
    if isinstance(space, Reduced):
        return outgoing(space.map(source))
    return outgoing(source)


def _positions(feature: Feature, start: Pair, end: Pair) -> list[Position]:
    positions = [Position(number, -1, -1, token=True) for number in range(feature.class_tokens)]
    for row in range(start[0], end[0]):
        for column in range(start[1], end[1]):
            padding = not (0 <= row < feature.height and 0 <= column < feature.width)
            positions.append(Position(len(positions), row, column, padding=padding))
    return positions


def reads(space: Space, source: Feature, i: Position, j: Position) -> bool:
    """Whether output position i may read input position j."""
    if isinstance(space, Point):
        return i.number == j.number
    if isinstance(space, Cross):
        return i.row == j.row or i.column == j.column
    if isinstance(space, Sliding):
        return tap(space, i, j) is not None
    if isinstance(space, Window):
        return seen_at(space, source, i, j) is not None and not (space.masked and j.padding)
    return True


def windows_of(weights: Outlook, space: Sliding, source: Feature, position: Position) -> dict[int, int]:
    """The windows of outlook weights that hold a position, and its slot in each.

    A window begins half its size before its centre, which is at stride * its number, per axis.
    """
    rows, columns = weights.grid(source)
    found = {}
    for row in range(rows):
        down = position.row - weights.stride[0] * row + space.size[0] // 2
        for column in range(columns):
            right = position.column - weights.stride[1] * column + space.size[1] // 2
            if 0 <= down < space.size[0] and 0 <= right < space.size[1]:
                found[row * columns + column] = down * space.size[1] + right
    return found


def tap(space: Sliding, i: Position, j: Position) -> Pair | None:
    """The tap (t, u) of a sliding window with which i reads j: stride * i - before + dilation * tap = j."""
    found = []
    for axis, (out, into) in enumerate(((i.row, j.row), (i.column, j.column))):
        taps = [
            t
            for t in range(space.size[axis])
            if space.stride[axis] * out - space.before[axis] + space.dilation[axis] * t == into
        ]
        if not taps:
            return None
        found.append(taps[0])
    return found[0], found[1]


def place(space: Window, source: Feature, position: Position) -> Place:
    """Where a position stands in the grid of windows, which is moved by the shift and wraps at the end.

    Interlaced windows take every so-many-th position: the window is what remains, the slot how often it fits.
    """
    numbers, slots, wrapped = [], [], []
    for axis, p in enumerate((position.row, position.column)):
        size, shift, length = space.size[axis], space.shift[axis], space.padded(source)[axis]
        moved = (p - shift) % length
        step = length // size
        numbers.append(moved % step if space.interlaced else moved // size)
        slots.append(moved // step if space.interlaced else moved % size)
        wrapped.append(p < shift)
    across = space.grid(source)[1]
    return Place(numbers[0] * across + numbers[1], (slots[0], slots[1]), (wrapped[0], wrapped[1]))


def seen_at(space: Window, source: Feature, i: Position, j: Position) -> Pair | None:
    """The slot in which i's window sees j (a halo's slots begin before 0 and end past the size), or None."""
    here = place(space, source, i)
    if space.halo == (0, 0):
        there = place(space, source, j)
        return there.slot if here.window == there.window and here.wrapped == there.wrapped else None
    slots = j.row - (i.row - here.slot[0]), j.column - (i.column - here.slot[1])
    inside = all(-halo <= p < size + halo for p, size, halo in zip(slots, space.size, space.halo, strict=True))
    return slots if inside else None


def mixes(op: Connect, d: int, c: int) -> bool:
    """Whether output channel d may read input channel c."""
    if op.channels == "separate":
        return d == c
    return group(op, d, op.target.channels) == group(op, c, op.source.channels)


def group(op: Connect, channel: int, width: int) -> int:
    """The group of a channel: groups are contiguous blocks of equal size."""
    return channel // (width // op.channel_groups)


def support(op: Connect) -> Tensor:
    """Which position pairs are joined: bool (N, M). Do not write into the result."""
    return _support(op.space, op.source, op.target, op.weights if isinstance(op.weights, Outlook) else None)


@lru_cache(maxsize=256)
def _support(space: Space, source: Feature, target: Feature, outlook: Outlook | None) -> Tensor:
    if outlook is not None and isinstance(space, Sliding):
        held = [set(windows_of(outlook, space, source, position)) for position in outgoing(source)]
        return torch.tensor([[bool(here & there) for there in held] for here in held])
    read = incoming(space, source)
    return torch.tensor([[reads(space, source, i, j) for j in read] for i in outgoing(target)])


@lru_cache(maxsize=256)
def channel_support(op: Connect) -> Tensor:
    """Which channel pairs are joined: bool (C', C). Do not write into the result."""
    table = [[mixes(op, d, c) for c in range(op.source.channels)] for d in range(op.target.channels)]
    return torch.tensor(table, dtype=torch.bool)


@lru_cache(maxsize=256)
def existing(op: Connect) -> Tensor:
    """Which incoming positions are no padding: bool (M,). Do not write into it."""
    return torch.tensor([not j.padding for j in incoming(op.space, op.source)])


def support_count(op: Connect) -> int:
    """How many entries of W exist, counted one by one; entries that read padding are not entries of W."""
    positions = int(support(op)[:, existing(op)].sum())
    return math.prod((positions, int(channel_support(op).sum())))
