"""A connection op goes in; which entries of its matrix W exist comes out (the connectivity axis).

An entry of W joins output position i and channel d to input position j and channel c. It exists when i may
read j (`reads`) and d may read c (`mixes`): W's support is the product of the two.

Legend: N outgoing, M incoming positions (with the padding of a window); C channels (C' outgoing).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from archspec.ir import Connect, Feature, Full, Pair, Point, Sliding, Space, Window


@dataclass(frozen=True)
class Position:
    """One position of a map. A class token stands nowhere on it; padding stands beyond its end."""

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
    return _positions(target, target.height, target.width)


def incoming(space: Space, source: Feature) -> list[Position]:
    """The positions that y may read, in order: those of x, or of x padded to whole windows."""
    if isinstance(space, Window):
        return _positions(source, *space.padded(source))
    return _positions(source, source.height, source.width)


def _positions(feature: Feature, height: int, width: int) -> list[Position]:
    positions = [Position(number, -1, -1, token=True) for number in range(feature.class_tokens)]
    for row in range(height):
        for column in range(width):
            padding = row >= feature.height or column >= feature.width
            positions.append(Position(len(positions), row, column, padding=padding))
    return positions


def reads(space: Space, source: Feature, i: Position, j: Position) -> bool:
    """Whether output position i may read input position j."""
    if isinstance(space, Point):
        return i.number == j.number
    if isinstance(space, Full):
        return True
    if isinstance(space, Sliding):
        return tap(space, i, j) is not None
    if space.masked and j.padding:
        return False
    here, there = place(space, source, i), place(space, source, j)
    return here.window == there.window and here.wrapped == there.wrapped


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
    """Where a position stands in the grid of windows, which is moved by the shift and wraps at the end."""
    numbers, slots, wrapped = [], [], []
    for axis, p in enumerate((position.row, position.column)):
        size, shift, length = space.size[axis], space.shift[axis], space.padded(source)[axis]
        moved = (p - shift) % length
        numbers.append(moved // size)
        slots.append(moved % size)
        wrapped.append(p < shift)
    across = space.grid(source)[1]
    return Place(numbers[0] * across + numbers[1], (slots[0], slots[1]), (wrapped[0], wrapped[1]))


def slot(space: Space, source: Feature, position: Position) -> Pair:
    """Row and column inside the area whose positions read each other: the window, or the whole map."""
    if isinstance(space, Window):
        return place(space, source, position).slot
    return position.row, position.column


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
    return _support(op.space, op.source, op.target)


@lru_cache(maxsize=256)
def _support(space: Space, source: Feature, target: Feature) -> Tensor:
    read = incoming(space, source)
    return torch.tensor([[reads(space, source, i, j) for j in read] for i in outgoing(target)])


@lru_cache(maxsize=256)
def channel_support(op: Connect) -> Tensor:
    """Which channel pairs are joined: bool (C', C). Do not write into the result."""
    table = [[mixes(op, d, c) for c in range(op.source.channels)] for d in range(op.target.channels)]
    return torch.tensor(table, dtype=torch.bool)


@lru_cache(maxsize=256)
def existing(op: Connect) -> Tensor:
    """Which incoming positions are positions of x and no padding: bool (M,). Do not write into it."""
    return torch.tensor([not j.padding for j in incoming(op.space, op.source)])


def support_count(op: Connect) -> int:
    """How many entries of W exist, counted one by one; entries that read padding are not entries of W."""
    positions = int(support(op)[:, existing(op)].sum())
    return math.prod((positions, int(channel_support(op).sum())))
