"""Rows of a Jacobian go in; what every position reads equally comes out: the trace of a mean over the image.

Where weights are made from the mean of the image, y_i = sum over j of w(mean x)_ij x_j, the Jacobian is
J_ij = w_ij + g_i / N: the second term is the same for every j, also where w_ij does not exist. Without it, J is W.
Where they are made from a sum of functions of single positions, m = sum over j of h(x_j) (a softmax over all positions
is a quotient of two), the second term is g_i h'(x_j): the same for every j on a constant map.

Legend: P output positions, N input positions, C channels.
"""

import torch
from torch import Tensor

from archspec.probe.scene import TOLERANCE, Scene, place, rank

LEAST_SHARE, LEAST_COUNT = 0.25, 4
MOST_DIRECTIONS = 64


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
