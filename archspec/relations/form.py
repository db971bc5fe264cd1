"""The axes of one layer y = W x without its sizes: a form. Forms are ordered; the order is the relation graph.

A form says where W has entries (space, channels), whether W is a product of thinner matrices (low_rank), where the
values of the entries come from (weights) and what tells the entries of one row apart (index). Each axis is ordered
towards more sparsity, lower rank, dynamics and more sharing over positions:

space     full < local < point          fewer entries; local: some of the positions, whichever
channels  full < groups < separate      fewer entries
low_rank  none < space, channels < both
weights   static < homogeneous          one set of weights for each image (D-DW)
          static < inhomogeneous        one for each position: from its centre (I-D-DW) or by pairs (attention)
index     places < windows < content < offsets
          places: each pair of positions (i, j) has its own law, nothing is shared over positions
          windows: the positions of all windows share one
          content: all pairs share one law, which knows x_i and x_j and no place: the window is a set (Appendix B)
          offsets: all positions share one law, which has a part of its own for each offset j - i: a vector

Sharing over channels is no axis of the order: from Sep. MLP (one matrix for all channels) to DW-S Conv. (one kernel
for each) the paper gives it up along an arrow. Source: arXiv 2106.04263, Table 1, Appendix A and B.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

Space = Literal["full", "local", "point"]
Channels = Literal["full", "groups", "separate"]
Weights = Literal["static", "homogeneous", "inhomogeneous"]
Index = Literal["places", "windows", "content", "offsets"]
Direction = Literal["space", "channels"]

SPACES: tuple[Space, ...] = ("full", "local", "point")
CHANNELS: tuple[Channels, ...] = ("full", "groups", "separate")
INDEXES: tuple[Index, ...] = ("places", "windows", "content", "offsets")


@dataclass(frozen=True)
class Form:
    """One layer without its sizes. Field by field: this module's docstring."""

    space: Space
    channels: Channels
    low_rank: frozenset[Direction]
    weights: Weights
    index: Index

    def __le__(self, other: "Form") -> bool:
        """Whether `other` is the same or further along every axis."""
        return (
            SPACES.index(self.space) <= SPACES.index(other.space)
            and CHANNELS.index(self.channels) <= CHANNELS.index(other.channels)
            and self.low_rank <= other.low_rank
            and self.weights in ("static", other.weights)
            and INDEXES.index(self.index) <= INDEXES.index(other.index)
        )

    def __lt__(self, other: "Form") -> bool:
        return self != other and self <= other

    def as_dict(self) -> dict[str, str]:
        """The axes and their values in words, in the order of this module's docstring."""
        return {field.name: _word(getattr(self, field.name)) for field in fields(self)}

    def __str__(self) -> str:
        return ", ".join(f"{axis.replace('_', ' ')} {value}" for axis, value in self.as_dict().items())


@dataclass(frozen=True)
class FormEdit:
    """One axis in which two forms differ."""

    axis: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.axis.replace('_', ' ')}: {self.before} → {self.after}"


def form_edits(before: Form, after: Form) -> tuple[FormEdit, ...]:
    """The axes in which two forms differ, each once."""
    return tuple(_edits(before, after))


def _edits(before: Form, after: Form) -> Iterator[FormEdit]:
    theirs = after.as_dict()
    for axis, value in before.as_dict().items():
        if value != theirs[axis]:
            yield FormEdit(axis, value, theirs[axis])


def _word(value: str | frozenset[Direction]) -> str:
    return value if isinstance(value, str) else " and ".join(sorted(value, reverse=True)) or "none"
