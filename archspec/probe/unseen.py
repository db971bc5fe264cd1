"""A scene and what its positions read go in; what no gradient shows (rounding, a choice, a detached value) comes out.

All other measurements are of the Jacobian. Here outputs themselves are compared.
"""

from collections.abc import Sequence

import torch

from archspec.probe.facts import Footprint, Position
from archspec.probe.scene import Scene, number, place

STEP = 1e-6
CHANGED = 1e-6
UNLIKE = 1e-3
PLACES = 6
SCALES = (1.0, 3.0, 0.3)


def unseen(scene: Scene, hidden: Position | None) -> list[str]:
    """Sentences on it; none where gradients show everything. hidden: what `changes_unread` found."""
    found = []
    if hidden is not None:
        found.append(
            f"position {hidden} also changes with positions of which its gradient says nothing (a rounded, detached or "
            "chosen value): they are not among what it reads"
        )
    if _steeper_than_its_gradient(scene):
        found.append(
            "outputs change otherwise than their gradients say (a detached value, or a gradient of its own): weights "
            "are those that gradients show"
        )
    return found


def changes_unread(scene: Scene, footprints: Sequence[Footprint]) -> Position | None:
    """A position whose output changes when all positions that it does not read are drawn anew."""
    source, target = scene.subject.source, scene.subject.target
    step = max(1, len(footprints) // PLACES)
    x = scene.inputs[0]
    before = scene.subject.outputs(x[None])[0]
    for each in footprints[::step]:
        read = {number(position, source) for position in each.reads}
        others = [j for j in range(source.tokens, source.positions) if j not in read]
        if not others:
            continue
        i = number(each.position, target)
        # Larger and smaller values too: what an activation switches off may be on there.
        maps = torch.stack([scene.redrawn(x, others) for _ in SCALES])
        maps[:, others] *= torch.tensor(SCALES, dtype=maps.dtype)[:, None, None]
        after = scene.subject.outputs(maps)[:, i]
        if float((after - before[i]).abs().max()) > CHANGED * float(before.abs().max()):
            return place(i, target)
    return None


def _steeper_than_its_gradient(scene: Scene) -> bool:
    """Whether a small step changes most outputs otherwise than their gradients say."""
    x = scene.inputs[0]
    along = scene.normal(*x.shape)
    ahead, behind = scene.subject.outputs(torch.stack([x + STEP * along, x - STEP * along]))
    places = torch.as_tensor(scene.positions)
    measured = ((ahead - behind) / (2 * STEP))[places] @ scene.direction
    said = (scene.rows * along).sum((1, 2))
    wrong = (measured - said).abs() > UNLIKE * measured.abs().max().clamp_min(1e-300)
    return int(wrong.sum()) > len(places) // 2
