"""The table of legal combinations goes in; the roster of ops that cover it, with their variants, comes out.

No size of a map or window equals a number of channels, groups, kernels or hidden units, so that a kernel that
confuses two axes cannot pass by luck; and H != W throughout.

Numbers: 20 channels to 20 or 26; 2 groups of 10 (of 13 outgoing), or 10 groups of 2; 6 hidden units; maps of
5 x 7, 7 x 11, 6 x 9 and 9 x 15; windows of 3, 4, 5 and more.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from archspec.ir import Connect, Feature
from archspec.schema.legality import Combination, legal_combinations
from archspec.testing.layers import Layer
from archspec.testing.memory import unfolding_shows

CHANNELS, WIDTH = 20, 26
SMALL, MAP = Feature(5, 7, CHANNELS), Feature(7, 11, CHANNELS)
WHOLE, THREES = Feature(9, 15, CHANNELS), Feature(6, 9, CHANNELS)
TOKEN = Feature(5, 7, CHANNELS, class_tokens=1)

Written = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One op of the roster: what was written, on which map, and the op."""

    name: str
    combination: Combination
    op: Connect


# A space as written, and the map it is used on.
_POINT: tuple[tuple[Any, Feature], ...] = (("point", SMALL),)
_FULL: tuple[tuple[Any, Feature], ...] = (("full", SMALL),)

_SLIDING_SAME: tuple[tuple[Any, Feature], ...] = (
    ({"sliding": 3}, MAP),
    ({"sliding": [3, 5]}, MAP),
    ({"sliding": 4}, MAP),
    ({"sliding": {"size": [4, 3], "dilation": [1, 3]}}, MAP),
    ({"sliding": {"size": [1, 5]}}, MAP),
    ({"sliding": {"size": [9, 3]}}, MAP),
)
_SLIDING_OTHER: tuple[tuple[Any, Feature], ...] = (
    ({"sliding": {"size": 3, "stride": [2, 1]}}, MAP),
    ({"sliding": {"size": [4, 7], "stride": [1, 3], "dilation": [1, 2]}}, MAP),
    ({"sliding": {"size": [4, 3], "padding": "end"}}, MAP),
    ({"sliding": {"size": [4, 3], "stride": [4, 3], "padding": "end"}}, WHOLE),
    ({"sliding": {"size": [3, 5], "padding": "none"}}, MAP),
    ({"sliding": {"size": [3, 4], "stride": [2, 1], "dilation": [1, 2], "padding": "none"}}, MAP),
    ({"sliding": {"size": 1, "stride": [2, 4]}}, MAP),
)
_WINDOW: tuple[tuple[Any, Feature], ...] = (
    ({"window": {"size": [3, 4], "shift": [1, 2]}}, MAP),
    ({"window": {"size": [4, 3], "shift": [3, 0]}}, MAP),
    ({"window": [7, 4]}, MAP),
    ({"window": {"size": [3, 5], "shift": [1, 3]}}, WHOLE),
    ({"window": {"size": [5, 1], "shift": [2, 0]}}, MAP),
)
_MASKED: tuple[tuple[Any, Feature], ...] = (
    ({"window": {"size": [3, 4], "shift": [1, 2], "padding": "masked"}}, MAP),
    ({"window": {"size": [4, 3], "padding": "masked"}}, MAP),
)
# A map that windows tile. A predictor has 6 hidden units, so its map must have no side of 6.
_TILED: tuple[Any, Feature] = ({"window": 3}, THREES)
_TILED_FOR_PREDICTORS: tuple[Any, Feature] = ({"window": [3, 5]}, WHOLE)

_PREDICTORS: tuple[Written, ...] = (
    {},
    {"norm": "none", "act": "gelu", "hidden_bias": True},
    {"act": "silu", "hidden_bias": True},
    {"norm": "none", "act": "tanh", "hidden_bias": False},
    {"act": "hardswish"},
    {"norm": "none", "act": "sigmoid"},
    {"act": "gelu", "hidden_bias": False},
)
_ATTENTIONS: tuple[Written, ...] = tuple(
    {"bias": bias, "relative_bias": relative, "value": value}
    for value, relative, bias in itertools.product((True, False), repeat=3)
)
_BIASES: tuple[Any, ...] = (None, "positions", False, "channels", True)
_GROUPS: tuple[Written, ...] = ({"groups": 2}, {"group_width": 2})


@cache
def roster() -> tuple[Case, ...]:
    """Every case; each legal combination stands in at least one."""
    return tuple([*_combinations(), *_attentions(), *_class_tokens(), *_factors(), *_patches()])


def memory_roster() -> tuple[Case, ...]:
    """Cases in which each position reads many others and shares its weights with many channels.

    There an unfolded N x K x C tensor is much larger than all that is needed; see archspec.testing.memory.
    """
    return tuple(case for case in _memory() if unfolding_shows(case.op))


def _combinations() -> Iterator[Case]:
    number = 0
    for combination in legal_combinations():
        for space, source in _spaces(combination):
            number += 1
            yield from _case(_layer(combination, space, number), source, combination)


def _spaces(combination: Combination) -> tuple[tuple[Any, Feature], ...]:
    weights = combination.weights
    if combination.space == "sliding":
        # Local weights are predicted at the centre of a window, so they come without stride.
        return _SLIDING_SAME if weights == "local" else _SLIDING_SAME + _SLIDING_OTHER
    if combination.space == "window":
        tiled = _TILED_FOR_PREDICTORS if weights in ("pooled", "local") else _TILED
        written = (tiled, *_WINDOW, *(_MASKED if weights == "attention" else ()))
        # A channel matrix makes every entry 20 x 26 numbers: the largest map is for the channels kept separate.
        return tuple(w for w in written if combination.channels == "separate" or w[1] != WHOLE)
    return _POINT if combination.space == "point" else _FULL


def _layer(combination: Combination, space: Any, number: int) -> Written:
    """The layer with the options whose turn it is: over the roster every option meets every space."""
    groups = _GROUPS[number % 2]
    channels: Any = groups if combination.channels == "groups" else combination.channels
    sharing: Any = groups if combination.channel_sharing == "groups" else combination.channel_sharing
    layer: Written = {
        "connectivity": {"space": space, "channels": channels},
        "sharing": {"positions": combination.positions, "channels": sharing},
        "weights": _weights(combination.weights, number),
        "bias": _BIASES[number % len(_BIASES)],
    }
    if channels == "full" or channels == {"groups": 2}:
        layer["width"] = WIDTH
    return layer


def _weights(name: str, number: int) -> Any:
    if name == "static":
        return name
    if name == "attention":
        return {name: _ATTENTIONS[number % len(_ATTENTIONS)]}
    return {name: {"reduction": 3, **_PREDICTORS[number % len(_PREDICTORS)]}}


def _attentions() -> Iterator[Case]:
    """Every option of attention on padded and shifted maps, with padding both ways, and on a whole map."""
    spaces: tuple[tuple[Any, Feature], ...] = (_WINDOW[0], _MASKED[0], _WINDOW[3], _FULL[0])
    for (space, source), options in itertools.product(spaces, _ATTENTIONS):
        name = "full" if space == "full" else "window"
        combination = Combination(name, "separate", "none", "groups", "attention")
        layer = _layer(combination, space, 0) | {"weights": {"attention": options}}
        yield from _case(layer, source, combination)


def _class_tokens() -> Iterator[Case]:
    """With a class token, a position may read itself or all; nothing may be relative to where it stands."""
    number = 0
    for combination in legal_combinations():
        fits = combination.space == "point" or (combination.space == "full" and combination.positions == "none")
        if not fits:
            continue
        number += 1
        layer = _layer(combination, combination.space, number)
        if combination.weights == "attention":
            layer["weights"] = {"attention": _ATTENTIONS[number % 8] | {"relative_bias": False}}
        yield from _case(layer, TOKEN, combination)


def _factors() -> Iterator[Case]:
    """Factorised layers: channels through 6 hidden ones, or positions through 17 hidden ones."""
    channels = Combination("point", "full", "offsets", "none", "static")
    positions = Combination("full", "separate", "none", "all", "static")
    for number, source in enumerate((SMALL, TOKEN)):
        layer = _layer(channels, "point", number) | {"rank": {"act": "gelu", "size": 6}}
        yield from _case(layer, source, channels)
        layer = _layer(positions, "full", number) | {"rank": {"act": "relu", "size": 17}, "bias": True}
        yield from _case(layer, source, positions)


def _patches() -> Iterator[Case]:
    """Convolutions whose windows do not overlap, on maps that they tile, that they overhang and that they outgrow."""
    combination = Combination("sliding", "full", "offsets", "none", "static")
    sizes: tuple[tuple[list[int], str, Feature], ...] = (
        ([3, 3], "end", WHOLE),
        ([4, 4], "none", WHOLE),
        ([3, 2], "none", MAP),
        ([4, 3], "end", MAP),
        ([9, 3], "end", SMALL),
        # Large enough for the kernel that cuts patches out, which leaves small ones to a convolution.
        ([5, 3], "end", WHOLE),
        ([2, 7], "end", MAP),
    )
    for number, (size, padding, source) in enumerate(sizes):
        space = {"sliding": {"size": size, "stride": size, "padding": padding}}
        yield from _case(_layer(combination, space, number), source, combination)


def _memory() -> Iterator[Case]:
    groups = {"groups": 2}
    spaces: dict[str, Any] = {
        "sliding": {"sliding": [7, 9]},
        "window": {"window": {"size": [6, 7], "shift": [2, 3]}},
    }
    sources = {"sliding": Feature(11, 13, 40), "window": Feature(11, 13, 40), "full": Feature(9, 11, 40)}
    for combination in legal_combinations():
        if combination.space == "point":
            continue
        layer = _layer(combination, spaces.get(combination.space, "full"), 1) | {"bias": None}
        layer["connectivity"]["channels"] = groups if combination.channels == "groups" else combination.channels
        if combination.channel_sharing == "groups":
            layer["sharing"]["channels"] = groups
        yield from _case(layer, sources[combination.space], combination)


def _case(layer: Mapping[str, Any], source: Feature, combination: Combination) -> Iterator[Case]:
    for op in Layer(layer, source).connections:
        yield Case(f"{op.space} on {source}: {combination}", combination, op)
