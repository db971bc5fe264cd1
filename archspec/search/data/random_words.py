"""A seed, a split and sample indices in, rows of 64-bit random words out.

Everything procedural is drawn from the raw words of a counter-based generator (Philox): the word stream of a
numpy bit generator never changes between versions (NEP 19), while the methods of `Generator` may. What is
made of the words uses integers and the four IEEE operations only, so that no pixel depends on the machine.

Axes: B images, K words of an image.
"""

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

SPLITS = {"classes": 0, "train": 1, "val": 2, "test": 3}
_TO_UNIT = 2.0**-53


def draw_words(tag: int, seed: int, split: str, indices: NDArray[np.int64], count: int) -> Words:
    """Random words (B, K = count), one row an index; a row depends on (tag, seed, split, index) and on
    nothing else.

    `tag` separates the data sets from each other, `split` is a key of `SPLITS`.
    """
    key = np.random.SeedSequence((tag, seed, SPLITS[split])).generate_state(2, np.uint64)
    rows = np.empty((len(indices), count), np.uint64)
    for row, index in zip(rows, indices.tolist(), strict=True):
        # The third counter word is the index: streams of two indices are 2^128 draws apart.
        row[:] = np.random.Philox(key=key, counter=[0, 0, index, 0]).random_raw(count)
    return rows


def units(words: Words) -> NDArray[np.float64]:
    """Words as numbers in [0, 1), of the same shape; 53 bits each, exact."""
    return (words >> np.uint64(11)).astype(np.float64) * _TO_UNIT


def octets(words: Words) -> NDArray[np.uint8]:
    """Words (B, K) as bytes (B, 8 K), lowest byte first on every machine."""
    return words.astype("<u8").view(np.uint8).reshape(len(words), -1)


def below(words: Words, bound: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Words as integers in [0, bound), of the same shape; the bias of the modulo is under bound / 2^63."""
    return (words >> np.uint64(1)).astype(np.int64) % bound
