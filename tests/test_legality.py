"""The table of legal combinations against the design, and every row of it through schema, resolve and plan."""

import itertools
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from archspec.compiler import build
from archspec.resolve import resolve
from archspec.schema.legality import (
    RULES,
    Combination,
    all_combinations,
    broken_rules,
    legal_combinations,
    nearest_legal,
)
from archspec.schema.network import Network

# The design, row by row (archspec/README.md): what each value may stand with.
SPACES_OF_POSITION_SHARING = {
    "none": {"point", "sliding", "window", "halo", "grid", "cross", "pooled", "full"},  # "every space"
    "windows": {"window", "halo", "grid"},  # (slot of i, slot of j)
    "offsets": {"point", "sliding", "window", "halo", "grid", "cross", "full"},  # a pooled map has no offsets
}
CHANNELS_OF_CHANNEL_SHARING = {
    "none": {"separate", "groups", "full"},  # "d", "(d, c)"
    "groups": {"separate"},  # "the group of d", "-"
    "all": {"separate", "groups"},  # "one", "groups: inside a group; full: not legal"
}
POSITION_SHARING_OF_WEIGHTS = {
    "static": {"none", "windows", "offsets"},
    "pooled": {"windows", "offsets"},  # "pooled (positions: offsets or windows)"
    "local": {"none"},  # "for the last two [...] sharing over positions is none"
    "attention": {"none"},
    "outlook": {"none"},
}
# "local: one set per channel group", "attention: per head": dynamic weights mix positions inside a channel.
CHANNELS_OF_WEIGHTS = {
    "static": {"separate", "groups", "full"},
    "pooled": {"separate"},  # and, at a point, all: see below
    "local": {"separate"},
    "attention": {"separate"},
    "outlook": {"separate"},
}
# Attention is "normalised over j in the support of i": it takes an area, not a point; an outlook is one of windows
# that slide.
SPACES_OF_WEIGHTS = {
    "static": SPACES_OF_POSITION_SHARING["none"],
    "pooled": SPACES_OF_POSITION_SHARING["none"],
    "local": SPACES_OF_POSITION_SHARING["none"],
    "attention": SPACES_OF_POSITION_SHARING["none"] - {"point"},
    "outlook": {"sliding"},
}


def expected(space: str, channels: str, positions: str, sharing: str, weights: str) -> bool:
    return (
        space in SPACES_OF_POSITION_SHARING[positions]
        and channels in CHANNELS_OF_CHANNEL_SHARING[sharing]
        and positions in POSITION_SHARING_OF_WEIGHTS[weights]
        and (channels in CHANNELS_OF_WEIGHTS[weights] or (weights, space) == ("pooled", "point"))
        and space in SPACES_OF_WEIGHTS[weights]
    )


def products() -> list[tuple[str, ...]]:
    spaces = ("point", "sliding", "window", "halo", "grid", "cross", "pooled", "full")
    sharing = ("none", "windows", "offsets"), ("none", "groups", "all")
    weights = ("static", "pooled", "local", "attention", "outlook")
    return list(itertools.product(spaces, ("separate", "groups", "full"), *sharing, weights))


def test_every_product_is_decided() -> None:
    assert sorted(all_combinations()) == sorted(products())
    assert len(products()) == 8 * 3 * 3 * 3 * 5


def test_the_legal_ones_are_those_of_the_design() -> None:
    assert set(legal_combinations()) == {product for product in products() if expected(*product)}


def test_their_number() -> None:
    """Six ways to join and share channels, three of them separate; then the ways over the positions of each space."""
    static = 6 * (2 + 2 + 3 + 3 + 3 + 2 + 1 + 2)
    pooled = 3 * (1 + 1 + 2 + 2 + 2 + 1 + 0 + 1) + 3  # the last are dynamic 1x1 convolutions
    local, attention, outlook = 3 * 8, 3 * 7, 3
    assert len(legal_combinations()) == static + pooled + local + attention + outlook == 189


SPACE: dict[str, Any] = {
    "point": "point",
    "full": "full",
    "cross": "cross",
    "sliding": {"sliding": 3},
    "window": {"window": [2, 3]},
    "halo": {"halo": {"size": [2, 3], "halo": 1}},
    "grid": {"grid": [2, 3]},
    "pooled": {"pooled": 2},
}


def network(combination: Combination) -> dict[str, Any]:
    groups = {"groups": 2}
    channels = groups if combination.channels == "groups" else combination.channels
    sharing = groups if combination.channel_sharing == "groups" else combination.channel_sharing
    layer = {
        "connectivity": {"space": SPACE[combination.space], "channels": channels},
        "sharing": {"positions": combination.positions, "channels": sharing},
        "weights": combination.weights,
    }
    return {
        "archspec": 1,
        "name": "layer",
        "input": {"size": [4, 5], "channels": 6},
        "classes": 2,
        "stem": [{"connect": layer}],
        "stages": [{"width": 6, "depth": 1, "block": "last"}],
        "blocks": {"last": [{"sequence": [{"act": "relu"}]}]},
    }


@pytest.mark.parametrize("combination", legal_combinations(), ids="-".join)
def test_every_legal_combination_compiles(combination: Combination) -> None:
    module = build(resolve(Network.model_validate(network(combination))), seed=0)
    images = torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(0))
    logits = module.train()(images)
    logits.sum().backward()
    assert logits.shape == (2, 2)


ILLEGAL = [combination for combination in all_combinations() if combination not in legal_combinations()]


def test_every_illegal_combination_is_refused_by_name() -> None:
    """All 891: the message has the text of each rule that is broken, what was found, and a legal choice."""
    for combination in ILLEGAL:
        broken = broken_rules(combination)
        assert broken, combination
        with pytest.raises(ValidationError) as caught:
            Network.model_validate(network(combination))
        (error,) = caught.value.errors()
        message = f"{error['msg']} {error.get('ctx')}"
        assert all(rule.text in message for rule in broken), message
        assert str(nearest_legal(combination)) in message
        assert str(combination) in message


def test_the_nearest_choice_is_legal_and_no_further_than_it_must_be() -> None:
    for combination in all_combinations():
        choice = nearest_legal(combination)
        assert expected(*choice), combination
        edits = sum(a != b for a, b in zip(choice, combination, strict=True))
        fewest = min(sum(a != b for a, b in zip(legal, combination, strict=True)) for legal in legal_combinations())
        assert edits >= fewest
        assert (edits == 0) == (combination in legal_combinations())


def test_each_rule_is_needed() -> None:
    """Each decides some combination alone, so none repeats the others."""
    for rule in RULES:
        assert any(broken_rules(combination) == (rule,) for combination in ILLEGAL), rule.name
    assert len({rule.name for rule in RULES}) == len(RULES)
