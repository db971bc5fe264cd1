"""Which rows (or columns) were read goes in; the relation along that axis, one of few kinds, comes out (no torch)."""

import math
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Relation = tuple[frozenset[int], ...]
"""Of each outgoing row (or column), the incoming rows that it reads."""
AxisKind = Literal["point", "full", "sliding", "window", "grid", "halo", "overlapping", "irregular"]


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
    cyclic: bool = False
    grows: int = 1


def axis(relation: Relation, incoming: int) -> Axis:
    """The simplest relation that this is; lines that were not measured are filled in by what the others are."""
    outgoing = len(relation)
    known = [number for number, line in enumerate(relation) if line]
    everything = frozenset(range(incoming))
    if not known:
        return Axis("irregular", relation)
    if all(relation[number] == everything for number in known):
        return Axis("full", (everything,) * outgoing, size=incoming)
    for kind in (_grid, _sliding, _window, _halo, _overlapping, _cyclic, _growing):
        found = kind(relation, known, incoming)
        if found is not None:
            return found
    return Axis("irregular", relation)


def strides(incoming: int, outgoing: int) -> list[int]:
    """The strides with which so many positions may become so many, likeliest first."""
    ratio = incoming / outgoing
    return list(dict.fromkeys(max(1, step) for step in (round(ratio), math.floor(ratio), math.ceil(ratio))))


def _sliding(relation: Relation, known: list[int], incoming: int) -> Axis | None:
    for stride in strides(incoming, len(relation)):
        found = _sliding_by(stride, relation, known, incoming)
        if found is not None:
            ring = _cyclic(relation, known, incoming)
            return ring if ring is not None and ring.size < found.size else found
    return None


def _sliding_by(stride: int, relation: Relation, known: list[int], incoming: int) -> Axis | None:
    outgoing = len(relation)
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


def _cyclic(relation: Relation, known: list[int], incoming: int) -> Axis | None:
    """A kernel on a ring: what leaves on one side comes in on the other."""
    outgoing = len(relation)
    if incoming % outgoing:
        return None
    stride = incoming // outgoing
    ring = {frozenset((other - stride * number) % incoming for other in relation[number]) for number in known}
    if len(ring) > 1:
        return None
    (offsets,) = ring
    taps = sorted((offset + incoming // 2) % incoming - incoming // 2 for offset in offsets)
    steps = {later - earlier for earlier, later in pairwise(taps)}
    if len(steps) > 1:
        return None
    ideal = tuple(frozenset((stride * number + offset) % incoming for offset in offsets) for number in range(outgoing))
    return Axis("sliding", ideal, len(taps), next(iter(steps), 1), stride, -taps[0], cyclic=True)


def _growing(relation: Relation, known: list[int], incoming: int) -> Axis | None:
    """A kernel onto a larger map: position i stands on i // grows, and each of its phases has taps of its own."""
    outgoing = len(relation)
    if outgoing % incoming or outgoing == incoming:
        return None
    grows = outgoing // incoming
    taps: dict[int, set[int]] = {phase: set() for phase in range(grows)}
    for number in known:
        taps[number % grows].update(other - number // grows for other in relation[number])
    ideal = tuple(
        frozenset(n // grows + tap for tap in taps[n % grows] if 0 <= n // grows + tap < incoming)
        for n in range(outgoing)
    )
    if any(ideal[number] != relation[number] for number in known):
        return None
    spans = [(min(each), max(each)) for each in taps.values() if each]
    size = max(last - first + 1 for first, last in spans)
    before = -min(first for first, _ in spans)
    return Axis("point" if (size, before) == (1, 0) else "sliding", ideal, size, before=before, grows=grows)


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
