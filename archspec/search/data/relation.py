"""A seed, a split and sample indices in, images with two distant glyphs and the label of how they relate out.

A diagnostic of reach: the label is the direction from a white disc to a black square (right, down, left, up),
which no window smaller than their distance shows. One more glyph, a black disc or a white square, makes
neither the shape nor the shade alone enough; the ground is one of five textures. With 20 classes the texture
is part of the label. Chance is 25 % for the relation. It is not a ranking of
ImageNet.

Measured with networks of about 0.2 M parameters, 600 steps: no mixing 26 %, Swin-like in 4x4 windows 25 %, Mixer and
depth-wise 7x7 87 %. One seed.

Axes: B images, H and W (both `size`). Lengths are integers in 1/1024 of the image's side.
"""

import numpy as np
from numpy.typing import NDArray

from archspec.search.data.random_words import below, draw_words, octets

Integers = NDArray[np.int64]

VERSION = 1
"""Part of the data's identity: raise it when any pixel changes."""

CLASSES = 4
TEXTURES = ((32, 0), (0, 32), (40, 40), (80, 0), (0, 80))
"""Wave vectors of the five textures, in periods over eight image sides: two frequencies, at most 10 periods a
side (32 px show 16)."""

_TAG = 0x3E1A
_SIDE = 1024
_RADIUS = 100  # of the disc, and half the square's side is 7/8 of it: equal areas, near enough
_MARGIN = 120
_FAR = (400, 580)  # distance along the direction
_ASIDE = 100  # largest distance across it
_APART = 260  # least distance of the distractor to the others, along x or y
_TRIES = 12


def draw(
    seed: int, split: str, indices: Integers, size: int, classes: int = CLASSES
) -> tuple[NDArray[np.uint8], Integers]:
    """Images (B, size, size, 3) and labels (B,) of the samples `indices` (B,) of a split.

    A pure function of its arguments, image by image; `classes` is 4 (the direction) or 20 (direction + 4 x
    texture). The directions are equally frequent (direction = index mod 4), and so are the textures.
    """
    direction, texture = indices % 4, indices // 4 % 5
    grain = size * size
    words = draw_words(_TAG, seed, split, indices, 16 + 2 * _TRIES + -(-grain // 8))
    disc, square = _pair(words[:, :8], direction)
    third = _third(words[:, 16 : 16 + 2 * _TRIES], disc, square)
    light = _ground(words[:, 8:10], texture, size)
    light += octets(words[:, 16 + 2 * _TRIES :])[:, :grain].reshape(-1, size, size) % 32
    third_is_disc = below(words[:, 10], 2)
    _paint(light, _disc(disc, size), 255)
    _paint(light, _square(square, size), 0)
    _paint(light, _disc(third, size) & (third_is_disc == 1)[:, None, None], 0)
    _paint(light, _square(third, size) & (third_is_disc == 0)[:, None, None], 255)
    images = np.repeat(light.astype(np.uint8)[..., None], 3, axis=3)
    return images, (direction if classes == CLASSES else direction + 4 * texture)


def _pair(words: NDArray[np.uint64], direction: Integers) -> tuple[Integers, Integers]:
    """Centres x, y (B, 2) of the disc and of the square, which lies `direction` of it; the pair is placed at
    random.
    """
    far = _FAR[0] + below(words[:, 0], _FAR[1] - _FAR[0])
    aside = below(words[:, 1], 2 * _ASIDE + 1) - _ASIDE
    sign = np.where(direction < 2, 1, -1)
    along_x = direction % 2 == 0
    step = np.where(along_x[:, None], np.stack([sign * far, aside], 1), np.stack([aside, sign * far], 1))
    room = _SIDE - 2 * _MARGIN - np.abs(step)
    corner = np.stack([below(words[:, 2 + i], room[:, i]) for i in range(2)], 1) + _MARGIN
    disc = corner + np.maximum(-step, 0)
    return disc, disc + step


def _third(words: NDArray[np.uint64], disc: Integers, square: Integers) -> Integers:
    """A centre (B, 2) away from both: the first of a few random places that is free, else the last one."""
    places = _MARGIN + below(words, _SIDE - 2 * _MARGIN).reshape(len(words), _TRIES, 2)
    away = [np.abs(places - other[:, None]).max(2) >= _APART for other in (disc, square)]
    free = away[0] & away[1]
    free[:, -1] = True
    chosen: Integers = places[np.arange(len(words)), free.argmax(1)]
    return chosen


def _axes(size: int) -> tuple[Integers, Integers]:
    """Pixel centres, as a row (1, 1, W) and as a column (1, H, 1)."""
    centre = (2 * np.arange(size, dtype=np.int64) + 1) * _SIDE // (2 * size)
    return centre[None, None, :], centre[None, :, None]


def _ground(words: NDArray[np.uint64], texture: Integers, size: int) -> Integers:
    """Triangle waves (B, H, W) with values 64..160: half a period up, half down, at a random phase."""
    x, y = _axes(size)
    wave = np.array(TEXTURES, np.int64)[texture]
    period = 8 * _SIDE
    phase = wave[:, 0, None, None] * x + wave[:, 1, None, None] * y + below(words[:, 0], period)[:, None, None]
    return 64 + np.abs(phase % period - period // 2) * 96 // (period // 2)


def _disc(centre: Integers, size: int) -> NDArray[np.bool_]:
    x, y = _axes(size)
    across, down = x - centre[:, 0, None, None], y - centre[:, 1, None, None]
    inside: NDArray[np.bool_] = across * across + down * down <= _RADIUS * _RADIUS
    return inside


def _square(centre: Integers, size: int) -> NDArray[np.bool_]:
    x, y = _axes(size)
    half = _RADIUS * 7 // 8
    across, down = np.abs(x - centre[:, 0, None, None]), np.abs(y - centre[:, 1, None, None])
    inside: NDArray[np.bool_] = np.maximum(across, down) <= half
    return inside


def _paint(light: Integers, where: NDArray[np.bool_], value: int) -> None:
    light[where] = value
