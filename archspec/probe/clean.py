"""A scene and what its weights depend on go in; rows of W itself, free of how W changes with the input, come out.

dy_i / dx_j = W_ij + what x_j does to the weights. The second part is nothing where W is static; it is the common
trace of a sum on a constant map where weights are pooled (background.py); it stands in the centre alone where weights
are made from the centre; and it cancels on a constant map where a softmax makes the weights of a position sum to one,
since then sum over j of dw_ij v = 0 for the one value v that there is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from archspec.probe.background import background
from archspec.probe.dependence import View, saturated
from archspec.probe.facts import Dependence
from archspec.probe.scene import Scene

LOUD = 16.0


@dataclass(frozen=True)
class Clean:
    """An input at which rows of the Jacobian are rows of W, and what must be taken from them."""

    scene: Scene
    view: View
    x: Tensor
    trace: bool = False
    without_centre: bool = False
    spare: tuple[Tensor, ...] = ()
    """Further inputs of the kind of x."""
    large: Tensor | None = None
    """Of attention: an input so large that the softmax chooses."""

    def rows(self, positions: Sequence[int], directions: Tensor) -> Tensor:
        """(R, N, C), as `Subject.rows`."""
        rows = self.scene.subject.rows(self.x, positions, directions)
        if self.trace:
            common = background(rows, agreeing=0.0)
            rows = rows if common is None else rows - common
        if self.without_centre:
            rows = rows.clone()
            for line, position in enumerate(positions):
                rows[line, torch.as_tensor(centre(position, self.scene), dtype=torch.long)] = 0.0
        return rows

    def one_by_one(self, position: int, channels: Sequence[int]) -> Tensor:
        """(channels, N, C)."""
        directions = torch.zeros(len(channels), self.scene.subject.target.channels, dtype=torch.float64)
        directions[torch.arange(len(channels)), torch.as_tensor(channels)] = 1.0
        rows = self.rows([position] * len(channels), directions)
        for other in self.spare:
            # An activation may switch a channel off at one input: the input counts at which it is most awake.
            again = replace(self, x=other).rows([position] * len(channels), directions)
            stronger = again.flatten(1).norm(dim=1) > rows.flatten(1).norm(dim=1)
            rows = torch.where(stronger[:, None, None], again, rows)
        return rows


def clean_rows(scene: Scene, view: View, found: Dependence) -> Clean:
    """Where and how rows of W are measured, given what W depends on."""
    x, constant = scene.inputs[0], scene.constant[0]
    spare = (-constant, *scene.constant[1:])
    if found.kind == "pooled":
        return Clean(scene, view, constant, trace=True, spare=spare)
    if found.kind == "static":
        return _awake(scene, view, (constant, *spare)) if found.elementwise else Clean(scene, view, x)
    if found.kind == "unknown":
        return Clean(scene, view, x, spare=tuple(scene.inputs[1:]) if found.choice else ())
    if found.kind == "local":
        return Clean(scene, view, x, without_centre=True)
    if found.kind == "attention" and found.normalised:
        direction = torch.zeros(scene.subject.target.channels, dtype=torch.float64)
        direction[torch.as_tensor(found.channels or range(len(direction)))] = 1.0
        large = saturated(scene, view, direction * scene.direction)
        return Clean(scene, view, constant, without_centre=True, large=large)
    return Clean(scene, view, constant if found.kind == "outlook" else x, without_centre=True)


def _awake(scene: Scene, view: View, maps: tuple[Tensor, ...]) -> Clean:
    """At the constant map at which activations let most through; the larger a map, the less a bias switches off."""
    maps = (*maps, *(LOUD * each for each in maps[:2]))
    rows = [scene.subject.rows(x, [view.position], scene.direction) for x in maps]
    first = max(range(len(maps)), key=lambda n: float(rows[n].norm()))
    return Clean(scene, view, maps[first], spare=tuple(x for n, x in enumerate(maps) if n != first))


def centre(position: int, scene: Scene) -> tuple[int, ...]:
    """The input positions that an output position stands on: itself, or the patch of a stride; none of a whole map."""
    source, target = scene.subject.source, scene.subject.target
    if target.height * target.width == 1 < source.height * source.width:
        return ()
    if position < target.tokens:
        return (position,) if source.tokens > position else ()
    row, column = divmod(position - target.tokens, target.width)
    rows = _stands_on(row, source.height, target.height)
    columns = _stands_on(column, source.width, target.width)
    return tuple(source.tokens + r * source.width + c for r in rows for c in columns)


def _stands_on(line: int, length: int, outgoing: int) -> range:
    """The incoming rows (or columns) of an outgoing one: several where maps shrink, one for several where they grow."""
    if outgoing > length:
        return range(line * length // outgoing, line * length // outgoing + 1)
    step = length // outgoing
    return range(min(line * step, length - 1), min((line + 1) * step, length))
