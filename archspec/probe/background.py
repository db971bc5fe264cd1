"""Rows of a Jacobian go in; what every position reads equally comes out: the trace of a mean over the image.

Where weights are made from the mean of the image, y_i = sum over j of w(mean x)_ij x_j, the Jacobian is
J_ij = w_ij + g_i / N: the second term is the same for every j, also where w_ij does not exist. Without it, J is W.
"""

import torch
from torch import Tensor

from archspec.probe.scene import TOLERANCE

LEAST_SHARE, LEAST_COUNT = 0.25, 4


def background(rows: Tensor) -> Tensor | None:
    """The value that most positions of a row have in common: (P, 1, C), or None where rows have none.

    rows: (P, N, C). A value counts that at least a quarter of the positions have, and that is not zero.
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
    return found if agreed > 0.9 * len(rows) else None


def _longest_run(near: list[bool]) -> tuple[int, int]:
    """Where the longest run of equal neighbours begins, and how many elements it has."""
    best, first, begin = 1, 0, 0
    for index, close in enumerate(near):
        if not close:
            begin = index + 1
        elif index + 2 - begin > best:
            best, first = index + 2 - begin, begin
    return first, best
