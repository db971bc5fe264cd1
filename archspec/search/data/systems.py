"""A seed and a number of classes in, one iterated-function system a class out.

A map is R(theta) diag(s1, s2) R(phi) D plus an offset: two rotations, two singular values, two signs
(Anderson and Farrell, arXiv 2110.03091, section 3); they keep the sum of s1 + 2 s2 between (5 + N) / 2 and (6
+ N) / 2, which makes a system neither a line nor a blob. Rotations come from points in the unit disc, so no
sine is ever taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from archspec.search.data.chaos_game import attractor_points, centred, choice_bytes, hits
from archspec.search.data.random_words import draw_words, octets, units

_MAPS = 4  # room for maps in the tables; a system has 2 to 4
_LARGEST = 0.8  # singular value: leaves room for the jitter of an image
_COVERED = (150, 520)  # pixels of a 32 x 32 drawing that a class may cover

Coefficients = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Systems:
    """All classes: coefficients a, b, c, d, e, f of their maps (classes, N, 6), and the map of a byte
    (classes, 256).
    """

    maps: NDArray[np.float64]
    choice: NDArray[np.int64]


@cache
def systems(tag: int, seed: int, classes: int) -> Systems:
    """The systems of the classes 0 .. classes - 1; class k depends on (tag, seed, k) only."""
    drawn = [_system(tag, seed, label) for label in range(classes)]
    return Systems(np.stack([maps for maps, _ in drawn]), np.stack([choice for _, choice in drawn]))


def _numbers(tag: int, seed: int, label: int) -> Iterator[float]:
    for block in range(2**20):
        index = np.array([label * 2**20 + block], np.int64)
        yield from units(draw_words(tag, seed, "classes", index, 64))[0].tolist()


def _system(tag: int, seed: int, label: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    numbers = _numbers(tag, seed, label)
    words = draw_words(tag, seed, "classes", np.array([label * 2**20 + 2**20 - 1], np.int64), choice_bytes(32) // 8 + 1)
    random = octets(words)[:, : choice_bytes(32)]
    while True:
        maps, choice = _candidate(numbers)
        x, y = centred(*attractor_points(maps[None], choice[None], random))
        covered = int((hits(x * 0.9 + 0.5, y * 0.9 + 0.5, 32) > 0).sum())
        if _COVERED[0] <= covered <= _COVERED[1]:
            return maps, choice


def _candidate(numbers: Iterator[float]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    count = 2 + int(next(numbers) * 3)
    low, high = (5 + count) / 2, (6 + count) / 2
    while True:
        values = [sorted((next(numbers) * _LARGEST, next(numbers) * _LARGEST), reverse=True) for _ in range(count)]
        if low <= sum(large + 2 * small for large, small in values) <= high:
            break
    maps = np.zeros((_MAPS, 6))
    for index, (large, small) in enumerate(values):
        maps[index] = _map(numbers, large, small)
    return maps, _choice([large * small for large, small in values])


def _direction(numbers: Iterator[float]) -> tuple[float, float]:
    """A unit vector of uniform angle: cosine and sine with IEEE operations only."""
    while True:
        u, v = 2 * next(numbers) - 1, 2 * next(numbers) - 1
        square = u * u + v * v
        if 0.01 < square <= 1:
            return u / sqrt(square), v / sqrt(square)


def _map(numbers: Iterator[float], large: float, small: float) -> Coefficients:
    (c1, s1), (c2, s2) = _direction(numbers), _direction(numbers)
    flip_x, flip_y = (1.0 if next(numbers) < 0.5 else -1.0 for _ in range(2))
    offset_x, offset_y = 2 * next(numbers) - 1, 2 * next(numbers) - 1
    return (
        (c1 * large * c2 - s1 * small * s2) * flip_x,
        (-c1 * large * s2 - s1 * small * c2) * flip_y,
        (s1 * large * c2 + c1 * small * s2) * flip_x,
        (-s1 * large * s2 + c1 * small * c2) * flip_y,
        offset_x,
        offset_y,
    )


def _choice(determinants: list[float]) -> NDArray[np.int64]:
    """The map that each of 256 bytes takes: in proportion to the area it fills, at least 8 bytes a map."""
    total = sum(determinants)
    shares = [max(8, int(256 * area / total)) for area in determinants]
    return np.repeat(np.arange(len(shares)), shares)[np.arange(256) * sum(shares) // 256]
