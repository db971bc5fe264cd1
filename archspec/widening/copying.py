"""How many there were and how many there are go in; which of the former each of the latter copies comes out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Origin = NDArray[np.intp]
"""For each channel of the wider network, the channel of the narrower that it is a copy of."""


@dataclass(frozen=True)
class Axis:
    """One axis of a parameter: its entries are copies of those of the narrower network."""

    origin: Origin
    length: int
    """Of the axis in the narrower network."""
    summed: bool = False
    """Whether y sums over this axis: the copies of an entry then share its value."""
    factor: float = 1.0
    """Of all entries."""

    @property
    def is_kept(self) -> bool:
        return len(self.origin) == self.length and self.factor == 1.0 and bool((np.diff(self.origin) == 1).all())


Axes = tuple[Axis, ...]
"""Of a parameter, or of a view of it that lays an axis out in several."""

Copies = tuple[Axes, ...]
"""A parameter: one after the other what it holds, such as queries, keys and values; most hold one thing."""


def kept(length: int) -> Axis:
    """An axis that has no more entries than before."""
    return Axis(np.arange(length), length)


def even(narrow: int, wide: int) -> Origin:
    """0 1 2 0 1 2: as many copies of each as there can be, whole groups of them one after the other."""
    return np.arange(wide) % narrow


def by_groups(narrow: int, wide: int, narrow_groups: int, wide_groups: int) -> Origin:
    """Groups are copies of groups, and inside a group that is larger, channels of channels."""
    group, place = np.divmod(np.arange(wide), wide // wide_groups)
    size = narrow // narrow_groups
    origin: Origin = (group % narrow_groups) * size + place % size
    return origin


def of_groups(origin: Origin, narrow: int, narrow_groups: int, wide_groups: int) -> Origin:
    """Which group each group is a copy of, given its channels: that of its first one."""
    first = origin[:: len(origin) // wide_groups]
    return first // (narrow // narrow_groups)


def part_of(origin: Origin, start: int, narrow: int, wide: int) -> Origin:
    """The origin of a slice of channels; even copies where the slice holds copies of channels outside its own."""
    inside = origin - start
    return inside if len(inside) and inside.min() >= 0 and inside.max() < narrow else even(narrow, wide)
