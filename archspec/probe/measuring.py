"""A subject and a seed go in; all facts of it come out: the order in which things are measured."""

from dataclasses import replace
from typing import Literal

from torch import Tensor

from archspec.probe.background import background, reads_one_sum
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
    Pair,
    Position,
    Space,
    Ties,
)
from archspec.probe.nearest import nearest_spec
from archspec.probe.ranks import low_rank, pooled_ratio
from archspec.probe.scene import TOLERANCE, Scene, footprints, place
from archspec.probe.spaces import Fit, fit
from archspec.probe.subject import Subject
from archspec.probe.table import table_row
from archspec.probe.ties import Sharing, position_ties, same_for_all


def measure(subject: Subject, seed: int = 0, wide: Subject | None = None, deep: bool = True) -> Facts:
    """Support, ties, dependence on the input, equivariance; the nearest row of Table 1 and spec.

    wide: the same module on a larger map, on which shifts are measured. deep: False of a module of several layers
    that are measured one by one: only what it reads and how it moves with shifts is measured then.

    Raises nothing of its own: what cannot be told is said in `notes`.
    """
    scene = Scene(subject, seed)
    kernel, trace = _without_trace(scene, deep)
    prints = footprints(kernel, scene.positions, subject.source, subject.target)
    found, holes = fit(prints, subject.source, subject.target)
    if not deep and not scene.affine:
        return _outline(scene, found, prints, holes, trace, wide)
    homogeneous = trace and same_for_all(kernel, scene, found)
    if trace and not homogeneous:
        prints = footprints(scene.rows, scene.positions, subject.source, subject.target)
        found, holes = fit(prints, subject.source, subject.target)
    view = view_of(scene, found)
    depends = STATIC if scene.affine else dependence(scene, view, homogeneous)
    if trace and not homogeneous:
        depends = Dependence("unknown", "unknown", "image")
    clean = clean_rows(scene, view, depends)
    channels = structure(clean, depends)
    ties = _ties(clean, found, depends, channels)
    return _facts(scene, found, prints, holes, depends, channels, ties, trace, wide)


def _without_trace(scene: Scene, deep: bool) -> tuple[Tensor, bool]:
    """Rows of W without the trace of a sum over the image that all positions leave, and whether there is one."""
    rows = scene.rows
    if scene.affine:
        return rows, False
    common = background(rows)
    if common is None and deep and reads_one_sum(scene):
        rows = scene.subject.rows(scene.constant[0], scene.positions, scene.direction)
        common = background(rows)
        if common is None:
            return scene.rows, True
    if common is None or float((rows - common).abs().max()) <= TOLERANCE * scene.scale:
        return scene.rows, False  # nothing but a mean: that is W
    return rows - common, True


def _outline(
    scene: Scene, found: Fit, prints: tuple[Footprint, ...], holes: tuple[Hole, ...], trace: bool, wide: Subject | None
) -> Facts:
    """What a module of several layers reads, and how it moves with shifts."""
    subject = scene.subject
    return Facts(
        path=subject.path,
        kind=subject.kind,
        source=subject.source,
        target=subject.target,
        space=found.space,
        channels=Channels("full", mixing=True),
        ties=Ties("none", "none"),
        dependence=Dependence("unknown", "unknown", "unknown"),
        equivariance=_moves(scene, found.space, wide),
        evidence=_evidence(scene),
        affine=False,
        footprints=prints,
        holes=holes,
        weights_read=Space("full") if trace else None,
        notes=("several layers in a row: what it reads was measured here, the rest of each layer by itself",),
    )


def _moves(scene: Scene, space: Space, wide: Subject | None) -> Equivariance:
    return equivariance(Scene(wide, scene.seed) if wide is not None else scene, _reach(space))


def view_of(scene: Scene, found: Fit) -> View:
    """The output position nearest to the middle and what it reads."""
    source, target = scene.subject.source, scene.subject.target
    position = scene.middle
    stands = centre(position, scene)
    reads = found.reads(place(position, target))
    numbers = {source.tokens + row * source.width + column for row, column in reads}
    if found.space.kind == "full":
        numbers |= set(range(source.tokens))
    support = tuple(sorted(numbers - set(stands)))
    rest = tuple(j for j in range(source.positions) if j not in set(stands))
    return View(position, stands, support, rest)


def _ties(clean: Clean, found: Fit, depends: Dependence, channels: Structure) -> Ties:
    scene = clean.scene
    positions: Sharing = "none"
    odd: tuple[Position, ...] = ()
    if depends.kind in ("static", "pooled"):
        positions, odd = position_ties(clean.rows(scene.positions, scene.direction), scene, found, depends.elementwise)
    shared = sum(map(len, channels.shared))
    width = scene.subject.source.channels if channels.channels.projected else len(scene.channels())
    kind: Literal["none", "groups", "all"] = "none"
    if channels.count == 1 and width > 1 and channels.shared:
        kind = "all"
    elif shared > width // 2:
        kind = "groups"
    return Ties(positions, kind, channels.shared, odd)


def _facts(
    scene: Scene, found: Fit, prints: tuple[Footprint, ...], holes: tuple[Hole, ...], depends: Dependence,
    channels: Structure, ties: Ties, trace: bool, wide: Subject | None,
) -> Facts:  # fmt: skip
    subject = scene.subject
    space = found.space
    rank_words, rank_note = low_rank(scene, space, channels.channels)
    if space.kind == "full" and depends.kind == "attention":
        ratio = pooled_ratio(scene)
        space = replace(space, kind="pooled", ratio=ratio) if ratio != (1, 1) else space
    if depends.kind == "outlook" and space.kind == "sliding" and space.stride == (1, 1):
        # Windows around every position that hold i reach twice as far as one of them.
        space = Space("overlapping", ((space.size[0] + 1) // 2, (space.size[1] + 1) // 2))
    if space.kind == "full" and ties.positions == "all":
        space = replace(space, kind="mean")
    if channels.dead:
        holes = (*holes, Hole("channel", channels=channels.dead))
    notes = tuple(note for note in (channels.note, rank_note, *_notes(scene, depends, trace)) if note)
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
        footprints=prints,
        holes=holes,
        weights_read=Space("full") if trace else None,
        row=table_row(space, channels.channels, ties, depends, rank_words),
        nearest=nearest_spec(subject.source, subject.target, space, channels.channels, ties, depends),
        notes=notes,
    )


def _reach(space: Space) -> Pair:
    """How far a position reads, down and across; 0 where a border has no meaning."""
    if space.kind == "sliding":
        spans = [
            max(before, dilation * (size - 1) - before)
            for size, dilation, before in zip(space.size, space.dilation, space.before, strict=True)
        ]
        return spans[0], spans[1]
    if space.kind == "overlapping":
        return 2 * space.size[0], 2 * space.size[1]
    if space.kind in ("window", "halo"):
        return space.size[0] - 1 + space.halo[0], space.size[1] - 1 + space.halo[1]
    return 0, 0


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
        notes.append("a large module: every row and column of its map was measured, not every position")
    if depends.kind == "unknown":
        notes.append(
            "weights and nonlinearity could not be told apart: several layers in a row? Probe the layers inside"
        )
    if trace:
        notes.append("all positions leave a common trace in each row, that of a mean over the image")
    if depends.elementwise:
        notes.append("functions of single positions come on top: ties are those on a map that is constant")
    return notes
