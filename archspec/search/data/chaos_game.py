"""Affine maps and random bytes in, points of their attractor out, then hits per pixel.

Axes: B images, N maps of a system, K points (chains x steps).
"""

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

BURN_IN, STEPS = 20, 30
_CHAINS_AT_32_PIXELS = 50  # 50 chains of 30 recorded points: the 1,500 points of the prototype


def chains(size: int) -> int:
    """Chains drawn side by side, in proportion to the area, so that the density of points does not depend on
    the size.
    """
    return max(1, _CHAINS_AT_32_PIXELS * size * size // 1024)


def choice_bytes(size: int) -> int:
    """Random bytes an image needs."""
    return chains(size) * (BURN_IN + STEPS)


def attractor_points(maps: Reals, choice: NDArray[np.int64], random: NDArray[np.uint8]) -> tuple[Reals, Reals]:
    """Points x, y (B, K) of the attractors of `maps` (B, N, 6), taken as `choice` (B, 256) says for each
    random byte.

    Many short chains instead of one long one: the same attractor, and the steps of all chains run at once.
    Products and sums are separate numpy calls, so nothing is contracted to a fused multiply-add.
    """
    rows = np.arange(len(maps))[:, None]
    picks = choice[rows, random].reshape(len(maps), BURN_IN + STEPS, -1)
    a, b, c, d, e, f = (np.ascontiguousarray(maps[:, :, i]) for i in range(6))
    x, y = np.zeros((2, len(maps), picks.shape[2]))
    xs, ys = np.empty((2, len(maps), STEPS, picks.shape[2]))
    for step in range(BURN_IN + STEPS):
        taken = picks[:, step]
        x, y = (
            a[rows, taken] * x + b[rows, taken] * y + e[rows, taken],
            c[rows, taken] * x + d[rows, taken] * y + f[rows, taken],
        )
        if step >= BURN_IN:
            xs[:, step - BURN_IN], ys[:, step - BURN_IN] = x, y
    return xs.reshape(len(maps), -1), ys.reshape(len(maps), -1)


def centred(x: Reals, y: Reals) -> tuple[Reals, Reals]:
    """The same points with their bounding box at the origin and its longer side of length 1."""
    left, right, top, bottom = x.min(1), x.max(1), y.min(1), y.max(1)
    extent = np.maximum(np.maximum(right - left, bottom - top), 1e-9)[:, None]
    return (x - ((left + right) / 2)[:, None]) / extent, (y - ((top + bottom) / 2)[:, None]) / extent


def hits(x: Reals, y: Reals, size: int) -> NDArray[np.int64]:
    """Points per pixel (B, size, size); coordinates in [0, 1) are inside the image, the others are left
    out.
    """
    column, row = np.floor(x * size).astype(np.int64), np.floor(y * size).astype(np.int64)
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    image = np.broadcast_to(np.arange(len(x))[:, None], x.shape)
    flat = ((image * size + row) * size + column)[inside]
    return np.bincount(flat, minlength=len(x) * size * size).reshape(len(x), size, size)
