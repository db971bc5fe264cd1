"""Which positions were read goes in; spaces that are no product of rows and columns come out (no torch).

cross: row and column. causal: itself and all before it. sliding: a kernel of which some offsets are missing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import gcd

from archspec.probe.facts import Footprint, Map, Pair, Position, Space
from archspec.probe.lines import Relation, strides

LEAST_COUNT = 9
"""Any offsets are a kernel of one position: so many positions make one."""
LEAST_SHARE = 0.25
"""An offset counts as one of the kernel where at least so many positions could have it: others are single entries."""


@dataclass(frozen=True)
class Fit:
    """A space, and the read positions that it says each output position has."""

    space: Space
    rows: Relation = ()
    columns: Relation = ()
    table: Mapping[Position, frozenset[Position]] | None = None
    """Of a space that is no product: what each output position reads."""

    def reads(self, position: Position) -> frozenset[Position]:
        if self.table is not None:
            return self.table.get(position, frozenset())
        row, column = position
        return frozenset((r, c) for r in self.rows[row] for c in self.columns[column])


def patterns(footprints: Sequence[Footprint], source: Map, target: Map) -> list[Fit]:
    """Every such space that these footprints might be."""
    found = [
        kernel
        for down, across in product(strides(source.height, target.height), strides(source.width, target.width))
        for kernel in (_kernel(footprints, source, (down, across)),)
        if kernel is not None and len(footprints) >= LEAST_COUNT
    ]
    if (source.height, source.width) == (target.height, target.width):
        places = list(product(range(source.height), range(source.width)))
        if min(source.height, source.width) > 2:
            cross = {i: frozenset(j for j in places if i[0] == j[0] or i[1] == j[1]) for i in places}
            found.append(Fit(Space("cross"), table=cross))
        before = {i: frozenset(places[: number + 1]) for number, i in enumerate(places)}
        found.append(Fit(Space("causal"), table=before))
    return found


def _kernel(footprints: Sequence[Footprint], source: Map, stride: Pair) -> Fit | None:
    """Offsets that most positions read which can; None where there is no such kernel."""
    present: Counter[Pair] = Counter()
    for each in footprints:
        present.update(_offset(each.position, read, stride) for read in each.reads)
    lengths = (source.height, source.width)
    taps = []
    for offset, count in present.items():
        possible = sum(_inside(each.position, offset, stride, lengths) for each in footprints)
        if possible >= LEAST_SHARE * len(footprints) and count > possible / 2:
            taps.append(offset)
    if not taps:
        return None
    table = {
        each.position: frozenset(
            (stride[0] * each.position[0] + down, stride[1] * each.position[1] + across)
            for down, across in taps
            if _inside(each.position, (down, across), stride, lengths)
        )
        for each in footprints
    }
    return Fit(_space(sorted(taps), stride), table=table)


def _offset(output: Position, read: Position, stride: Pair) -> Pair:
    return read[0] - stride[0] * output[0], read[1] - stride[1] * output[1]


def _inside(output: Position, offset: Pair, stride: Pair, lengths: Pair) -> bool:
    return all(
        0 <= step * place + move < length
        for place, move, step, length in zip(output, offset, stride, lengths, strict=True)
    )


def _space(taps: list[Pair], stride: Pair) -> Space:
    """The box of these offsets, and which of it are missing."""
    lines = [sorted({tap[along] for tap in taps}) for along in (0, 1)]
    dilation = [gcd(*(later - earlier for earlier, later in pairwise(line))) or 1 for line in lines]
    box = [range(line[0], line[-1] + 1, step) for line, step in zip(lines, dilation, strict=True)]
    without = tuple(offset for offset in product(box[0], box[1]) if offset not in set(taps))
    return Space(
        "sliding",
        size=(len(box[0]), len(box[1])),
        dilation=(dilation[0], dilation[1]),
        stride=stride,
        before=(-lines[0][0], -lines[1][0]),
        without=without,
    )
