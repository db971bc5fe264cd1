"""Rows of W go in; which of its entries are equal across positions comes out, and the positions that are unlike."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch
from torch import Tensor

from archspec.probe.facts import Position
from archspec.probe.scene import Scene, place
from archspec.probe.spaces import Fit

EQUAL = 1e-7
LARGEST_SHARE_OF_ODD = 0.2
Sharing = Literal["none", "windows", "offsets", "all", "irregular"]


@dataclass(frozen=True)
class Entry:
    """One entry of W, seen through two combinations of its channels."""

    output: Position
    input: Position
    seen: tuple[float, float]


def position_ties(rows: Tensor, scene: Scene, found: Fit, inside: bool = False) -> tuple[Sharing, tuple[Position, ...]]:
    """How entries are tied over positions, and the output positions whose entries are not as the others'.

    rows: (P, N, C), the same combination of channels at each measured position. inside: only positions that read as
    many others as there are to read, since a border changes what an activation after W does.
    """
    entries = _entries(rows, scene, found)
    if inside:
        counts = Counter(each.output for each in entries)
        entries = [each for each in entries if counts[each.output] == max(counts.values())]
    scale = max((abs(each.seen[0]) for each in entries), default=0.0)
    stride = found.space.stride
    kinds: tuple[tuple[Sharing, Callable[[Entry], Hashable]], ...] = (
        ("all", lambda each: ()),
        (
            "offsets",
            lambda each: (each.input[0] - stride[0] * each.output[0], each.input[1] - stride[1] * each.output[1]),
        ),
        ("windows", lambda each: _in_window(each, found, scene)),
    )
    for kind, key in kinds:
        if kind == "windows" and found.space.kind not in ("window", "grid", "halo"):
            continue
        if kind == "all" and found.space.kind == "point":
            continue
        tied, odd = _tied(entries, key, scale)
        if tied:
            return kind, odd
    return "none", ()


def _entries(rows: Tensor, scene: Scene, found: Fit) -> list[Entry]:
    source, target = scene.subject.source, scene.subject.target
    mixed = rows @ torch.stack([torch.linspace(1, 2, rows.shape[2]), torch.linspace(0, 9, rows.shape[2]).cos()], 1).to(
        rows
    )
    result = []
    for line, i in zip(mixed.tolist(), scene.positions, strict=True):
        output = place(i, target)
        for position in found.reads(output):
            seen = line[source.tokens + position[0] * source.width + position[1]]
            result.append(Entry(output, position, (seen[0], seen[1])))
    return result


def _in_window(entry: Entry, found: Fit, scene: Scene) -> Hashable:
    """Where both positions stand in the window; with a halo, how far the input is from where the window begins."""
    slot = _slot(entry.output, found, scene)
    if found.space.kind != "halo":
        return slot, _slot(entry.input, found, scene)
    begin = (entry.output[0] - slot[0], entry.output[1] - slot[1])
    return slot, (entry.input[0] - begin[0], entry.input[1] - begin[1])


def _slot(position: Position, found: Fit, scene: Scene) -> Position:
    """Where a position stands in its window."""
    space, source = found.space, scene.subject.source
    lengths = (source.height, source.width)
    slots = []
    for axis in (0, 1):
        size, shift = space.size[axis], space.shift[axis]
        padded = -(-lengths[axis] // size) * size
        moved = (position[axis] - shift) % padded
        slots.append(moved // (padded // size) if space.kind == "grid" else moved % size)
    return slots[0], slots[1]


def _tied(
    entries: Sequence[Entry], key: Callable[[Entry], Hashable], scale: float
) -> tuple[bool, tuple[Position, ...]]:
    """Whether entries with equal keys are equal, but at few output positions, and these."""
    groups: dict[Hashable, list[Entry]] = defaultdict(list)
    for each in entries:
        groups[key(each)].append(each)
    repeated = [group for group in groups.values() if len(group) > 1]
    if not repeated or sum(map(len, repeated)) < len(entries) / 2:
        return False, ()
    odd: set[Position] = set()
    for group in repeated:
        usual = tuple(median(each.seen[n] for each in group) for n in (0, 1))
        odd.update(each.output for each in group if any(abs(each.seen[n] - usual[n]) > EQUAL * scale for n in (0, 1)))
    outputs = {each.output for each in entries}
    return len(odd) <= LARGEST_SHARE_OF_ODD * len(outputs), tuple(sorted(odd))


def same_for_all(rows: Tensor, scene: Scene, found: Fit) -> bool:
    """Whether weights are one set for all positions: tied over offsets or windows."""
    return position_ties(rows, scene, found)[0] in ("offsets", "windows", "all")
