"""Two patterns go in; which step stands for which comes out: the alignment with the least to change.

An alignment keeps the order of the steps. Changing an axis of a connection costs 4, anything else 1; a connection more
or less costs 13, as much as three axes and a bit, so that a connection is rather changed than replaced.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from archspec.relations.signature import Group, Pattern, Stage, Step

AXES = ("space", "channels", "sharing over positions", "sharing over channels", "weights")
"""The three axes of the language, connectivity and sharing in their two directions each."""
# A part of an axis is compared only where the axis is the same: the size of a window is no matter beside no window.
PART_OF = {"size": "space", "placed": "space", "options": "weights"}
# How parameters start, and a width that is not that of the stage, are compared where both connections have them.
SAID_BY_BOTH = ("initial values", "width")
_AXIS, _CONNECTION = 4, 13

Item = Step | Group
Pair = tuple[Item | None, Item | None]


def changed_axes(before: Step, after: Step) -> Iterator[tuple[str, str, str]]:
    """The axes in which two steps of one kind differ: axis, value before, value after."""
    old, new = dict(before.axes), dict(after.axes)
    changed = set()
    for axis in dict.fromkeys((*old, *new)):
        whole = PART_OF.get(axis, axis)
        if whole in changed or old.get(axis) == new.get(axis):
            continue
        if axis in SAID_BY_BOTH and not (axis in old and axis in new):
            continue
        changed.add(whole)
        yield whole, in_words(old, whole), in_words(new, whole)


def in_words(axes: dict[str, str], whole: str) -> str:
    """An axis with its parts."""
    parts = [axes[part] for part, of in PART_OF.items() if of == whole and axes.get(part)]
    value = axes.get(whole, "")
    if whole == "space":
        return " ".join((value, ", ".join(parts))).strip()
    return f"{value} ({', '.join(parts)})" if parts else value


@cache
def cost(before: Item, after: Item) -> int:
    """What it costs to make one step or group of the other."""
    if isinstance(before, Step) and isinstance(after, Step):
        if before.kind == after.kind:
            return sum(_AXIS if axis in AXES else 1 for axis, _, _ in changed_axes(before, after))
    elif isinstance(before, Group) and isinstance(after, Group):
        chains = sum(pattern_cost(old or (), new or ()) for old, new in chain_pairs(before, after))
        return chains + (before.kind != after.kind)
    return whole_cost(before) + whole_cost(after)


@cache
def whole_cost(item: Item) -> int:
    """What it costs to add or remove a step or group."""
    if isinstance(item, Step):
        return _CONNECTION if item.kind == "connect" else 1
    return 1 + sum(whole_cost(inner) for chain in item.chains for inner in chain)


def chain_pairs(before: Group, after: Group) -> list[tuple[Pattern | None, Pattern | None]]:
    """The chains of two groups, first with first."""
    longest = max(len(before.chains), len(after.chains))
    old = [*before.chains, *[None] * (longest - len(before.chains))]
    new = [*after.chains, *[None] * (longest - len(after.chains))]
    return list(zip(old, new, strict=True))


@cache
def pattern_cost(before: Pattern, after: Pattern) -> int:
    """What the cheapest alignment of two patterns costs."""
    return 0 if before == after else _table(before, after)[-1][-1]


def align(before: Pattern, after: Pattern) -> list[Pair]:
    """The cheapest alignment: pairs of what stands for what, None where one has nothing."""
    table = _table(before, after)
    pairs: list[Pair] = []
    i, j = len(before), len(after)
    while i or j:
        if i and j and table[i][j] == table[i - 1][j - 1] + cost(before[i - 1], after[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((before[i], after[j]))
        elif i and table[i][j] == table[i - 1][j] + whole_cost(before[i - 1]):
            i -= 1
            pairs.append((before[i], None))
        else:
            j -= 1
            pairs.append((None, after[j]))
    return pairs[::-1]


def _table(before: Pattern, after: Pattern) -> list[list[int]]:
    """Costs of aligning the first i steps with the first j (edit distance by dynamic programming)."""
    row = [0]
    for item in after:
        row.append(row[-1] + whole_cost(item))
    table = [row]
    for old in before:
        above, row = row, [row[0] + whole_cost(old)]
        for j, new in enumerate(after):
            substitution = above[j] + cost(old, new)
            row.append(min(substitution, above[j + 1] + whole_cost(old), row[j] + whole_cost(new)))
        table.append(row)
    return table


def aligned_blocks(before: Stage, after: Stage) -> list[tuple[Pattern, Pattern]]:
    """Each distinct block of either stage with the one of the other that it costs least to make of it."""
    pairs = {(block, _cheapest(block, after.blocks)): None for block in before.blocks}
    taken = {new for _, new in pairs}
    pairs |= {(_cheapest(block, before.blocks), block): None for block in after.blocks if block not in taken}
    return list(pairs)


def _cheapest(block: Pattern, choices: Sequence[Pattern]) -> Pattern:
    return min(choices, key=lambda choice: pattern_cost(block, choice))


@dataclass(frozen=True)
class StagePair:
    """Two stages that are compared; `extra`: one of them is one more, compared with its like (which has a partner)."""

    before: Stage
    after: Stage
    extra: Literal["", "before", "after"] = ""


def stage_pairs(before: Sequence[Stage], after: Sequence[Stage]) -> list[StagePair]:
    """Stages of two networks, in order: one by one when there are as many, otherwise with the least to change.

    Every stage of the longer network is compared with one of the shorter, in order; of several with one partner the
    cheapest is the partner's and the others are extra.
    """
    if len(before) == len(after):
        return [StagePair(old, new) for old, new in zip(before, after, strict=True)]
    fewer, more = sorted((before, after), key=len)
    partners = _partners(fewer, more)
    cheapest = {
        partner: min(
            (number for number, other in enumerate(partners) if other == partner),
            key=lambda number: stage_cost(fewer[partner], more[number]),
        )
        for partner in set(partners)
    }
    pairs = []
    for number, partner in enumerate(partners):
        extra = cheapest[partner] != number
        if fewer is before:
            pairs.append(StagePair(fewer[partner], more[number], "after" if extra else ""))
        else:
            pairs.append(StagePair(more[number], fewer[partner], "before" if extra else ""))
    return pairs


def aligned_stages(before: Sequence[Stage], after: Sequence[Stage]) -> list[tuple[Stage | None, Stage | None]]:
    """Stages of two networks, each at most once: None where one network has a stage more."""
    return [
        (None if pair.extra == "after" else pair.before, None if pair.extra == "before" else pair.after)
        for pair in stage_pairs(before, after)
    ]


def _partners(fewer: Sequence[Stage], more: Sequence[Stage]) -> list[int]:
    """For each stage of the longer network one of the shorter: in order, each at least once, the cheapest way."""
    best: dict[tuple[int, int], tuple[int, list[int]]] = {}
    for j, stage in enumerate(more):
        for i in range(max(0, len(fewer) - len(more) + j), min(j + 1, len(fewer))):
            ways = [best[way] for way in ((i, j - 1), (i - 1, j - 1)) if way in best]
            price, taken = min(ways, key=lambda way: way[0], default=(0, []))
            best[i, j] = price + stage_cost(fewer[i], stage), [*taken, i]
    return best[len(fewer) - 1, len(more) - 1][1]


def stage_cost(before: Stage, after: Stage) -> int:
    """What it costs to make the blocks of one stage of those of another."""
    return sum(pattern_cost(old, new) for old, new in aligned_blocks(before, after))
