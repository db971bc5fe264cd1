"""Rows of a Jacobian go in; what every position reads equally comes out: the trace of a mean over the image.

Where weights are made from the mean of the image, y_i = sum over j of w(mean x)_ij x_j, the Jacobian is
J_ij = w_ij + g_i / N: the second term is the same for every j, also where w_ij does not exist. Without it, J is W.
Where they are made from a sum of functions of single positions, m = sum over j of h(x_j) (a softmax over all positions
is a quotient of two), the second term is g_i h'(x_j): the same for every j on a constant map.

Legend: P output positions, N input positions, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from archspec.probe.scene import TOLERANCE, Scene, place, rank

LEAST_SHARE, LEAST_COUNT = 0.25, 4
MOST_DIRECTIONS = 64
MOST_SUMS = 6
FEW = 10
LINE_SCALES = (0.3, 1.0, 3.0, 10.0)


def background(rows: Tensor, agreeing: float = 0.9) -> Tensor | None:
    """The value that most positions of a row have in common: (P, 1, C), or None where rows have none.

    rows: (P, N, C). A value counts that at least a quarter of the positions have, and that is not zero.
    agreeing: the share of rows that must have one; those that have none keep zero.
    """
    scale = float(rows.abs().max())
    seen = rows @ torch.linspace(1.0, 2.0, rows.shape[-1], dtype=rows.dtype).sin()
    ordered, order = seen.sort(-1)
    near = (ordered[:, 1:] - ordered[:, :-1]) <= 1e-3 * TOLERANCE * max(scale, 1e-300) * rows.shape[-1]
    found = torch.zeros_like(rows[:, :1])
    agreed = 0
    for line in range(len(rows)):
        first, length = _longest_run(near[line].tolist())
        value = rows[line, order[line, first]]
        enough = length >= max(LEAST_COUNT, LEAST_SHARE * rows.shape[1])
        if enough and float(value.abs().max()) > TOLERANCE * scale:
            found[line, 0] = value
            agreed += 1
    return found if agreed > agreeing * len(rows) else None


def controlled_point(scene: Scene) -> Tensor | None:
    """Rows of W where y_i = W(several sums over the image) x_i; None where a module is not that.

    So are attention over channels (its sums are those of products of channels) and norms over the image. At a constant
    map all positions leave one trace, as with a mean, and without it a position reads itself alone. Where sums are
    normalised (channels of length one) that trace may be zero; at a map of two values there are two.
    """
    source, target = scene.subject.source, scene.subject.target
    if (source.height, source.width) != (target.height, target.width):
        return None
    everywhere = torch.ones(source.positions, dtype=torch.bool)
    first = scene.normal(source.positions) > 0
    two = torch.where(first[:, None], scene.constant[0], scene.constant[1])
    for x, parts in ((scene.constant[0], [everywhere]), (two, [first, ~first])):
        some = scene.positions[:: max(1, len(scene.positions) // FEW)]
        if _alone(scene, x, parts, some) is not None:
            return _alone(scene, x, parts, scene.positions) if _reads_few_sums(scene) else None
    return None


def _alone(scene: Scene, x: Tensor, parts: list[Tensor], places: Sequence[int]) -> Tensor | None:
    """Rows at x without what they have in common in each part of the map, if a position itself is all that is left."""
    rows = scene.subject.rows(x, places, scene.direction)
    least = TOLERANCE * float(rows.abs().max())
    kernel, traces = rows.clone(), 0
    for part in parts:
        common = background(rows[:, part]) if bool(part.any()) else None
        if common is not None:
            kernel[:, part] -= common
            traces += 1
    size = kernel.abs().amax(-1)
    lines, own = torch.arange(len(size)), _own(scene, places)
    alone = size[lines, own].clone()
    size[lines, own] = 0.0
    return kernel if traces and float(size.max()) <= least < float(alone.max()) else None


def _own(scene: Scene, positions: Sequence[int]) -> Tensor:
    """The input positions of these output positions, on a map of the same size."""
    return torch.as_tensor(positions) - scene.subject.target.tokens + scene.subject.source.tokens


def _reads_few_sums(scene: Scene) -> bool:
    """Whether far positions are read through few sums, y_i = g(x_i, sum over j of h(x_j)), and not pair by pair.

    On maps x_j = c + t_j e, the derivative along e is the sum over k of g_ik h_k'(t_j): a matrix over i and j of as
    few dimensions as there are kinds of h_k', which are polynomials for products and squares. The weights of attention
    are not of few dimensions: each position i has an exponential of its own.
    """
    subject = scene.subject
    places = scene.positions[::2][:64]
    apart = torch.ones(subject.source.positions, dtype=torch.bool)
    apart[_own(scene, places)] = False
    if min(len(places), int(apart.sum())) < 2 * MOST_SUMS or not _changes_with_others(scene):
        return False
    start, along = scene.normal(2, subject.source.channels)
    steps = scene.normal(subject.source.positions, 1)
    for scale in LINE_SCALES:
        rows = subject.rows(start + scale * steps * along, places, scene.direction) @ along
        if rank(rows[:, apart]) > MOST_SUMS:
            return False
    return True


def _changes_with_others(scene: Scene) -> bool:
    """Whether what i reads at j changes with third positions: not so in attention that is not normalised."""
    i, j = scene.middle, scene.subject.source.positions - 1
    others = [k for k in range(scene.subject.source.positions) if k not in (int(_own(scene, [i])), j)]
    maps = (scene.inputs[0], scene.redrawn(scene.inputs[0], others))
    one, other = (scene.subject.rows(x, [i], scene.direction)[0, j] for x in maps)
    return bool((one - other).abs().max() > TOLERANCE * one.abs().max())


def reads_one_sum(scene: Scene) -> bool:
    """Whether far positions are read through one sum for all: y_i = g(x around i, sum over j of h(x_j)).

    Then J_ij = g'_i h'(x_j) for j far from i, so that the rows of some positions span those of all, in no more
    dimensions than one position has. Rows of a map that depends on i (W_ij of an MLP, weights of attention) do not.
    Some are two, since an activation may switch channels off at one.
    """
    source = scene.subject.source
    middle = place(scene.middle, scene.subject.target)

    def away(position: tuple[int, int], centre: tuple[int, int]) -> int:
        return max(abs(here - there) for here, there in zip(position, centre, strict=True))

    beside = sorted(scene.positions, key=lambda i: away(place(i, scene.subject.target), middle))[:4]
    around = (source.height // 2, source.width // 2)
    outward = sorted(range(source.tokens, source.positions), key=lambda j: -away(place(j, source), around))
    far = torch.as_tensor(outward[: max(2, len(outward) // 4)])
    if len(beside) < 4 or not bool(scene.subject.rows(scene.inputs[0], beside[:1], scene.direction)[:, far].any()):
        return False
    count = min(scene.subject.target.channels, MOST_DIRECTIONS)
    directions = scene.normal(count, scene.subject.target.channels)
    rows = [scene.subject.rows(scene.inputs[0], [i] * count, directions)[:, far].flatten(1) for i in beside]
    dimensions = rank(torch.cat(rows[:2]))
    return 0 < dimensions <= count and dimensions < rows[0].shape[1] and rank(torch.cat(rows)) == dimensions


def _longest_run(near: list[bool]) -> tuple[int, int]:
    """Where the longest run of equal neighbours begins, and how many elements it has."""
    best, first, begin = 1, 0, 0
    for index, close in enumerate(near):
        if not close:
            begin = index + 1
        elif index + 2 - begin > best:
            best, first = index + 2 - begin, begin
    return first, best
