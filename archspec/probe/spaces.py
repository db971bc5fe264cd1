"""Which positions were read goes in; the space of the language that it is, and its holes, come out (no torch).

Most spaces are products of a relation over rows and one over columns (lines.py); those that are not are in patterns.py.
A relation is read off by majority, so that an entry cut off does not change the space but is named as a hole.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from archspec.probe.facts import Footprint, Hole, Map, Pair, Position, Space
from archspec.probe.lines import Axis, Relation, axis
from archspec.probe.patterns import Fit, patterns

LARGEST_SHARE_OF_HOLES = 0.2


def fit(footprints: Sequence[Footprint], source: Map, target: Map) -> tuple[Fit, tuple[Hole, ...]]:
    """The space with the fewest entries missing or extra; irregular where that is more than a fifth of them."""
    choices = [_product(footprints, source, target)]
    if choices[0].space.kind == "irregular" or _mismatches(choices[0], footprints):
        choices += patterns(footprints, source, target)
    regular = [each for each in choices if each.space.kind != "irregular"]
    best = min(regular, key=lambda each: _mismatches(each, footprints), default=choices[0])
    entries = sum(len(best.reads(each.position)) for each in footprints)
    if best.space.kind == "irregular" or _mismatches(best, footprints) > LARGEST_SHARE_OF_HOLES * max(entries, 1):
        return _irregular(footprints), ()
    return best, holes(best, footprints)


def _irregular(footprints: Sequence[Footprint]) -> Fit:
    """No space of the language: what was read, as it is."""
    kind: Literal["nothing", "irregular"] = "irregular" if any(each.reads for each in footprints) else "nothing"
    return Fit(Space(kind), table={each.position: frozenset(each.reads) for each in footprints})


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
    rows = axis(_relation(footprints, 0, target.height, source.height), source.height)
    columns = axis(_relation(footprints, 1, target.width, source.width), source.width)
    return Fit(_combined(rows, columns, source), rows.relation, columns.relation)


def _relation(footprints: Sequence[Footprint], along: int, outgoing: int, incoming: int) -> Relation:
    """By majority: what an outgoing row reads at least half as often as the row it reads most."""
    totals = [[0.0] * incoming for _ in range(outgoing)]
    seen = [0] * outgoing
    for each in footprints:
        counts = Counter(position[along] for position in each.reads)
        if not counts:
            continue
        seen[each.position[along]] += 1
        most = max(counts.values())
        for number, count in counts.items():
            totals[each.position[along]][number] += count / most
    return tuple(
        frozenset(number for number, total in enumerate(line) if times and total / times > 0.5)
        for line, times in zip(totals, seen, strict=True)
    )


def _combined(rows: Axis, columns: Axis, source: Map) -> Space:
    """Two relations as one space: a point is a window or a kernel of one, and everything is a window of the map."""
    rows, columns = _of_one_line(rows, columns, source.height), _of_one_line(columns, rows, source.width)
    both = (rows, columns)
    if source.positions - source.tokens == len(rows.relation) == len(columns.relation) == 1:
        return Space("point")
    if source.height == 1 and columns.size == columns.before + 1 == source.width > 1:
        return Space("causal")
    special = {each.kind for each in both} - {"point", "full"}
    grows = (rows.grows, columns.grows)
    if not special:
        if rows.kind == columns.kind:
            return Space(rows.kind, grows=grows)
        return Space("window", size=(rows.size, columns.size))
    if len(special) > 1 or "irregular" in special:
        return Space("irregular")
    kind = special.pop()
    # Beside a kernel, a whole line is a kernel that reaches it from everywhere.
    lengths: Pair = (source.height, source.width)
    whole = [each.kind == "full" and kind == "sliding" for each in both]
    size = [2 * length - 1 if all_ else each.size for each, length, all_ in zip(both, lengths, whole, strict=True)]
    before = [length - 1 if all_ else each.before for each, length, all_ in zip(both, lengths, whole, strict=True)]
    return Space(
        kind,
        size=(size[0], size[1]),
        dilation=(rows.dilation, columns.dilation),
        stride=(rows.stride, columns.stride),
        before=(before[0], before[1]),
        shift=(rows.shift, columns.shift),
        halo=(rows.halo, columns.halo),
        cyclic=rows.cyclic or columns.cyclic,
        grows=grows,
    )


def _of_one_line(line: Axis, other: Axis, length: int) -> Axis:
    """Along an axis of one line, a point is everything: it is called what the other axis is."""
    if length > 1 or line.kind not in ("full", "point"):
        return line
    return replace(line, kind="full" if other.kind == "full" else "point")
