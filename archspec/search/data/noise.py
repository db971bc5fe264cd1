"""Random bytes in, coloured noise images out: octaves of value noise whose amplitude falls as 1/f.

Sums of bilinearly enlarged random grids, in integers: a Fourier transform would differ in the last bit from
machine to machine. Axes: B images, C channels, H and W (both `size`).
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

CELLS = (2, 4, 8, 16)
"""Cells per side of each octave; its weight is the reciprocal: 8, 4, 2, 1 of 15."""

_WEIGHTS = (8, 4, 2, 1)
CHANNELS = 3
BYTES = CHANNELS * sum((cells + 1) ** 2 for cells in CELLS)
"""Random bytes an image needs."""


@cache
def _interpolation(cells: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    position = (2 * np.arange(size, dtype=np.int64) + 1) * cells * 128 // size  # 1/256 of a cell, pixel centres
    return position >> 8, position & 255


def _enlarge(grid: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """Bilinear, (B, C, cells + 1, cells + 1) -> (B, C, size, size)."""
    low, part = _interpolation(grid.shape[-1] - 1, size)
    right = part.astype(np.int32)
    left = np.subtract(256, right, dtype=np.int32)
    rows: NDArray[np.int32] = grid[:, :, low] * left[:, None] + grid[:, :, low + 1] * right[:, None]
    rows >>= 8
    full: NDArray[np.int32] = rows[..., low] * left + rows[..., low + 1] * right
    full >>= 8
    return full


def coloured_noise(random: NDArray[np.uint8], size: int) -> NDArray[np.int32]:
    """Noise (B, size, size, C) with values 0..255 from random bytes (B, BYTES)."""
    total = np.zeros((len(random), CHANNELS, size, size), np.int32)
    start = 0
    for cells, weight in zip(CELLS, _WEIGHTS, strict=True):
        count = CHANNELS * (cells + 1) ** 2
        grid = random[:, start : start + count].reshape(-1, CHANNELS, cells + 1, cells + 1)
        total += weight * _enlarge(grid.astype(np.int32), size)
        start += count
    return np.moveaxis(total // sum(_WEIGHTS), 1, -1)
