"""The embedded sets: their pixels do not change, and a sample depends on its index alone."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from archspec.search.data import fractal, relation

DRAWS: dict[str, Callable[..., Any]] = {"fractal": fractal.draw, "relation": relation.draw}
CHECKSUMS = {
    ("fractal", "train", 32, 20): "104ea5319d5647a3",
    ("fractal", "val", 32, 20): "ff8e04f47a77cbc0",
    ("fractal", "train", 48, 7): "e5500fb006238049",
    ("relation", "train", 32, 4): "c8aeacc3fe2a7ed5",
    ("relation", "val", 32, 20): "135aa1a0ed4947e5",
    ("relation", "train", 45, 4): "7d04e96b81528e3d",
}


def checksum(images: np.ndarray, labels: np.ndarray) -> str:
    return hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("case", CHECKSUMS, ids=str)
def test_pixels_are_pinned(case: tuple[str, str, int, int]) -> None:
    name, split, size, classes = case
    images, labels = DRAWS[name](0, split, np.arange(100), size, classes)
    assert images.shape == (100, size, size, 3)
    assert images.dtype == np.uint8
    assert checksum(images, labels) == CHECKSUMS[case]


@pytest.mark.parametrize("name", DRAWS)
def test_a_sample_depends_on_its_index_alone(name: str) -> None:
    together = DRAWS[name](3, "train", np.arange(40), 32)
    scattered = DRAWS[name](3, "train", np.array([39, 5, 5, 0]), 32)
    for whole, part in zip(together, scattered, strict=True):
        np.testing.assert_array_equal(whole[[39, 5, 5, 0]], part)


@pytest.mark.parametrize("name", DRAWS)
def test_seeds_and_splits_share_no_image(name: str) -> None:
    sets = [(0, "train"), (0, "val"), (0, "test"), (1, "train")]
    images = np.concatenate([DRAWS[name](seed, split, np.arange(50), 32)[0] for seed, split in sets])
    assert len({image.tobytes() for image in images}) == 200


@pytest.mark.parametrize("name", DRAWS)
def test_far_indices_of_a_stream_can_be_drawn(name: str) -> None:
    images, labels = DRAWS[name](0, "train", np.array([10**12, 10**12 + 1]), 32)
    assert not np.array_equal(images[0], images[1])
    assert labels.tolist() == [10**12 % 4, 1] if name == "relation" else labels.tolist() == [0, 1]


def test_classes_are_equally_frequent() -> None:
    assert np.bincount(fractal.draw(0, "train", np.arange(200), 16)[1]).tolist() == [10] * 20
    assert np.bincount(relation.draw(0, "train", np.arange(200), 32, 20)[1]).tolist() == [10] * 20


def test_images_of_a_class_are_alike_in_shape() -> None:
    """The mean drawing of a class, over other images of the validation split, names most of them: not noise,
    not one.
    """
    train, labels = fractal.draw(0, "train", np.arange(1000), 32)
    val, wanted = fractal.draw(0, "val", np.arange(400), 32)
    means = np.stack([train[labels == label].mean((0, 3)) for label in range(20)]).reshape(20, -1)
    means = (means - means.mean(1, keepdims=True)) / means.std(1, keepdims=True)
    accuracy = ((val.mean(3).reshape(400, -1) @ means.T).argmax(1) == wanted).mean()
    assert 0.5 < accuracy < 0.98


def test_the_relation_is_where_the_square_lies_of_the_disc() -> None:
    images, labels = relation.draw(0, "train", np.arange(400), 64)
    for image, label in zip(images[..., 0], labels, strict=True):
        white, black = _centres(image == 255), _centres(image == 0)
        directions = {_direction(b - w) for w in white for b in black}
        assert label in directions


def _centres(mask: np.ndarray) -> list[np.ndarray]:
    """Centres of the connected spots of a mask: grown from a pixel until nothing is added."""
    left, found = mask.copy(), []
    while left.any():
        spot = np.zeros_like(left)
        spot[tuple(np.argwhere(left)[0])] = True
        while True:
            grown = spot.copy()
            for axis in (0, 1):
                grown |= np.roll(spot, 1, axis) | np.roll(spot, -1, axis)
            grown &= mask
            if (grown == spot).all():
                break
            spot = grown
        found.append(np.argwhere(spot).mean(0)[::-1])
        left &= ~spot
    return found


def _direction(step: np.ndarray) -> int:
    along_x = abs(step[0]) > abs(step[1])
    return (0 if step[0] > 0 else 2) if along_x else (1 if step[1] > 0 else 3)
