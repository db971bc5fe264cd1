"""A combination of axis values goes in; the rules that it breaks and the nearest legal combination come out.

The space of one connection layer y = W x is the product of five choices (arXiv 2106.04263, Table 1). Not every
product makes sense: weights predicted per position cannot also be equal at all positions. The rules below are the
whole truth about what is legal; the schema, the compiler and `archspec space` all read this table.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

SPACES = ("point", "sliding", "window", "halo", "grid", "cross", "pooled", "full")
CHANNELS = ("separate", "groups", "full")
POSITION_SHARING = ("none", "windows", "offsets")
CHANNEL_SHARING = ("none", "groups", "all")
WEIGHTS = ("static", "pooled", "local", "attention", "outlook")


class Combination(NamedTuple):
    """One value of each axis, by name and without its numbers."""

    space: str
    channels: str
    positions: str
    channel_sharing: str
    weights: str

    def __str__(self) -> str:
        return (
            f"space {self.space}, channels {self.channels}, sharing over positions {self.positions}, "
            f"sharing over channels {self.channel_sharing}, weights {self.weights}"
        )


@dataclass(frozen=True)
class Rule:
    """A rule of legality: `breaks` says whether a combination breaks it, `text` says what it asks and why."""

    name: str
    text: str
    breaks: Callable[[Combination], bool]


RULES: tuple[Rule, ...] = (
    Rule(
        "windows-need-a-window",
        "sharing over positions 'windows' makes every window use the same weights, "
        "so the space must be window, halo or grid",
        lambda c: c.positions == "windows" and c.space not in ("window", "halo", "grid"),
    ),
    Rule(
        "channel-groups-share-separate-channels",
        "sharing over channels in groups gives each group of separate channels one kernel, "
        "so the channels must be separate",
        lambda c: c.channel_sharing == "groups" and c.channels != "separate",
    ),
    Rule(
        "full-channels-share-nothing",
        "sharing one value over all channels of a full channel matrix leaves nothing that mixes channels",
        lambda c: c.channel_sharing == "all" and c.channels == "full",
    ),
    Rule(
        "dynamic-weights-keep-channels-separate",
        "weights predicted from the input mix positions within a channel, so the channels must be separate "
        "(only a 1x1 convolution, space point, may have pooled weights that mix channels)",
        lambda c: c.weights != "static" and c.channels != "separate" and (c.weights, c.space) != ("pooled", "point"),
    ),
    Rule(
        "pooled-weights-share-positions",
        "pooled weights are one set per image, so sharing over positions must be offsets or windows",
        lambda c: c.weights == "pooled" and c.positions == "none",
    ),
    Rule(
        "predicted-weights-differ-by-position",
        "local, attention and outlook weights are predicted at each position: the positions share the predictor, "
        "not the weights, so sharing over positions must be none",
        lambda c: c.weights in ("local", "attention", "outlook") and c.positions != "none",
    ),
    Rule(
        "attention-needs-keys",
        "attention compares a query with several keys, so the space must not be point",
        lambda c: c.weights == "attention" and c.space == "point",
    ),
    Rule(
        "outlook-slides",
        "outlook weights are predicted for windows that slide over the map, so the space must be sliding",
        lambda c: c.weights == "outlook" and c.space != "sliding",
    ),
    Rule(
        "a-pooled-map-has-no-offsets",
        "the positions of a pooled map are not those of the map that reads it, so sharing over positions must be none",
        lambda c: c.space == "pooled" and c.positions != "none",
    ),
)


def broken_rules(combination: Combination) -> tuple[Rule, ...]:
    """The rules that a combination breaks; empty when it is legal."""
    return tuple(rule for rule in RULES if rule.breaks(combination))


def all_combinations() -> Iterator[Combination]:
    """Every product of axis values, legal or not, in a fixed order."""
    for values in itertools.product(SPACES, CHANNELS, POSITION_SHARING, CHANNEL_SHARING, WEIGHTS):
        yield Combination(*values)


@cache
def legal_combinations() -> tuple[Combination, ...]:
    """Every legal combination, in a fixed order."""
    return tuple(c for c in all_combinations() if not broken_rules(c))


# What a user most likely meant is what they would be least happy to see changed: the weights and the space.
_EDIT_PRICES = (5, 3, 1, 2, 6)


@cache
def nearest_legal(combination: Combination) -> Combination:
    """The legal combination with the cheapest edits; edits of weights and space cost most, of sharing least."""

    def price(candidate: Combination) -> int:
        edits = zip(candidate, combination, _EDIT_PRICES, strict=True)
        return sum(cost for new, old, cost in edits if new != old)

    return min(legal_combinations(), key=price)
