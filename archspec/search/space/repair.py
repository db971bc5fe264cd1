"""A point that cannot be used goes in; the nearest point that can comes out: the smallest edit that mends it."""

import random
from collections.abc import Callable

from archspec.search.space.model import Assignment, SearchSpace, canonical, neighbours

EDITS = 4
"""Genes that are changed at most."""
KEPT = 8
"""Points of one edit more that are looked at further: those that break least."""
UNUSABLE = float("inf")
"""What a point breaks that is no network at all."""


def repaired(
    space: SearchSpace, assignment: Assignment, broken: Callable[[Assignment], float], rng: random.Random
) -> Assignment | None:
    """The point with the fewest genes changed that breaks nothing; None when up to EDITS changes find none.

    Args:
        broken: by how much a point misses what it must keep: 0 for one that can be used, UNUSABLE at most.
        rng: decides between edits of one size.

    Every step looks at the neighbours of the KEPT points that break least, so the work is bounded: at most
    EDITS * KEPT * (choices of the space) points are looked at.
    """
    here = canonical(space, assignment)
    beam, looked_at = [here], {tuple(here.values())}
    for _ in range(EDITS):
        found: list[tuple[float, float, Assignment]] = []
        for parent in beam:
            for near in neighbours(space, parent):
                key = tuple(near.values())
                if key not in looked_at:
                    looked_at.add(key)
                    found.append((broken(near), rng.random(), near))
        found.sort(key=lambda each: each[:2])
        if not found:
            return None
        if found[0][0] == 0:
            return found[0][2]
        beam = [near for _, _, near in found[:KEPT]]
    return None
