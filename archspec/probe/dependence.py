"""A scene and what its positions read go in; whether weights change with the input, and with what of it, come out.

For y = W(x) x the Jacobian is not W. So nothing here asks whether the Jacobian changes (an activation changes it
too), but what an entry J_ij changes with, and whether rows keep their direction while the positions they are read
at, S, are held fixed and everything else is drawn anew:

    static        rows keep their direction: a function of one position before or after W cannot change it
    pooled        all positions leave a common trace (background.py), and without it rows are equal up to translation
    attention     on constant maps (x_j = c) a softmax of products does not depend on c: what positions have in common
                  cancels. What is predicted from one position does. Large inputs make it choose one position.
    local         J_ij (j not i) changes with x_i alone
    outlook       J_ij changes with what is around i, each position by itself

Legend: i an output position, S some positions that it reads, C channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from archspec.probe.facts import Dependence
from archspec.probe.scene import Scene, rank

EQUAL = 1e-7
Entries = Callable[[Tensor, Sequence[int]], Tensor]
"""(map, input positions j) -> the entries (i, j) of some rows of i: (rows, positions, C)."""
DRAWS = 8
MOST_HIDDEN = 2
"""How many times more dimensions than the output a sum may have."""
LARGE = (1e6, 1e4, 1e2)
"""Factors of the input with which a softmax is made to choose."""


@dataclass(frozen=True)
class View:
    """One output position and what it reads."""

    position: int
    centre: tuple[int, ...]
    """The input positions that it stands on: one, or the patch of a stride."""
    support: tuple[int, ...]
    """What it reads besides."""
    rest: tuple[int, ...]
    """All other input positions."""


STATIC = Dependence("static", "static")


def dependence(scene: Scene, view: View, homogeneous: bool) -> Dependence:
    """What the weights of a module that is not affine depend on.

    homogeneous: whether all positions leave a common trace, without which rows are equal up to translation.
    """
    if homogeneous:
        return _some(scene, view, Dependence("pooled", "dynamic homogeneous", "image"))
    if _chooses(scene, view):
        return Dependence("unknown", "unknown", "pair", choice=True)
    if not view.support:
        return _of_a_point(scene, view)
    held = _held(scene, view)
    kept = _directions_kept(scene, view, held)
    if all(kept.values()):
        return Dependence("static", "static", elementwise=True)
    moving = tuple(channel for channel, same in kept.items() if not same)
    found, certain = _dynamic(scene, view, moving)
    # A gate of the position itself makes entries change with it, as linear attention does, but not with as much.
    gated = certain and found.normalised is not True and found.kind in ("local", "attention")
    most = (1 if gated else MOST_HIDDEN) * scene.subject.target.channels
    if (gated or not certain) and _mixing_is_static(scene, view, held, most):
        return Dependence("static", "static", elementwise=True)
    if len(moving) < len(kept):
        return replace(found, channels=moving)
    return replace(found, dimensions=_dimensions(scene, view, held)) if found.kind != "unknown" else found


def _some(scene: Scene, view: View, found: Dependence) -> Dependence:
    """With the channels whose rows change with the input, where others' do not."""
    channels = scene.channels()
    one, other = (scene.one_by_one(x, view.position, channels) for x in scene.inputs[:2])
    changes = (one - other).flatten(1).abs().amax(1) > EQUAL * one.abs().max()
    if bool(changes.all()) or not bool(changes.any()):
        return found
    return replace(found, channels=tuple(c for c, moved in zip(channels, changes.tolist(), strict=True) if moved))


def _of_a_point(scene: Scene, view: View) -> Dependence:
    """Where a position reads nothing but itself, only another position could make its weights dynamic."""
    x = scene.inputs[0]
    rows = [scene.one_by_one(each, view.position, scene.channels()[:16]) for each in (x, scene.redrawn(x, view.rest))]
    if (rows[0] - rows[1]).abs().max() <= EQUAL * rows[0].abs().max():
        return Dependence("static", "static", elementwise=True)
    return Dependence("unknown", "unknown", "image")


def _chooses(scene: Scene, view: View) -> bool:
    """Whether each channel reads a single position at any input, and not always the same one."""
    chosen: dict[int, set[int]] = {}
    for x in scene.inputs:
        size = scene.one_by_one(x, view.position, scene.channels()[:16]).abs().amax(-1)
        read = size > EQUAL * size.max()
        if int(read.sum(1).max()) > 1:
            return False
        for channel, position in read.nonzero().tolist():
            chosen.setdefault(channel, set()).add(position)
    return any(len(positions) > 1 for positions in chosen.values())


def _held(scene: Scene, view: View) -> tuple[int, ...]:
    """S: half of what the position reads, spread over it; at least two where there are two."""
    order = torch.randperm(len(view.support), generator=torch.Generator().manual_seed(scene.seed)).tolist()
    count = max(min(2, len(order)), min(len(order) // 2, 16))
    return tuple(sorted(view.support[n] for n in order[:count]))


def _others(scene: Scene, fixed: Sequence[int]) -> tuple[int, ...]:
    keep = set(fixed)
    return tuple(j for j in range(scene.subject.source.positions) if j not in keep)


def _directions_kept(scene: Scene, view: View, held: tuple[int, ...]) -> dict[int, bool]:
    """Of each channel: whether its row over S keeps its direction when all the rest of the map changes."""
    channels = scene.channels()
    index = torch.as_tensor(held)
    x = scene.inputs[0]
    maps = [x, *(scene.redrawn(x, _others(scene, held)) for _ in range(2))]
    rows = torch.stack([scene.one_by_one(each, view.position, channels)[:, index].flatten(1) for each in maps])
    size = rows.norm(dim=-1, keepdim=True)
    alive = size > EQUAL * float(size.max())
    unit = torch.where(alive, rows / size.clamp_min(1e-300), 0.0)
    # A direction is compared up to its sign; rows that an activation switched off say nothing.
    first = unit[0]
    same = torch.ones(len(channels), dtype=torch.bool)
    for later in unit[1:]:
        sign = (first * later).sum(-1, keepdim=True).sign()
        both = (first.abs().amax(-1) > 0) & (later.abs().amax(-1) > 0)
        same &= ~both | ((first - sign * later).abs().amax(-1) <= EQUAL)
    return dict(zip(channels, same.tolist(), strict=True))


def _directions(scene: Scene, moving: Sequence[int], count: int = 8) -> Tensor:
    """Combinations of the channels whose weights change: (count, C')."""
    directions = torch.zeros(count, scene.subject.target.channels, dtype=torch.float64)
    directions[:, torch.as_tensor(moving)] = scene.normal(count, len(moving))
    if len(moving) == len(scene.channels()):
        return scene.normal(count, scene.subject.target.channels)
    return directions


def _dynamic(scene: Scene, view: View, moving: Sequence[int]) -> tuple[Dependence, bool]:
    """What weights that are not kept depend on, and whether it is certain that they are dynamic at all."""
    directions = _directions(scene, moving)

    def entries(x: Tensor, j: Sequence[int]) -> Tensor:
        rows = scene.subject.rows(x, [view.position] * len(directions), directions)
        return rows[:, torch.as_tensor(j)]

    x = scene.inputs[0]
    one = view.support[len(view.support) // 2]
    others = _others(scene, (*view.centre, one))
    base = entries(x, [one])
    if _equal(base, entries(scene.redrawn(x, others), [one])):
        if _equal(base, entries(scene.redrawn(x, [one]), [one])):
            return Dependence("local", "dynamic inhomogeneous", "centre"), True
        return Dependence("attention", "dynamic pairwise", "pair", normalised=False), True
    pairs = Dependence("attention", "dynamic pairwise", "pair", normalised=True)
    chooses = saturated(scene, view, directions[0]) is not None
    steady = _profile_rank(scene, view, entries)
    if steady == 1 or (steady and chooses):
        return pairs, steady > 1 or chooses
    if _is_additive(scene, view, entries):
        return Dependence("outlook", "dynamic inhomogeneous", "neighbourhood"), chooses
    if chooses or 0 < steady <= len(view.support) // 4:
        return pairs, chooses
    return Dependence("unknown", "unknown", "unknown"), False


def _equal(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= EQUAL * one.abs().max())


def _profile_rank(scene: Scene, view: View, entries: Entries) -> int:
    """On maps x_j = c, how many profiles over j all entries are sums of, if they do not depend on c; otherwise 0.

    Products of a query and equal keys are equal, so that only a bias per head is left: as many profiles as heads.
    """
    maps = [entries(c, view.support).transpose(0, 1).flatten(1) for c in scene.constant[:3]]
    if min(float(each.abs().max()) for each in maps) == 0:
        return 0
    maps = [each / each.norm() for each in maps]
    alone, together = rank(maps[0]), rank(torch.cat(maps, 1))
    return alone if together == alone and alone < len(view.support) else 0


def saturated(scene: Scene, view: View, direction: Tensor) -> Tensor | None:
    """A large input at which the weights no longer change, because a softmax chose: (N, C), or None if none is.

    direction: (C'), the channels that are looked at.
    """
    x = scene.inputs[0]
    around = torch.as_tensor(view.support)
    for factor in LARGE:
        big, near = factor * x, factor * (x + 1e-3 * scene.inputs[1])
        rows = [scene.subject.rows(each, [view.position], direction)[0, around] for each in (big, near)]
        if not all(bool(torch.isfinite(each).all()) and float(each.abs().max()) > 0 for each in rows):
            continue
        size = rows[0].norm(dim=-1)
        chosen = int((size > EQUAL * size.max()).sum())
        if _equal(rows[0], rows[1]) and chosen <= max(1, len(view.support) // 2):
            return big
    return None


def _is_additive(scene: Scene, view: View, entries: Entries) -> bool:
    """Whether two positions around i change an entry each by itself: the mixed difference vanishes."""
    x = scene.inputs[0]
    # Three corners: positions near to each other may be averaged before weights are predicted from them.
    width = scene.subject.source.width
    one = view.support[0]
    first, second = max(view.support, key=lambda j: (j // width, -(j % width))), view.support[-1]
    if len({one, first, second}) < 3:
        return False
    new = scene.redrawn(x, _others(scene, ()))
    for a, b in ((first, second),):
        values = []
        for changed in ((), (a,), (b,), (a, b)):
            at = x.clone()
            for position in changed:
                at[position] = new[position]
            values.append(entries(at, [one]))
        mixed = values[3] - values[1] - values[2] + values[0]
        if mixed.abs().max() > EQUAL * values[0].abs().max():
            return False
    return True


def _mixing_is_static(scene: Scene, view: View, held: tuple[int, ...], most: int) -> bool:
    """Whether, however often the rest of the map is drawn anew, the rows over S stay in one small space.

    For y_i = g(x_i, sum over j of W_ij h(x_j)) with positions S held fixed, they are combinations of the rows of
    [W_ij h'(x_j)], j in S: no more than what the sum has dimensions. Dynamic weights fill the whole space.

    most: the dimensions up to which a sum is believed. Products of keys and values (linear attention) have more.
    """
    width = scene.subject.target.channels
    if width > 128:
        return False
    index, x = torch.as_tensor(held), scene.inputs[0]
    stack = torch.zeros(0, len(held) * scene.subject.source.channels, dtype=torch.float64)
    before, size = 0, torch.ones(1)
    for _ in range(DRAWS):
        rows = scene.one_by_one(scene.redrawn(x, _others(scene, held)), view.position, range(width))
        if not len(stack):
            # Of the same size at each position, lest those that hardly count hide what they fill.
            size = rows[:, index].norm(dim=(0, 2))[:, None].clamp_min(1e-300)
        stack = torch.cat([stack, (rows[:, index] / size).flatten(1)])
        now = rank(stack)
        if now in (before, stack.shape[1]):
            return now < stack.shape[1] and now <= most
        before = now
    return False


def _dimensions(scene: Scene, view: View, held: tuple[int, ...]) -> int | None:
    """How many combinations of the output change their weights, where not all do."""
    width = scene.subject.target.channels
    if len(scene.channels()) < width:
        return None
    index, x = torch.as_tensor(held), scene.inputs[0]
    rows = [
        scene.one_by_one(each, view.position, range(width))[:, index].flatten(1)
        for each in (x, scene.redrawn(x, _others(scene, held)), scene.redrawn(x, _others(scene, held)))
    ]
    moved = torch.cat([rows[1] - rows[0], rows[2] - rows[0]], 1)
    found = rank(moved, 1e-7)
    full = rank(torch.cat(rows, 1), 1e-7)
    return found if found < full else None
