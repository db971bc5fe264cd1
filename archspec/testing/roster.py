"""The table of legal combinations goes in; the roster of ops that cover it, with their variants, comes out.

No size of a map or window equals a number of channels, groups, kernels or hidden units, so that a kernel that
confuses two axes cannot pass by luck; and H != W throughout.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from archspec.ir import Connect, Feature
from archspec.schema.layer import FACTORISED
from archspec.schema.legality import Combination, legal_combinations
from archspec.testing.layers import Layer
from archspec.testing.memory import unfolding_shows
from archspec.testing.spellings import (
    ATTENTIONS,
    CROSS,
    FULL,
    FULL_OF_LARGER,
    FURTHER_ATTENTIONS,
    GRID,
    HALO_MASKED,
    MAP,
    POOLED,
    SLIDING_SAME,
    SMALL,
    TOKEN,
    WHOLE,
    WIDTH,
    WINDOW,
    WINDOW_MASKED,
    Written,
    fitting,
    spaces_of,
    weights_of,
)


@dataclass(frozen=True)
class Case:
    """One op of the roster: what was written, on which map, and the op."""

    name: str
    combination: Combination
    op: Connect


_BIASES: tuple[Any, ...] = (None, "positions", False, "channels", True)
_GROUPS: tuple[Written, ...] = ({"groups": 2}, {"group_width": 2})


@cache
def roster() -> tuple[Case, ...]:
    """Every case; each legal combination stands in at least one."""
    every = (_combinations(), _attentions(), _further_attentions(), _class_tokens(), _factors(), _patches())
    return tuple(itertools.chain(*every))


def memory_roster() -> tuple[Case, ...]:
    """Cases in which each position reads many others and shares its weights with many channels.

    There an unfolded N x K x C tensor is much larger than all that is needed; see archspec.testing.memory.
    """
    return tuple(case for case in _memory() if unfolding_shows(case.op))


def _combinations() -> Iterator[Case]:
    number = 0
    for combination in legal_combinations():
        for space, source in spaces_of(combination):
            number += 1
            yield from _case(_layer(combination, space, number), source, combination)


def _layer(combination: Combination, space: Any, number: int) -> Written:
    """The layer with the options whose turn it is: over the roster every option meets every space."""
    groups = _GROUPS[number % 2]
    channels: Any = groups if combination.channels == "groups" else combination.channels
    sharing: Any = groups if combination.channel_sharing == "groups" else combination.channel_sharing
    layer: Written = {
        "connectivity": {"space": space, "channels": channels},
        "sharing": {"positions": combination.positions, "channels": sharing},
        "weights": weights_of(combination, space, number),
        "bias": _BIASES[number % len(_BIASES)],
    }
    if channels == "full" or channels == {"groups": 2}:
        layer["width"] = WIDTH
    return layer


def _attentions() -> Iterator[Case]:
    """Every option of attention on padded and shifted maps, with padding both ways, and on a whole map."""
    spaces = (WINDOW[0], WINDOW_MASKED[0], WINDOW[3], FULL[0])
    for (space, source), options in itertools.product(spaces, ATTENTIONS):
        yield from _attention(space, source, options)


def _further_attentions() -> Iterator[Case]:
    """Every other option in every kind of space that has it, and once with tables for larger maps."""
    spaces = (FULL[0], WINDOW[0], WINDOW_MASKED[1], HALO_MASKED[0], GRID[0], SLIDING_SAME[3], CROSS[0], POOLED[0])
    for (space, source), options in itertools.product(spaces, FURTHER_ATTENTIONS):
        if fitting(options, _name(space)) == options:
            yield from _attention(space, source, options)
    for options in (ATTENTIONS[0], {"centre": True, "relative_bias": True}):
        yield from _attention(*FULL_OF_LARGER[0], options)


def _attention(space: Any, source: Feature, options: Written) -> Iterator[Case]:
    combination = Combination(_name(space), "separate", "none", "groups", "attention")
    layer = _layer(combination, space, 0) | {"weights": {"attention": options}}
    yield from _case(layer, source, combination)


def _name(space: Any) -> str:
    return str(space if isinstance(space, str) else next(iter(space)))


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
            layer["weights"] = {"attention": fitting(ATTENTIONS[number % 8], "full", tokens=1)}
        yield from _case(layer, TOKEN, combination)
    for options in FURTHER_ATTENTIONS:
        if fitting(options, "full", tokens=1) == options:
            yield from _attention("full", TOKEN, options)
            yield from _attention("full", TOKEN, options | {"queries": "class_token"})
    yield from _attention("full", TOKEN, {"queries": "class_token", "value": False})


def _factors() -> Iterator[Case]:
    """Factorised layers: channels through 6 hidden ones, positions through 17 hidden ones, or both through 17."""
    channels, positions, both = FACTORISED
    for number, source in enumerate((SMALL, TOKEN)):
        layer = _layer(channels, "point", number) | {"rank": {"act": "gelu", "size": 6}}
        yield from _case(layer, source, channels)
        layer = _layer(positions, "full", number) | {"rank": {"act": "relu", "size": 17}, "bias": True}
        yield from _case(layer, source, positions)
        yield from _case(_layer(both, "full", number) | {"rank": {"size": 17}}, source, both)


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


_LARGE = Feature(11, 13, 40)
_MEMORY: dict[str, tuple[Any, Feature]] = {
    "sliding": ({"sliding": [7, 9]}, _LARGE),
    "window": ({"window": {"size": [6, 7], "shift": [2, 3]}}, _LARGE),
    "halo": ({"halo": {"size": [4, 5], "halo": [1, 2]}}, _LARGE),
    "grid": ({"grid": [6, 7]}, _LARGE),
    "cross": ("cross", Feature(17, 19, 40)),
    "pooled": ({"pooled": 2}, _LARGE),
    "full": ("full", Feature(9, 11, 40)),
}


def _memory() -> Iterator[Case]:
    groups = {"groups": 2}
    for combination in legal_combinations():
        if combination.space == "point":
            continue
        space, source = _MEMORY[combination.space]
        if combination.weights == "outlook":
            space = {"sliding": 3}
        layer = _layer(combination, space, 2) | {"bias": None}
        layer["connectivity"]["channels"] = groups if combination.channels == "groups" else combination.channels
        if combination.channel_sharing == "groups":
            layer["sharing"]["channels"] = groups
        yield from _case(layer, source, combination)


def _case(layer: Mapping[str, Any], source: Feature, combination: Combination) -> Iterator[Case]:
    for op in Layer(layer, source).connections:
        yield Case(f"{op.space} on {source}: {combination}", combination, op)
