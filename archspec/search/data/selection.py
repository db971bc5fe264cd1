"""Labels and a seed in, which images belong to a subset or to a held-out share out.

Axes: N images of a set.
"""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def stratified(labels: Integers, count: int, seed: int) -> Integers:
    """Ascending indices of `count` of the N images, drawn at random, every class in proportion to its size.

    Every image gets the place (r + 1/2) / n of a random rank r among the n of its class; the smallest places
    win. A smaller subset of the same seed is contained in a larger one.
    """
    random = np.random.default_rng((0x5E1EC7, seed))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[members] = (random.permutation(len(members)) + 0.5) / len(members)
    return np.sort(np.argsort(place, kind="stable")[:count])


def held_out(labels: Integers, share: float, seed: int) -> tuple[Integers, Integers]:
    """Indices that stay and indices that are held out: `share` of the N images, at least one stays and one
    goes.
    """
    count = min(max(1, round(share * len(labels))), len(labels) - 1)
    out = stratified(labels, count, seed)
    return np.setdiff1d(np.arange(len(labels)), out), out
