"""A subject and a seed go in; all facts of it come out: the order in which things are measured."""

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from archspec.probe.background import background, controlled_point, reads_one_sum
from archspec.probe.channels import Structure, structure
from archspec.probe.clean import Clean, centre, clean_rows
from archspec.probe.dependence import STATIC, View, dependence
from archspec.probe.equivariance import equivariance
from archspec.probe.facts import (
    Channels,
    Dependence,
    Equivariance,
    Evidence,
    Facts,
    Footprint,
    Hole,
    Part,
    Position,
    Space,
    Ties,
)
from archspec.probe.nearest import nearest_spec
from archspec.probe.patterns import Fit
from archspec.probe.ranks import low_rank, pooled_ratio
from archspec.probe.reading import groups, positions_read, restricted
from archspec.probe.scene import TOLERANCE, Scene, as_footprints, footprints, number, place
from archspec.probe.spaces import fit
from archspec.probe.subject import Subject
from archspec.probe.table import table_row
from archspec.probe.ties import PositionTies, position_ties, same_for_all
from archspec.probe.unseen import changes_unread, unseen

MOST_PARTS, MOST_DYNAMIC_PARTS = 8, 4


def measure(
    subject: Subject,
    seed: int = 0,
    wide: Subject | None = None,
    deep: bool = True,
    whole: bool = True,
    again: int = 3,
) -> Facts:
    """Support, ties, dependence on the input, equivariance; the nearest row of Table 1 and spec.

    wide: the same module on a larger map, on which shifts are measured. deep: False of a module of several layers
    that are measured one by one: only what it reads and how it moves with shifts is measured then. whole: whether
    channels that read differently are looked for. again: with how many more inputs it is tried where outputs change
    with what is not read.

    Raises nothing of its own: what cannot be told is said in `notes`.
    """
    scene = Scene(subject, seed)
    kernel, trace = _without_trace(scene, deep)
    reading = _reading(scene, kernel, always=trace)
    if not deep and not scene.affine:
        return _outline(scene, reading, trace, wide)
    hidden = None if trace else changes_unread(scene, reading.footprints)
    if hidden is not None and not scene.affine and again:
        # An activation may have switched off what reads further at this input: another input may show it.
        return measure(subject, seed + 1, wide, deep, whole, again - 1)
    homogeneous = trace and same_for_all(kernel, scene, reading.found)
    if trace and not homogeneous:
        reading = _reading(scene, scene.rows)
    view = view_of(scene, reading)
    depends = STATIC if scene.affine else dependence(scene, view, homogeneous)
    if trace and not homogeneous:
        depends = Dependence("unknown", "unknown", "image")
    clean = clean_rows(scene, view, depends)
    channels = structure(clean, depends)
    ties = _ties(clean, reading.found, depends, channels)
    facts = _facts(scene, reading, depends, channels, ties, trace, wide, hidden)
    return _with_parts(facts, scene, view) if whole and not (trace or depends.choice) else facts


@dataclass(frozen=True)
class Reading:
    """What positions read, and the space that it is."""

    found: Fit
    footprints: tuple[Footprint, ...]
    holes: tuple[Hole, ...]


def _reading(scene: Scene, rows: Tensor, always: bool = False) -> Reading:
    """always: whether rows are not those of one input only, so that zeros in them are no accident."""
    subject = scene.subject
    prints = footprints(rows, scene.positions, subject.source, subject.target)
    found, holes = fit(prints, subject.source, subject.target)
    if (holes or found.space.kind in ("irregular", "nothing")) and not (always or scene.affine):
        read = positions_read(scene, rows)
        prints = as_footprints(read, scene.positions, subject.source, subject.target)
        found, holes = fit(prints, subject.source, subject.target)
    return Reading(found, prints, holes)


def _with_parts(facts: Facts, scene: Scene, view: View) -> Facts:
    """Channels that read as all others but for some holes are named; those with a space of their own are parts."""
    corner = max(scene.positions, key=lambda i: abs(i - view.position))
    alike = groups(scene, (view.position, corner))
    if not alike:
        return facts
    alive = {channel for group in alike for channel in group.channels}
    dead = tuple(c for hole in facts.holes if hole.kind == "channel" for c in hole.channels if c not in alive)
    kept = tuple(hole for hole in facts.holes if hole.kind != "channel")
    kept += (Hole("channel", channels=dead),) if dead else ()
    if len(alike) == 1:
        return replace(facts, holes=kept)
    if len(alike) > (MOST_PARTS if facts.affine else MOST_DYNAMIC_PARTS):
        note = f"channels read {len(alike)} different sets of positions: no space holds for all of them"
        return replace(facts, holes=kept, row=None, nearest=None, notes=(*facts.notes, note))
    parts = tuple(
        Part(each.channels, each.inputs, measure(restricted(scene.subject, each), scene.seed, whole=False))
        for each in alike
    )
    usual = parts[0].facts
    if all(part.facts.space == usual.space for part in parts):
        common = set(kept)
        own = [replace(h, channels=p.channels) for p in parts for h in p.facts.holes if h not in common]
        return replace(facts, holes=(*kept, *own))
    rows = {part.facts.row for part in parts}
    note = "channels read different positions: each group of them was measured by itself"
    row = usual.row if len(rows) == 1 else None
    return replace(facts, holes=kept, row=row, nearest=None, parts=parts, notes=(*facts.notes, note))


def _without_trace(scene: Scene, deep: bool) -> tuple[Tensor, bool]:
    """Rows of W without the trace of a sum over the image that all positions leave, and whether there is one."""
    rows = scene.rows
    if scene.affine:
        return rows, False
    common = background(rows)
    point = controlled_point(scene) if common is None and deep else None
    if point is not None:
        return point, True
    if common is None and deep and reads_one_sum(scene):
        rows = scene.subject.rows(scene.constant[0], scene.positions, scene.direction)
        common = background(rows)
        if common is None:
            return scene.rows, True
    if common is None or float((rows - common).abs().max()) <= TOLERANCE * scene.scale:
        return scene.rows, False  # nothing but a mean: that is W
    return rows - common, True


def _outline(scene: Scene, reading: Reading, trace: bool, wide: Subject | None) -> Facts:
    """What a module of several layers reads, and how it moves with shifts."""
    subject = scene.subject
    return Facts(
        path=subject.path,
        kind=subject.kind,
        source=subject.source,
        target=subject.target,
        space=reading.found.space,
        channels=Channels("full", mixing=True),
        ties=Ties("none", "none"),
        dependence=Dependence("unknown", "unknown", "unknown"),
        equivariance=_moves(scene, reading.found.space, wide),
        evidence=_evidence(scene),
        affine=False,
        footprints=reading.footprints,
        holes=reading.holes,
        weights_read=Space("full") if trace else None,
        notes=("several layers in a row: what it reads was measured here, the rest of each layer by itself",),
    )


def _moves(scene: Scene, space: Space, wide: Subject | None) -> Equivariance:
    return equivariance(Scene(wide, scene.seed) if wide is not None else scene, space)


def view_of(scene: Scene, reading: Reading) -> View:
    """The output position nearest to the middle that nothing was cut off from, and what it reads."""
    source, target = scene.subject.source, scene.subject.target
    whole = [each.position for each in reading.footprints if reading.found.reads(each.position) == set(each.reads)]
    middle = place(scene.middle, target)
    seen = min(whole or [middle], key=lambda i: abs(i[0] - middle[0]) + abs(i[1] - middle[1]))
    position = number(seen, target)
    stands = centre(position, scene)
    numbers = {number(each, source) for each in reading.found.reads(seen)}
    if reading.found.space.kind == "full":
        numbers |= set(range(source.tokens))
    support = tuple(sorted(numbers - set(stands)))
    stands = stands if stands or support else (0,)  # of an output that reads nothing
    rest = tuple(j for j in range(source.positions) if j not in set(stands))
    return View(position, stands, support, rest)


def _ties(clean: Clean, found: Fit, depends: Dependence, channels: Structure) -> Ties:
    scene = clean.scene
    over = PositionTies("none")
    if depends.kind in ("static", "pooled"):
        over = position_ties(clean.rows(scene.positions, scene.direction), scene, found, depends.elementwise)
    shared = sum(map(len, channels.shared))
    width = scene.subject.source.channels if channels.channels.projected else len(scene.channels())
    kind: Literal["none", "groups", "all"] = "none"
    if channels.count == 1 and width > 1 and channels.shared:
        kind = "all"
    elif shared > width // 2:
        kind = "groups"
    return Ties(over.kind, kind, channels.shared, over.odd, over.mirrored, over.border)


def _facts(
    scene: Scene, reading: Reading, depends: Dependence, channels: Structure, ties: Ties, trace: bool,
    wide: Subject | None, hidden: Position | None,
) -> Facts:  # fmt: skip
    subject = scene.subject
    space = _named(scene, reading.found.space, depends, ties)
    rank_words, rank_note = low_rank(scene, space, channels.channels)
    holes = reading.holes + ((Hole("channel", channels=channels.dead),) if channels.dead else ())
    unread = _unread(scene)
    holes += (Hole("unread", channels=unread),) if unread else ()
    notes = (
        *subject.notes,
        channels.note,
        rank_note,
        *_notes(scene, depends, trace),
        *unseen(scene, hidden),
    )
    return Facts(
        path=subject.path,
        kind=subject.kind,
        source=subject.source,
        target=subject.target,
        space=space,
        channels=channels.channels,
        ties=ties,
        dependence=depends,
        equivariance=_moves(scene, space, wide),
        evidence=_evidence(scene),
        affine=scene.affine,
        footprints=reading.footprints,
        holes=holes,
        weights_read=Space("full") if trace else None,
        row=table_row(space, channels.channels, ties, depends, rank_words),
        nearest=nearest_spec(subject.source, subject.target, space, channels.channels, ties, depends),
        notes=tuple(note for note in notes if note),
    )


def _named(scene: Scene, space: Space, depends: Dependence, ties: Ties) -> Space:
    """What a space is called once weights are known."""
    if space.kind == "full" and depends.kind == "attention":
        ratio = pooled_ratio(scene)
        space = replace(space, kind="pooled", ratio=ratio) if ratio != (1, 1) else space
    if depends.kind == "outlook" and space.kind == "sliding" and space.stride == (1, 1):
        # Windows around every position that hold i reach twice as far as one of them.
        space = Space("overlapping", ((space.size[0] + 1) // 2, (space.size[1] + 1) // 2))
    return replace(space, kind="mean") if space.kind == "full" and ties.positions == "all" else space


def _unread(scene: Scene) -> tuple[int, ...]:
    """Incoming channels that no measured position reads; of other than affine modules one input does not tell."""
    if not scene.affine:
        return ()
    size = scene.rows.abs().amax((0, 1))
    return tuple((size <= TOLERANCE * scene.scale).nonzero().flatten().tolist())


def _evidence(scene: Scene) -> Evidence:
    subject = scene.subject
    places = subject.target.height * subject.target.width
    measured = len(scene.positions)
    return Evidence(
        inputs=scene.count,
        seed=scene.seed,
        rows=measured,
        rows_of=places * subject.target.channels,
        tolerance=TOLERANCE,
        positions=measured,
        positions_of=places,
        redrawn=subject.redrawn,
    )


def _notes(scene: Scene, depends: Dependence, trace: bool) -> list[str]:
    notes = []
    if len(scene.positions) < scene.subject.target.height * scene.subject.target.width:
        notes.append(
            "a large map: positions on every row and column were measured, and those that do not move as others do"
        )
    if depends.kind == "unknown" and not depends.choice:
        notes.append(
            "weights and nonlinearity could not be told apart: several layers in a row? Probe the layers inside"
        )
    if trace:
        notes.append("all positions leave a common trace in each row, that of a sum over the image")
    if depends.elementwise:
        notes.append("functions of single positions come on top: ties are those on a map that is constant")
    return notes
