"""Rows of W go in; which of its entries are equal across positions comes out, and the positions that are unlike."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import torch
from torch import Tensor

from archspec.probe.facts import Pair, Position, Space
from archspec.probe.patterns import Fit
from archspec.probe.scene import Scene, place

EQUAL = 1e-7
LARGEST_SHARE_OF_ODD = 0.2
Sharing = Literal["none", "windows", "offsets", "rows", "columns", "outputs", "inputs", "all", "irregular"]
Mirror = Literal["left-right", "up-down", "point"]
Keys = dict[Sharing, Callable[["Entry"], Hashable]]


@dataclass(frozen=True)
class Entry:
    """One entry of W, seen through two combinations of its channels."""

    output: Position
    input: Position
    seen: tuple[float, float]


@dataclass(frozen=True)
class PositionTies:
    """How entries are tied over positions."""

    kind: Sharing
    odd: tuple[Position, ...] = ()
    """The output positions whose entries are not as the others'."""
    border: bool = False
    """Whether this holds only where a position reads as many others as there are to read."""
    mirrored: tuple[Mirror, ...] = ()


def position_ties(rows: Tensor, scene: Scene, found: Fit, inside: bool = False) -> PositionTies:
    """How entries are tied over positions, and the output positions whose entries are not as the others'.

    rows: (P, N, C), the same combination of channels at each measured position. inside: only positions that read as
    many others as there are to read, since a border changes what an activation after W does.
    """
    entries = _entries(rows, scene, found)
    counts = Counter(each.output for each in entries)
    most = max(counts.values(), default=0)
    within = [each for each in entries if counts[each.output] == most]
    strong, weak = _keys(scene, found)
    ties = _first_that_holds(within if inside else entries, strong)
    cut = [position for position in ties.odd if counts[position] < most]
    if ties.odd and len(cut) == len(ties.odd):
        ties = replace(ties, odd=(), border=True)
    if ties.kind == "none" and found.space.kind == "sliding":
        # A border that is reflected or repeated puts several weights onto one position.
        ties = replace(_first_that_holds(within, strong), border=True)
    if ties.kind == "none":
        ties = _first_that_holds(within if inside else entries, weak)
    if ties.kind == "offsets" and found.space.kind in ("sliding", "full"):
        return replace(ties, mirrored=_mirrors(within if ties.border else entries, scene, found.space))
    return ties


def _first_that_holds(entries: Sequence[Entry], keys: Keys) -> PositionTies:
    """The first kind, from the strongest on, by which entries with equal keys are equal."""
    scale = max((abs(each.seen[0]) for each in entries), default=0.0)
    for kind, key in keys.items():
        tied, odd = _tied(entries, key, scale)
        if tied:
            return PositionTies(kind, odd)
    return PositionTies("none")


def _keys(scene: Scene, found: Fit) -> tuple[Keys, Keys]:
    """What entries have in common that may be equal, by kind of sharing, the strongest first: of the map, of parts."""

    def offset(each: Entry) -> Hashable:
        return _offset(each, scene, found.space)

    strong: Keys = {"all": lambda each: ()} if found.space.kind != "point" else {}
    strong["offsets"] = offset
    if found.space.kind in ("window", "grid", "halo"):
        strong["windows"] = lambda each: _in_window(each, found, scene)
    weak: Keys = {}
    if min(scene.subject.source.height, scene.subject.source.width) > 1:
        weak["rows"] = lambda each: (each.output[0], offset(each))
        weak["columns"] = lambda each: (each.output[1], offset(each))
    if found.space.kind != "point":
        weak["outputs"] = lambda each: each.output
        weak["inputs"] = lambda each: each.input
    return strong, weak


def _offset(each: Entry, scene: Scene, space: Space) -> tuple[Pair, Pair]:
    """j - i, where i is measured in input positions, and the phase of i where the map grows."""
    source = scene.subject.source
    moves, phases = [], []
    for along, length in enumerate((source.height, source.width)):
        stands, phase = divmod(space.stride[along] * each.output[along], space.grows[along])
        move = each.input[along] - stands
        moves.append(move % length if space.cyclic else move)
        phases.append(phase)
    return (moves[0], moves[1]), (phases[0], phases[1])


def _mirrors(entries: Sequence[Entry], scene: Scene, space: Space) -> tuple[Mirror, ...]:
    """With which mirror images of itself the kernel is equal."""
    if space.cyclic or space.grows != (1, 1):
        return ()
    values: dict[Pair, list[tuple[float, float]]] = defaultdict(list)
    for each in entries:
        values[_offset(each, scene, space)[0]].append(each.seen)
    kernel = {move: tuple(median(seen[n] for seen in every) for n in (0, 1)) for move, every in values.items()}
    # Twice the middle of the kernel: a mirror image of a move is this less the move.
    twice = tuple(min(move[n] for move in kernel) + max(move[n] for move in kernel) for n in (0, 1))
    across = _is_mirrored(kernel, lambda move: (move[0], twice[1] - move[1]))
    down = _is_mirrored(kernel, lambda move: (twice[0] - move[0], move[1]))
    point = _is_mirrored(kernel, lambda move: (twice[0] - move[0], twice[1] - move[1]))
    wide, tall = (len({move[n] for move in kernel}) > 1 for n in (1, 0))
    found: list[tuple[Mirror, bool]] = [
        ("left-right", wide and across),
        ("up-down", tall and down),
        ("point", wide and tall and point and not (across and down)),
    ]
    return tuple(name for name, holds in found if holds)


def _is_mirrored(kernel: Mapping[Pair, tuple[float, ...]], image: Callable[[Pair], Pair]) -> bool:
    scale = max(abs(value) for seen in kernel.values() for value in seen)
    pairs = ((seen, kernel.get(image(move))) for move, seen in kernel.items())
    return all(
        other is not None and all(abs(a - b) <= EQUAL * scale for a, b in zip(seen, other, strict=True))
        for seen, other in pairs
    )


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
    return position_ties(rows, scene, found).kind in ("offsets", "windows", "all")
