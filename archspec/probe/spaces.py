"""Which positions were read goes in; the space of the language that it is, and its holes, come out (no torch).

All spaces but `cross` are products of a relation over rows and one over columns. A relation is read off by majority,
so that an entry cut off does not change the space but is named as a hole.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from archspec.probe.facts import Footprint, Hole, Map, Pair, Position, Space

Relation = tuple[frozenset[int], ...]
"""Of each outgoing row (or column), the incoming rows that it reads."""
AxisKind = Literal["point", "full", "sliding", "window", "grid", "halo", "overlapping", "irregular"]
LARGEST_SHARE_OF_HOLES = 0.2


@dataclass(frozen=True)
class Axis:
    """A relation along one axis."""

    kind: AxisKind
    relation: Relation
    size: int = 1
    dilation: int = 1
    stride: int = 1
    before: int = 0
    shift: int = 0
    halo: int = 0


@dataclass(frozen=True)
class Fit:
    """A space, and the read positions that it says each output position has."""

    space: Space
    rows: Relation
    columns: Relation
    cross: bool = False

    def reads(self, position: Position) -> frozenset[Position]:
        row, column = position
        if self.cross:
            down = {(other, column) for other in range(len(self.rows))}
            return frozenset(down | {(row, other) for other in range(len(self.columns))})
        return frozenset((r, c) for r in self.rows[row] for c in self.columns[column])


def fit(footprints: Sequence[Footprint], source: Map, target: Map) -> tuple[Fit, tuple[Hole, ...]]:
    """The space with the fewest entries missing or extra; irregular where that is more than a fifth of them."""
    product = _product(footprints, source, target)
    candidates = [product]
    if (source.height, source.width) == (target.height, target.width) and min(source.height, source.width) > 2:
        lines = tuple(frozenset({number}) for number in range(source.height))
        across = tuple(frozenset({number}) for number in range(source.width))
        candidates.append(Fit(Space("cross"), lines, across, cross=True))
    best = min(candidates, key=lambda each: _mismatches(each, footprints))
    entries = sum(len(best.reads(each.position)) for each in footprints)
    if best.space.kind == "irregular" or _mismatches(best, footprints) > LARGEST_SHARE_OF_HOLES * max(entries, 1):
        kind: Literal["nothing", "irregular"] = "irregular" if any(each.reads for each in footprints) else "nothing"
        return replace(best, space=Space(kind)), ()
    return best, holes(best, footprints)


def _mismatches(found: Fit, footprints: Iterable[Footprint]) -> int:
    return sum(len(found.reads(each.position) ^ set(each.reads)) for each in footprints)


def holes(found: Fit, footprints: Sequence[Footprint], channels: tuple[int, ...] = ()) -> tuple[Hole, ...]:
    """Entries that the space has and the footprints have not, and the other way round; whole positions first."""
    expected = {each.position: found.reads(each.position) for each in footprints}
    silent = {each.position for each in footprints if expected[each.position] and not each.reads}
    wanted: Counter[Position] = Counter()
    given: Counter[Position] = Counter()
    for each in footprints:
        if each.position not in silent:
            wanted.update(expected[each.position])
            given.update(expected[each.position] & set(each.reads))
    unread = {position for position, count in wanted.items() if count > 1 and not given[position]}
    result = [Hole("output", output=position, channels=channels) for position in sorted(silent)]
    result += [Hole("input", input=position, channels=channels) for position in sorted(unread)]
    for each in footprints:
        if each.position in silent:
            continue
        missing = sorted(expected[each.position] - set(each.reads) - unread)
        extra = sorted(set(each.reads) - expected[each.position])
        result += [Hole("entry", each.position, position, channels) for position in missing]
        result += [Hole("extra", each.position, position, channels) for position in extra]
    return tuple(result)


def _product(footprints: Sequence[Footprint], source: Map, target: Map) -> Fit:
    rows = _axis(_relation(footprints, 0, target.height, source.height), source.height)
    columns = _axis(_relation(footprints, 1, target.width, source.width), source.width)
    return Fit(_combined(rows, columns, source), rows.relation, columns.relation)


def _relation(footprints: Sequence[Footprint], axis: int, outgoing: int, incoming: int) -> Relation:
    """By majority: what an outgoing row reads at least half as often as the row it reads most."""
    totals = [[0.0] * incoming for _ in range(outgoing)]
    seen = [0] * outgoing
    for each in footprints:
        counts = Counter(position[axis] for position in each.reads)
        if not counts:
            continue
        seen[each.position[axis]] += 1
        most = max(counts.values())
        for number, count in counts.items():
            totals[each.position[axis]][number] += count / most
    return tuple(
        frozenset(number for number, total in enumerate(line) if times and total / times > 0.5)
        for line, times in zip(totals, seen, strict=True)
    )


def _axis(relation: Relation, incoming: int) -> Axis:
    """The simplest relation that this is; lines that were not measured are filled in by what the others are."""
    outgoing = len(relation)
    known = [number for number, line in enumerate(relation) if line]
    everything = frozenset(range(incoming))
    if not known:
        return Axis("irregular", relation)
    if all(relation[number] == everything for number in known):
        return Axis("full", (everything,) * outgoing, size=incoming)
    for kind in (_grid, _sliding, _window, _halo, _overlapping):
        found = kind(relation, known, incoming)
        if found is not None:
            return found
    return Axis("irregular", relation)


def _sliding(relation: Relation, known: list[int], incoming: int) -> Axis | None:
    outgoing = len(relation)
    stride = max(1, round(incoming / outgoing))
    present: Counter[int] = Counter()
    for number in known:
        present.update(other - stride * number for other in relation[number])
    possible: Counter[int] = Counter()
    for number in known:
        possible.update(offset for offset in present if 0 <= stride * number + offset < incoming)
    taps = sorted(offset for offset in present if present[offset] > possible[offset] / 2)
    if not taps:
        return None
    steps = {later - earlier for earlier, later in pairwise(taps)}
    if len(steps) > 1:
        return None
    ideal = tuple(
        frozenset(stride * number + tap for tap in taps if 0 <= stride * number + tap < incoming)
        for number in range(outgoing)
    )
    if any(ideal[number] != relation[number] for number in known):
        return None
    if taps == [0] and stride == 1 and outgoing == incoming:
        return Axis("point", ideal)
    return Axis("sliding", ideal, len(taps), next(iter(steps), 1), stride, -taps[0])


def _segments(relation: Relation, known: list[int]) -> list[tuple[int, int]]:
    """Runs of outgoing lines that read the same, as [first, past the last)."""
    edges = [known[0]]
    edges += [later for earlier, later in pairwise(known) if relation[earlier] != relation[later]]
    return list(zip(edges, [*edges[1:], known[-1] + 1], strict=True))


def _window(relation: Relation, known: list[int], incoming: int) -> Axis | None:
    if len(known) < len(relation) or len(relation) != incoming:
        return None
    parts = _segments(relation, known)
    if any(relation[first] != frozenset(range(first, past)) for first, past in parts):
        return None
    lengths = [past - first for first, past in parts]
    size = max(lengths)
    if any(length != size for length in lengths[1:-1]):
        return None
    return Axis("window", relation, size, shift=lengths[0] % size)


def _grid(relation: Relation, known: list[int], incoming: int) -> Axis | None:
    if len(known) < len(relation) or len(relation) != incoming:
        return None
    for step in range(2, incoming):
        ideal = tuple(frozenset(range(number % step, incoming, step)) for number in range(incoming))
        if ideal == relation:
            return Axis("grid", relation, -(-incoming // step))
    return None


def _halo(relation: Relation, known: list[int], incoming: int) -> Axis | None:
    if len(known) < len(relation) or len(relation) != incoming:
        return None
    parts = _segments(relation, known)
    size = max(past - first for first, past in parts)
    if any(past - first != size for first, past in parts[:-1]):
        return None
    halo = max(parts[0][0] - min(relation[parts[0][0]]), max(relation[parts[0][0]]) + 1 - parts[0][1])
    for first, _ in parts:
        if relation[first] != frozenset(range(max(0, first - halo), min(incoming, first + size + halo))):
            return None
    return Axis("halo", relation, size, halo=halo)


def _overlapping(relation: Relation, known: list[int], incoming: int) -> Axis | None:
    """All windows, one around every stride-th position, that hold a position: what outlook weights read."""
    if len(known) < len(relation) or len(relation) != incoming:
        return None
    for stride in range(2, incoming // 2 + 1):
        for size in range(3, incoming, 2):
            half = size // 2
            windows = [range(max(0, m - half), min(incoming, m + half + 1)) for m in range(0, incoming, stride)]
            ideal = tuple(
                frozenset(j for window in windows if number in window for j in window) for number in range(incoming)
            )
            if ideal == relation:
                return Axis("overlapping", relation, size, stride=stride)
    return None


def _combined(rows: Axis, columns: Axis, source: Map) -> Space:
    """Two relations as one space: a point is a window or a kernel of one, and everything is a window of the map."""
    special = {rows.kind, columns.kind} - {"point", "full"}
    if not special:
        if rows.kind == columns.kind:
            return Space(rows.kind)
        return Space("window", size=(rows.size, columns.size))
    if len(special) > 1 or "irregular" in special:
        return Space("irregular")
    kind = special.pop()
    lengths: Pair = (source.height, source.width)
    size = tuple(
        2 * length - 1 if axis.kind == "full" and kind == "sliding" else axis.size
        for axis, length in zip((rows, columns), lengths, strict=True)
    )
    before = tuple(
        length - 1 if axis.kind == "full" and kind == "sliding" else axis.before
        for axis, length in zip((rows, columns), lengths, strict=True)
    )
    return Space(
        kind,
        (size[0], size[1]),
        (rows.dilation, columns.dilation),
        (rows.stride, columns.stride),
        (before[0], before[1]),
        (rows.shift, columns.shift),
        (rows.halo, columns.halo),
    )
