"""A seed, a split and sample indices in, images of iterated-function-system fractals and their labels out.

In the manner of FractalDB (arXiv 2101.08515): a class is one system of affine maps (systems.py), an image is
its attractor drawn by the chaos game, every coefficient jittered by 15 %, in a random colour over coloured
noise. It is not a ranking of ImageNet.

Measured with networks of about 0.2 M parameters, 561 steps: no mixing 68 %, Swin-like 89 %, Mixer 98 %, depth-wise
7x7 99 %. One seed.

Axes: B images, H and W (both `size`), C channels, N maps of a system.
"""

import numpy as np
from numpy.typing import NDArray

from archspec.search.data.chaos_game import Reals, attractor_points, centred, choice_bytes, hits
from archspec.search.data.noise import BYTES, coloured_noise
from archspec.search.data.random_words import draw_words, octets, units
from archspec.search.data.systems import systems

VERSION = 1
"""Part of the data's identity: raise it when any pixel changes."""

CLASSES = 20

_TAG = 0xF7AC
_JITTER = 0.15
_TURN = 0.1  # largest tangent of half the angle: 0.2 radians
_SHIFT = 0.06  # of the image's side
_SCALE = (0.75, 0.95)  # of the image's side
_GROUND = (40, 150)  # ranges of the ground's base colour and of its noise
_COLOUR = (90, 256)  # range of the ink's colour, in each channel
_INK = np.array([0, 170, 225, 256], np.int32)  # opacity in 1/256 by the number of points in a pixel


def draw(
    seed: int, split: str, indices: NDArray[np.int64], size: int, classes: int = CLASSES
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (B, size, size, 3) and labels (B,) of the samples `indices` (B,) of a split.

    A pure function of its arguments, image by image: a sample does not depend on its neighbours in the batch.
    The classes are equally frequent (label = index mod classes) and the same for every split of a seed.
    """
    labels = indices % classes
    drawn = systems(_TAG, seed, classes)
    maps = drawn.maps[labels]
    numbers = maps.shape[1] * 6 + 10
    random_bytes = choice_bytes(size) + BYTES
    words = draw_words(_TAG, seed, split, indices, numbers + -(-random_bytes // 8))
    unit, random = units(words[:, :numbers]), octets(words[:, numbers:])
    jitter = 1 + _JITTER * (2 * unit[:, 10:].reshape(maps.shape) - 1)
    points = attractor_points(maps * jitter, drawn.choice[labels], random[:, BYTES : BYTES + choice_bytes(size)])
    ink = _INK[np.minimum(hits(*_placed(*points, unit[:, :4]), size), len(_INK) - 1)]
    return _coloured(ink, random[:, :BYTES], unit[:, 4:10]), labels


def _placed(x: Reals, y: Reals, unit: Reals) -> tuple[Reals, Reals]:
    """The points turned, scaled and shifted by the four numbers of their image, in units of the image's
    side.
    """
    x, y = centred(x, y)
    tangent = (_TURN * (2 * unit[:, 0] - 1))[:, None]
    square = tangent * tangent
    cosine, sine = (1 - square) / (1 + square), 2 * tangent / (1 + square)
    scale = (_SCALE[0] + (_SCALE[1] - _SCALE[0]) * unit[:, 1])[:, None]
    right, down = (0.5 + _SHIFT * (2 * unit[:, i] - 1)[:, None] for i in (2, 3))
    return (cosine * x - sine * y) * scale + right, (sine * x + cosine * y) * scale + down


def _coloured(ink: NDArray[np.int32], random: NDArray[np.uint8], unit: Reals) -> NDArray[np.uint8]:
    """Ink (B, H, W) of a random bright colour over dark coloured noise: the polarity is fixed, or nothing is
    learned.
    """
    size = ink.shape[1]
    ground = (unit[:, None, None, :3] * _GROUND[0]).astype(np.int32) + coloured_noise(random, size) * _GROUND[1] // 256
    colour = _COLOUR[0] + (unit[:, None, None, 3:] * (_COLOUR[1] - _COLOUR[0])).astype(np.int32)
    return (ground + (colour - ground) * ink[..., None] // 256).astype(np.uint8)
