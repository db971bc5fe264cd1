"""A point that cannot be used goes in; the nearest point that can comes out: the smallest edit that mends it."""

import random
from collections.abc import Callable

from archspec.search.space.model import Assignment, SearchSpace, canonical, edits

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

    Of edits that mend it, one that goes least far is taken (see `edits`). Every step looks at the edits of the KEPT
    points that break least, so the work is bounded: at most EDITS * KEPT * (choices of the space) points are looked at.
    """
    here = canonical(space, assignment)
    beam, looked_at = [here], {tuple(here.values())}
    for _ in range(EDITS):
        found: list[tuple[float, int, float, Assignment]] = []
        for parent in beam:
            for leap, near in edits(space, parent):
                key = tuple(near.values())
                if key not in looked_at:
                    looked_at.add(key)
                    found.append((broken(near), leap, rng.random(), near))
            best = min(found, key=lambda each: each[:3], default=None)
            if best is not None and best[0] == 0:
                return best[3]
        found.sort(key=lambda each: each[:3])
        beam = [near for *_, near in found[:KEPT]]
    return None
