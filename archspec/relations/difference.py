"""Two networks go in; their difference comes out: edits of aligned steps, costs by stage.

The same edit at the same place of a block in several stages is one edit. What only the sizes of a network say (input,
widths, depths, classes, drop path) is compared apart from the patterns.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache

from archspec import ir
from archspec.costs import Cost, cost
from archspec.relations.align import (
    AXES,
    StagePair,
    align,
    aligned_blocks,
    chain_pairs,
    changed_axes,
    in_words,
    stage_pairs,
)
from archspec.relations.data import Difference, Edit, StageDifference
from archspec.relations.facts import stage_facts
from archspec.relations.signature import Group, Pattern, Signature, Stage, Step, signature

BLOCK = "block"
"""Where edits of connections count as axis edits: how a stem cuts patches follows the size of the image."""
Found = tuple[str, str, str, str, bool]
"""Place, axis, before, after, whether it is of the axes of a connection."""


def difference(before: ir.Program, after: ir.Program) -> Difference:
    """What it takes to make one network into another, and what it costs."""
    old, new = signature(before), signature(after)
    stages = _with_costs(before, after, old, new)
    totals: tuple[Cost, Cost] = cost(before), cost(after)
    equal = before.digest == after.digest
    return Difference(before.name, after.name, equal, () if equal else edits(old, new), stages, *totals)


def edits(before: Signature, after: Signature) -> tuple[Edit, ...]:
    """The edits that make one network into another: axes of connections first."""
    pairs = stage_pairs(before.stages, after.stages)
    found = list(_size_edits(before, after, pairs))
    for where, place, old, new in _compared(before, after, pairs):
        found += [(where, edit) for edit in pattern_edits(old, new, place)]
    merged: dict[Found, list[str]] = {}
    for where, edit in found:
        stages = merged.setdefault(edit, [])
        if where not in stages:
            stages.append(where)
    rows = [Edit(place, axis, old, new, tuple(at), of) for (place, axis, old, new, of), at in merged.items()]
    return tuple(sorted(rows, key=lambda edit: not edit.of_axes))


def distance(before: Signature, after: Signature) -> tuple[int, int]:
    """How many axis edits, and how many others, two networks are apart; (0, 0) of equal ones."""
    pairs = stage_pairs(before.stages, after.stages)
    keys = {_key(edit) for _, edit in _size_edits(before, after, pairs)}
    for _, place, old, new in _compared(before, after, pairs):
        keys |= _pattern_keys(old, new, place)
    axes = sum(of_axes for *_, of_axes in keys)
    return axes, len(keys) - axes


def _key(edit: Found) -> tuple[str, str, bool]:
    """What makes edits of several stages one."""
    place, axis, _, _, of_axes = edit
    return place, axis, of_axes


@cache
def _pattern_keys(before: Pattern, after: Pattern, place: str) -> frozenset[tuple[str, str, bool]]:
    return frozenset(map(_key, pattern_edits(before, after, place)))


def _size_edits(before: Signature, after: Signature, pairs: list[StagePair]) -> Iterator[tuple[str, Found]]:
    """What differs and is in no pattern, each with the region it is in."""
    for axis in ("image", "classes", "drop_path"):
        old, new = getattr(before, axis), getattr(after, axis)
        if old != new:
            yield "network", ("network", axis.replace("_", " "), str(old), str(new), False)
    for name, pair in _with_names(before, after, pairs):
        more = [f"one more, {_size(stage)}" for stage in (pair.before, pair.after)]
        if pair.extra:
            sides = (more[0], "") if pair.extra == "before" else ("", more[1])
            yield name, ("stage", "stage", *sides, False)
            continue
        if pair.before.widths != pair.after.widths:
            yield name, ("stage", "width", _widths(pair.before), _widths(pair.after), False)
        if pair.before.depth != pair.after.depth:
            yield name, ("stage", "depth", str(pair.before.depth), str(pair.after.depth), False)


def _compared(
    before: Signature, after: Signature, pairs: list[StagePair]
) -> Iterator[tuple[str, str, Pattern, Pattern]]:
    """Region, place and both patterns of everything that is compared."""
    yield "stem", "stem", before.stem, after.stem
    for name, pair in _with_names(before, after, pairs):
        if not pair.extra:
            yield name, "into the stage", pair.before.entry, pair.after.entry
        for old, new in aligned_blocks(pair.before, pair.after):
            yield name, BLOCK, old, new
    yield "head", "head", before.head, after.head


def _with_names(before: Signature, after: Signature, pairs: list[StagePair]) -> Iterator[tuple[str, StagePair]]:
    """Stages as the first network counts them; those that only the second has, as that does."""
    numbers = {id(stage): f"stage {number}" for each in (after, before) for number, stage in enumerate(each.stages, 1)}
    for pair in pairs:
        yield numbers[id(pair.after if pair.extra == "after" else pair.before)], pair


def _size(stage: Stage) -> str:
    return f"{stage.depth} blocks of width {_widths(stage)}"


def _widths(stage: Stage) -> str:
    return " and ".join(map(str, stage.widths))


@cache
def pattern_edits(before: Pattern, after: Pattern, place: str) -> tuple[Found, ...]:
    """The edits of two aligned chains."""
    return () if before == after else tuple(_pattern_edits(before, after, place))


def _pattern_edits(before: Pattern, after: Pattern, place: str) -> Iterator[Found]:
    old_names, new_names = iter(_names(before)), iter(_names(after))
    for old, new in align(before, after):
        names = next(old_names) if old is not None else "", next(new_names) if new is not None else ""
        here = f"{place}: {names[0] or f'new {names[1]}'}"
        if isinstance(old, Step) and isinstance(new, Step) and old.kind == new.kind:
            for axis, was, becomes in changed_axes(old, new):
                of_axes = old.kind == "connect" and axis in AXES and place.startswith(BLOCK)
                yield here, _axis(old, axis), was, becomes, of_axes
        elif isinstance(old, Group) and isinstance(new, Group):
            yield from _group_edits(old, new, here)
        else:
            yield from _whole(old, f"{place}: {names[0]}", True)
            yield from _whole(new, f"{place}: new {names[1]}", False)


def _axis(step: Step, axis: str) -> str:
    if step.kind == "connect":
        return axis
    return step.kind if axis == "kind" else f"{step.kind}, {axis.replace('_', ' ')}"


def _names(pattern: Pattern) -> Iterator[str]:
    """Each step by what it is and which of its kind: connection 2, residual 1."""
    counts: Counter[str] = Counter()
    for item in pattern:
        kind = item.kind if isinstance(item, Step) or item.kind == "residual" else "branches"
        kind = "connection" if kind == "connect" else kind
        counts[kind] += 1
        yield f"{kind} {counts[kind]}"


def _group_edits(before: Group, after: Group, here: str) -> Iterator[Found]:
    if before.kind != after.kind:
        yield here, "branches", before.kind, after.kind, False
    several = max(len(before.chains), len(after.chains)) > 1
    for number, (old, new) in enumerate(chain_pairs(before, after), 1):
        branch = f"{here}, branch {number}" if several else here
        yield from pattern_edits(old or (), new or (), branch)


def _whole(item: Step | Group | None, here: str, gone: bool) -> Iterator[Found]:
    """A step or group more or less."""
    if isinstance(item, Step):
        axis, words = "connection" if item.kind == "connect" else item.kind, step_name(item)
        of_axes = item.kind == "connect" and here.startswith(BLOCK)
        yield here, axis, words if gone else "", "" if gone else words, of_axes
    elif item is not None:
        yield here, "branches", item.kind if gone else "", "" if gone else item.kind, False
        for number, chain in enumerate(item.chains, 1):
            place = f"{here}, branch {number}" if len(item.chains) > 1 else here
            yield from pattern_edits(*((chain, ()) if gone else ((), chain)), place)


def step_name(step: Step) -> str:
    """A step in a few words."""
    axes = dict(step.axes)
    if step.kind != "connect":
        return " ".join(axes.values()) or step.kind
    if axes["space"] == "point" and axes["channels"] == "full" and axes["weights"] == "static":
        return "linear"
    return f"{in_words(axes, 'weights')} over {in_words(axes, 'space')}, channels {axes['channels']}"


def _with_costs(before: ir.Program, after: ir.Program, old: Signature, new: Signature) -> tuple[StageDifference, ...]:
    """Stem, aligned stages and head with what they cost."""
    theirs, ours = stage_facts(before), stage_facts(after)
    costs_old = dict(zip(map(id, old.stages), theirs[1:-1], strict=True))
    costs_new = dict(zip(map(id, new.stages), ours[1:-1], strict=True))
    stages = [
        StageDifference(
            None if pair.extra == "after" else costs_old[id(pair.before)],
            None if pair.extra == "before" else costs_new[id(pair.after)],
        )
        for pair in stage_pairs(old.stages, new.stages)
    ]
    ends = [StageDifference(theirs[end], ours[end]) for end in (0, -1)]
    return (ends[0], *stages, ends[1])
