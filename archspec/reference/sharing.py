"""A connection op goes in; which entries of its matrix W are one value comes out (the sharing axis).

The tie index of an entry is a pair: a position part, an index into `op.position_shape`, and a channel part,
an index into `op.channel_shape`. Entries with equal tie indices are one number.

Legend: N outgoing, M incoming positions (with the padding of a window); C channels (C' outgoing).
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from archspec.ir import Attention, Connect, Pair, Point, Predicted, Sliding, Window
from archspec.reference.connectivity import (
    Position,
    channel_support,
    existing,
    group,
    incoming,
    outgoing,
    place,
    slot,
    support,
    tap,
)

Index = tuple[int, ...]
ABSENT = -1


def position_index(op: Connect, i: Position, j: Position) -> Index:
    """The position part of the tie index of an entry that exists.

    Local weights and attention are predicted at i, so for them the index only says which of i's values: its
    neighbour (local, an index into `op.position_shape`) or j itself (attention, one of the M incoming).
    """
    if isinstance(op.weights, Attention):
        return (j.number,)
    if isinstance(op.weights, Predicted) and op.weights.source == "local":
        return (_neighbour(op, i, j),)
    if op.share_positions == "offsets":
        return _offset(op, i, j)
    if isinstance(op.space, Point):
        return (i.number,)
    if isinstance(op.space, Sliding):
        return (i.number, *_tap(op.space, i, j))
    if isinstance(op.space, Window):
        here, there = place(op.space, op.source, i), place(op.space, op.source, j)
        slots = _flat(here.slot, op.space.size), _flat(there.slot, op.space.size)
        return slots if op.share_positions == "windows" else (here.window, *slots)
    return i.number, j.number


def _neighbour(op: Connect, i: Position, j: Position) -> int:
    """Which of the K positions that i may read is j."""
    if isinstance(op.space, Point):
        return 0
    if isinstance(op.space, Sliding):
        return _flat(_tap(op.space, i, j), op.space.size)
    if isinstance(op.space, Window):
        return _flat(place(op.space, op.source, j).slot, op.space.size)
    return j.number


def _offset(op: Connect, i: Position, j: Position) -> Index:
    """j - i, counted from the most negative offset there is."""
    if isinstance(op.space, Point):
        return ()
    if isinstance(op.space, Sliding):
        return _tap(op.space, i, j)
    here, there = slot(op.space, op.source, i), slot(op.space, op.source, j)
    return there[0] - here[0] + op.extent[0] - 1, there[1] - here[1] + op.extent[1] - 1


def relative_index(op: Connect, i: Position, j: Position) -> int:
    """The row of the relative bias for query i and key j: offsets are query minus key, as in Swin's code."""
    here, there = slot(op.space, op.source, i), slot(op.space, op.source, j)
    rows, columns = here[0] - there[0] + op.extent[0] - 1, here[1] - there[1] + op.extent[1] - 1
    return rows * (2 * op.extent[1] - 1) + columns


def relative_indices(op: Connect) -> Tensor:
    """The row of the relative bias of each entry: int (N, M), 0 where there is no entry."""
    return _per_entry(op, lambda i, j: relative_index(op, i, j), 0)


def _per_entry(op: Connect, number: Callable[[Position, Position], int], absent: int) -> Tensor:
    joined, read = support(op).tolist(), incoming(op.space, op.source)
    rows = [[number(i, j) if joined[i.number][j.number] else absent for j in read] for i in outgoing(op.target)]
    return torch.tensor(rows)


def channel_index(op: Connect, d: int, c: int) -> Index:
    """The channel part of the tie index of an entry that exists."""
    if op.channels == "separate":
        return () if op.share_channels == "all" else (d // (op.source.channels // op.kernels),)
    inside = c - group(op, c, op.source.channels) * (op.source.channels // op.channel_groups)
    if op.share_channels == "all":
        return d - group(op, d, op.target.channels) * (op.target.channels // op.channel_groups), inside
    return d, inside


def _tap(space: Sliding, i: Position, j: Position) -> Pair:
    found = tap(space, i, j)
    if found is None:
        raise ValueError(f"{i} does not read {j}")
    return found


def _flat(index: Index, shape: Index) -> int:
    """The row-major number of an index, which must lie inside the shape."""
    if len(index) != len(shape) or not all(0 <= n < size for n, size in zip(index, shape, strict=True)):
        raise ValueError(f"index {index} lies outside shape {shape}")
    number = 0
    for n, size in zip(index, shape, strict=True):
        number = number * size + n
    return number


def values_shape(op: Connect) -> Index:
    """The shape that the position part of the tie index points into."""
    return (len(existing(op)),) if isinstance(op.weights, Attention) else op.position_shape


@lru_cache(maxsize=256)
def tie(op: Connect) -> Tensor:
    """The flat position part of each entry's tie index: int (N, M), ABSENT where there is no entry.

    Do not write into the result.
    """
    return _per_entry(op, lambda i, j: _flat(position_index(op, i, j), values_shape(op)), ABSENT)


@lru_cache(maxsize=256)
def channel_tie(op: Connect) -> Tensor:
    """The flat channel part of each entry's tie index: int (C', C), ABSENT where there is no entry.

    Do not write into the result.
    """
    joined = channel_support(op).tolist()

    def index(d: int, c: int) -> int:
        return _flat(channel_index(op, d, c), op.channel_shape) if joined[d][c] else ABSENT

    outgoing_channels, incoming_channels = range(op.target.channels), range(op.source.channels)
    return torch.tensor([[index(d, c) for c in incoming_channels] for d in outgoing_channels])


def tie_count(op: Connect) -> int:
    """How many different tie indices the entries of W have, counted: the weights of a static layer."""
    positions = tie(op)[:, existing(op)]
    channels = channel_tie(op)
    return len(set(positions[positions != ABSENT].tolist())) * len(set(channels[channels != ABSENT].tolist()))
