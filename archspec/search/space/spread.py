"""Points of a space go in; an order comes out of which every beginning is spread over the space.

Each next point is the one whose choices, and pairs of choices, were on average seen least so far: the greedy way to a
balanced sample (a fractional factorial design where the numbers allow one). It stratifies by every gene at once, which
drawing at random does only on average.
"""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from archspec.search.space.conditions import Label
from archspec.search.space.model import SearchSpace, active

Array = NDArray[np.float64]


def one_hot(space: SearchSpace, assignments: Sequence[Mapping[str, Label]]) -> Array:
    """(points, choices of all genes): 1 where an active gene has the choice; a gene that is not active has none."""
    starts, width = {}, 0
    for gene in space.genes:
        starts[gene.name], width = width, width + len(gene.choices)
    rows = np.zeros((len(assignments), width))
    for row, assignment in zip(rows, assignments, strict=True):
        for name in active(space, assignment):
            row[starts[name] + space.by_name[name].index[assignment[name]]] = 1.0
    return rows


def spread(
    space: SearchSpace,
    assignments: Sequence[Mapping[str, Label]],
    count: int,
    rng: random.Random,
    taken: Sequence[Mapping[str, Label]] = (),
) -> list[int]:
    """The numbers of `count` of the points, in an order of which every beginning is spread.

    Args:
        rng: decides between points that are equally far from what was seen.
        taken: points that were looked at before, to be spread from too.
    """
    rows, before = one_hot(space, assignments), one_hot(space, taken)
    seen, pairs = before.sum(axis=0), before.T @ before
    left = list(range(len(assignments)))
    rng.shuffle(left)
    order: list[int] = []
    while left and len(order) < count:
        open_rows = rows[left]
        genes = open_rows.sum(axis=1)
        together = np.einsum("ij,ij->i", open_rows @ pairs, open_rows)
        crowded = (open_rows @ seen) / genes + together / genes**2
        number = left.pop(int(np.argmin(crowded)))
        order.append(number)
        seen = seen + rows[number]
        pairs = pairs + np.outer(rows[number], rows[number])
    return order
