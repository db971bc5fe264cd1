"""A connection op goes in; which entries of its matrix W are one value comes out (the sharing axis).

The tie index of an entry is a pair: a position part, an index into `op.position_shape`, and a channel part,
an index into `op.channel_shape`. Entries with equal tie indices are one number.

Legend: N outgoing, M incoming positions (with the padding of a window); C channels (C' outgoing).
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from archspec.ir import Attention, Connect, Cross, Outlook, Pair, Point, Predicted, Sliding, Window
from archspec.reference.connectivity import (
    Position,
    channel_support,
    existing,
    group,
    incoming,
    outgoing,
    place,
    seen_at,
    support,
    tap,
)

Index = tuple[int, ...]
ABSENT = -1


def position_index(op: Connect, i: Position, j: Position) -> Index:
    """The position part of the tie index of an entry that exists.

    Local weights, attention and outlook are predicted at i, so for them the index only says which of i's values: its
    neighbour (local, an index into `op.position_shape`) or j itself (one of the M incoming).
    """
    if isinstance(op.weights, Attention | Outlook):
        return (j.number,)
    if isinstance(op.weights, Predicted) and op.weights.source == "local":
        return (neighbour(op, i, j),)
    if op.share_positions == "offsets":
        return _offset(op, i, j)
    if isinstance(op.space, Point):
        return (i.number,)
    if isinstance(op.space, Sliding):
        return (i.number, *_tap(op.space, i, j))
    if isinstance(op.space, Window):
        here = place(op.space, op.source, i)
        slots = _flat(here.slot, op.space.size), neighbour(op, i, j)
        return slots if op.share_positions == "windows" else (here.window, *slots)
    return i.number, neighbour(op, i, j)


def neighbour(op: Connect, i: Position, j: Position) -> int:
    """Which of the K positions that i may read is j."""
    if isinstance(op.space, Point):
        return 0
    if isinstance(op.space, Sliding):
        return _flat(_tap(op.space, i, j), op.space.size)
    if isinstance(op.space, Window):
        seen, halo = _seen(op.space, op, i, j), op.space.halo
        return _flat((seen[0] + halo[0], seen[1] + halo[1]), op.space.reach)
    if isinstance(op.space, Cross):
        # The row from left to right, itself among it; then the rest of the column from the top down.
        return j.column if j.row == i.row else op.source.width + j.row - (j.row > i.row)
    return j.number


def _difference(op: Connect, i: Position, j: Position) -> Pair:
    """j - i, in rows and columns of the map, or of the window where that is what both stand in."""
    if isinstance(op.space, Window):
        here, there = place(op.space, op.source, i).slot, _seen(op.space, op, i, j)
        return there[0] - here[0], there[1] - here[1]
    return j.row - i.row, j.column - i.column


def _offset(op: Connect, i: Position, j: Position) -> Index:
    """j - i, counted from the most negative offset there is."""
    if isinstance(op.space, Point):
        return ()
    if isinstance(op.space, Sliding):
        return _tap(op.space, i, j)
    return _table_index(op, *_difference(op, i, j))


def relative_index(op: Connect, i: Position, j: Position) -> int:
    """The row of the relative bias for query i and key j: offsets are query minus key, as in Swin's code."""
    if isinstance(op.space, Sliding):
        return neighbour(op, i, j)
    rows, columns = _difference(op, i, j)
    index = _table_index(op, -rows, -columns)
    return index[0] if len(index) == 1 else index[0] * op.offsets[1] + index[1]


def _table_index(op: Connect, rows: int, columns: int) -> Index:
    """Where a table over offsets holds this one; that of a cross lists row offsets, then column offsets but zero."""
    farthest = op.farthest
    if not isinstance(op.space, Cross):
        return rows + farthest[0], columns + farthest[1]
    if rows == 0:
        return (columns + farthest[1],)
    return (op.offsets[1] + rows + farthest[0] - (rows > 0),)


def relative_indices(op: Connect) -> Tensor:
    """The row of the relative bias of each entry: int (N, M), 0 where there is no entry."""
    return _per_entry(op, lambda i, j: relative_index(op, i, j), 0)


def neighbour_indices(op: Connect) -> Tensor:
    """Which of the K positions that i may read is j, for each entry: int (N, M), K where there is no entry."""
    return _per_entry(op, lambda i, j: neighbour(op, i, j), op.neighbours)


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


def _seen(space: Window, op: Connect, i: Position, j: Position) -> Pair:
    found = seen_at(space, op.source, i, j)
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
    return (len(existing(op)),) if isinstance(op.weights, Attention | Outlook) else op.position_shape


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
