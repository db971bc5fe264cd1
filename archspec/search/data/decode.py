"""The bytes of an image file in, one square RGB image out.

Any mode becomes RGB (grey-scale three times the same, transparency dropped); the centre square is cut and
brought to the size in one step: by area means (box filter; the proxy literature found nearest-neighbour
worst, arXiv 1707.08819) or bicubic; what is enlarged is bicubic.
"""

import warnings
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VERSION = 1
"""Part of the cache's key: raise it when any pixel changes."""


class Unreadable(Exception):
    """The bytes are not an image that Pillow can decode; the message says why."""


def decode(source: BinaryIO | Image.Image, size: int, resize: Literal["area", "bicubic"]) -> NDArray[np.uint8]:
    """Image (size, size, 3) from an open file, or from what a reader has opened already.

    Raises:
        Unreadable: not an image, cut short, or so large that Pillow suspects a bomb.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # palettes with transparency, broken EXIF: the pixels are sound
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with source if isinstance(source, Image.Image) else Image.open(source) as image:
                # A JPEG is decoded at the smallest scale that still has twice the pixels wanted: much faster.
                image.draft("RGB", (2 * size, 2 * size))
                return np.asarray(_square(image.convert("RGB"), size, resize))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Warning) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _square(image: Image.Image, size: int, resize: Literal["area", "bicubic"]) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    shrinks = side >= size and resize == "area"
    rule = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return image.resize((size, size), rule, box=(left, top, left + side, top + side))
