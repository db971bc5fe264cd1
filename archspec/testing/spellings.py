"""A combination of axis values goes in; the spaces, weights and options that the roster writes it with come out.

Numbers: 20 channels to 20 or 26; 2 groups of 10 (of 13 outgoing), or 10 groups of 2; 6 hidden units; maps of
5 x 7, 7 x 11, 6 x 9 and 9 x 15; windows of 3, 4, 5 and more.
"""

import itertools
from collections.abc import Mapping
from typing import Any

from archspec.ir import Feature
from archspec.schema.legality import Combination

CHANNELS, WIDTH = 20, 26
SMALL, MAP = Feature(5, 7, CHANNELS), Feature(7, 11, CHANNELS)
WHOLE, THREES = Feature(9, 15, CHANNELS), Feature(6, 9, CHANNELS)
TOKEN = Feature(5, 7, CHANNELS, class_tokens=1)

Written = dict[str, Any]
# Spaces as written, each with the map it is used on.
Spelt = tuple[tuple[Any, Feature], ...]

POINT: Spelt = (("point", SMALL),)
FULL: Spelt = (("full", SMALL),)
# Tables over offsets for maps up to 8 x 9.
FULL_OF_LARGER: Spelt = (({"full": {"largest": [8, 9]}}, SMALL),)

SLIDING_SAME: Spelt = (
    ({"sliding": 3}, MAP),
    ({"sliding": [3, 5]}, MAP),
    ({"sliding": 4}, MAP),
    ({"sliding": {"size": [4, 3], "dilation": [1, 3]}}, MAP),
    ({"sliding": {"size": [1, 5]}}, MAP),
    ({"sliding": {"size": [9, 3]}}, MAP),
)
# One tap: with a stride it is no point.
SKIPPING: Written = {"sliding": {"size": 1, "stride": [2, 4]}}
# Local weights come with these too: every position is the beginning or centre of a window.
SLIDING_BY_STRIDE: Spelt = (
    ({"sliding": {"size": 3, "stride": [2, 1]}}, MAP),
    ({"sliding": {"size": [4, 7], "stride": [1, 3], "dilation": [1, 2]}}, MAP),
    ({"sliding": {"size": [4, 3], "padding": "end"}}, MAP),
    ({"sliding": {"size": [4, 3], "stride": [4, 3], "padding": "end"}}, WHOLE),
    (SKIPPING, MAP),
)
SLIDING_INSIDE: Spelt = (
    ({"sliding": {"size": [3, 5], "padding": "none"}}, MAP),
    ({"sliding": {"size": [3, 4], "stride": [2, 1], "dilation": [1, 2], "padding": "none"}}, MAP),
)
SLIDING_ODD: Spelt = (
    ({"sliding": 3}, MAP),
    ({"sliding": [3, 5]}, SMALL),
    ({"sliding": {"size": [1, 5]}}, MAP),
    ({"sliding": [7, 3]}, SMALL),
    ({"sliding": 1}, SMALL),
)
WINDOW: Spelt = (
    ({"window": {"size": [3, 4], "shift": [1, 2]}}, MAP),
    ({"window": {"size": [4, 3], "shift": [3, 0]}}, MAP),
    ({"window": [7, 4]}, MAP),
    ({"window": {"size": [3, 5], "shift": [1, 3]}}, WHOLE),
    ({"window": {"size": [5, 1], "shift": [2, 0]}}, MAP),
)
WINDOW_MASKED: Spelt = (
    ({"window": {"size": [3, 4], "shift": [1, 2], "padding": "masked"}}, MAP),
    ({"window": {"size": [4, 3], "padding": "masked"}}, MAP),
)
# A map that windows tile. A predictor has 6 hidden units, so its map must have no side of 6.
WINDOW_TILED: Spelt = (({"window": 3}, THREES),)
WINDOW_TILED_FOR_PREDICTORS: Spelt = (({"window": [3, 5]}, WHOLE),)
# Padded and not, with a halo on one side, and one wider than the window.
WIDE: Spelt = (({"halo": {"size": [1, 4], "halo": [4, 5]}}, SMALL), ({"halo": {"size": [5, 7], "halo": [1, 2]}}, SMALL))
HALO: Spelt = (
    ({"halo": {"size": [3, 4], "halo": [1, 2]}}, SMALL),
    ({"halo": {"size": [7, 3], "halo": [0, 1]}}, MAP),
    ({"halo": {"size": [3, 5], "halo": [2, 1]}}, WHOLE),
    *WIDE,
)
HALO_MASKED: Spelt = (
    ({"halo": {"size": [3, 4], "halo": [1, 2], "padding": "masked"}}, MAP),
    ({"halo": {"size": [3, 5], "halo": [0, 2], "padding": "masked"}}, WHOLE),
)
GRID: Spelt = (
    ({"grid": [3, 4]}, MAP),
    ({"grid": [4, 3]}, SMALL),
    ({"grid": [7, 4]}, MAP),
    ({"grid": 3}, WHOLE),
)
GRID_MASKED: Spelt = (({"grid": {"size": [3, 4], "padding": "masked"}}, MAP),)
CROSS: Spelt = (("cross", SMALL), ("cross", MAP))
# Ragged on both sides, on one and on none.
POOLED: Spelt = (
    ({"pooled": 2}, MAP),
    ({"pooled": {"ratio": [1, 2], "by": "mean", "norm": "none"}}, MAP),
    ({"pooled": {"ratio": [1, 3], "norm": "none"}}, WHOLE),
    ({"pooled": {"ratio": [2, 1], "by": "mean"}}, SMALL),
    ({"pooled": 1}, SMALL),
)

PREDICTORS: tuple[Written, ...] = (
    {},
    {"norm": "none", "act": "gelu", "hidden_bias": True},
    {"act": "silu", "hidden_bias": True},
    {"norm": "none", "act": "tanh", "hidden_bias": False},
    {"act": "hardswish"},
    {"norm": "none", "act": "sigmoid"},
    {"act": "gelu", "hidden_bias": False},
    {"act": "relu6"},
)
ATTENTIONS: tuple[Written, ...] = tuple(
    {"bias": bias, "relative_bias": relative, "value": value}
    for value, relative, bias in itertools.product((True, False), repeat=3)
)
FURTHER_ATTENTIONS: tuple[Written, ...] = (
    {"output": True},
    {"output": True, "bias": False, "value": False, "relative_bias": True},
    {"normalise": "none"},
    {"normalise": "none", "relative_bias": True, "output": True, "bias": False},
    {"centre": True},
    {"centre": True, "relative_bias": True, "value": False},
    {"post_convolution": 3},
    {"post_convolution": 5, "relative_bias": True, "output": True},
    {"pre_convolution": {"size": 3}, "bias": False},
    {"pre_convolution": {"size": 5, "channels": "shared"}, "value": False},
    {"pre_convolution": {"size": 3, "channels": "full"}, "centre": True},
    {"mix_heads": True},
    {"mix_heads": True, "relative_bias": True, "normalise": "none"},
    {
        "relative_bias": True,
        "output": True,
        "centre": True,
        "post_convolution": 3,
        "pre_convolution": {"size": 3, "channels": "full"},
        "mix_heads": True,
    },
)
_INDEXED_BY_PLACE = ("relative_bias", "centre", "post_convolution", "pre_convolution")
OUTLOOKS: tuple[Written, ...] = (
    {},
    {"stride": 2},
    {"stride": [2, 3], "bias": True},
    {"value": False},
    {"stride": [1, 2], "bias": True},
    {"stride": 4, "value": False},
    {"stride": 2, "bias": True},
)


def spaces_of(combination: Combination) -> Spelt:
    """How the roster writes the space of a combination, each with its map."""
    weights = combination.weights
    written = _TABLE[combination.space]
    if combination.space == "sliding":
        written = _slidings(weights)
    elif combination.space == "window":
        written = (WINDOW_TILED_FOR_PREDICTORS if weights in ("pooled", "local") else WINDOW_TILED) + WINDOW
    elif combination.space == "full" and combination.positions == "offsets":
        written = FULL + FULL_OF_LARGER
    if weights == "attention":
        written += _MASKED.get(combination.space, ())
    # A channel matrix makes every entry 20 x 26 numbers: what is largest is for the channels kept separate.
    return tuple(w for w in written if combination.channels == "separate" or (w[1] != WHOLE and w not in WIDE))


def _slidings(weights: str) -> Spelt:
    if weights == "attention":
        return SLIDING_SAME
    if weights == "outlook":
        return SLIDING_ODD
    return SLIDING_SAME + SLIDING_BY_STRIDE + (() if weights == "local" else SLIDING_INSIDE)


_TABLE: dict[str, Spelt] = {
    "point": POINT,
    "full": FULL,
    "sliding": (),
    "window": (),
    "halo": HALO,
    "grid": GRID,
    "cross": CROSS,
    "pooled": POOLED,
}
_MASKED: dict[str, Spelt] = {"window": WINDOW_MASKED, "halo": HALO_MASKED, "grid": GRID_MASKED}


def weights_of(combination: Combination, space: Any, number: int) -> Any:
    """The weights with the options whose turn it is."""
    name = combination.weights
    normalised = {"normalise": "softmax"} if number % 3 == 1 and may_normalise(combination, space) else {}
    if name == "static":
        return {name: normalised} if normalised else name
    if name == "attention":
        return {name: fitting(ATTENTIONS[number % len(ATTENTIONS)], combination.space)}
    if name == "outlook":
        return {name: OUTLOOKS[number % len(OUTLOOKS)]}
    return {name: {"reduction": 3, **PREDICTORS[number % len(PREDICTORS)], **normalised}}


def may_normalise(combination: Combination, space: Any) -> bool:
    """Whether static or predicted weights of a combination may be a softmax over what a position reads."""
    one_table = combination.positions != "offsets" or combination.space == "sliding"
    return combination.channels == "separate" and one_table and space not in ("point", SKIPPING)


def fitting(options: Mapping[str, Any], space: str, tokens: int = 0) -> Written:
    """These options of attention, less those that the space (or a class token) does not allow."""
    refused = _INDEXED_BY_PLACE if space == "pooled" or tokens else ("post_convolution",) if space == "cross" else ()
    return {name: value for name, value in options.items() if name not in refused}
