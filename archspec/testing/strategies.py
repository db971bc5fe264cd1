"""Hypothesis draws; random legal layers on random maps come out. Needs hypothesis (the `test` extra).

Where the roster keeps all sizes apart, these let them collide, shrink to one, and outgrow the map.
"""

from typing import Any

from hypothesis import strategies as st

from archspec.ir import Feature
from archspec.schema.legality import Combination, legal_combinations
from archspec.testing.layers import Layer

ACTIVATIONS = ("relu", "gelu", "silu", "tanh", "sigmoid", "hardswish")


@st.composite
def legal_layers(draw: st.DrawFn) -> Layer:
    """Any legal combination with any sizes, group counts and options, on a map of 1 to 6 by 1 to 6."""
    combination = draw(st.sampled_from(legal_combinations()))
    groups = draw(st.integers(1, 3))
    channels = groups * draw(st.integers(1, 3))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    space = draw(_spaces(combination, height, width))
    weights = draw(_weights(combination.weights))
    relative = isinstance(weights, dict) and weights.get("attention", {}).get("relative_bias", False)
    placeless = space == "point" or (space == "full" and combination.positions == "none" and not relative)
    token = placeless and draw(st.booleans())
    layer: dict[str, Any] = {
        "connectivity": {"space": space, "channels": _groups(combination.channels, groups)},
        "sharing": {
            "positions": combination.positions,
            "channels": _groups(combination.channel_sharing, groups),
        },
        "weights": weights,
        "bias": draw(st.sampled_from([None, True, False, "channels", "positions"])),
    }
    if combination.channels != "separate":
        layer["width"] = groups * draw(st.integers(1, 3))
    layer |= draw(_ranks(combination))
    return Layer(layer, Feature(height, width, channels, int(token)))


def _groups(name: str, groups: int) -> Any:
    return {"groups": groups} if name == "groups" else name


def _spaces(combination: Combination, height: int, width: int) -> st.SearchStrategy[Any]:
    if combination.space == "sliding":
        return _sliding(combination.weights == "local", height, width)
    if combination.space == "window":
        return st.fixed_dictionaries(
            {
                "size": st.tuples(st.integers(1, 7), st.integers(1, 7)).map(list),
                "shift": st.tuples(st.integers(0, 6), st.integers(0, 6)).map(list),
                "padding": st.sampled_from(["zeros", "masked"]),
            }
        ).map(lambda options: {"window": options})
    return st.just(combination.space)


@st.composite
def _sliding(draw: st.DrawFn, local: bool, height: int, width: int) -> dict[str, Any]:
    """Local weights need stride 1 and padding same; without padding a window must fit into the map."""
    padding = "same" if local else draw(st.sampled_from(["same", "end", "none"]))
    options: dict[str, Any] = {"padding": padding, "size": [], "dilation": [], "stride": []}
    for extent in (height, width):
        size = draw(st.integers(1, min(extent, 5) if padding == "none" else 5))
        longest = (extent - 1) // (size - 1) if padding == "none" and size > 1 else 3
        options["size"].append(size)
        options["dilation"].append(draw(st.integers(1, min(3, longest))))
        options["stride"].append(1 if local else draw(st.integers(1, 3)))
    return {"sliding": options}


def _weights(name: str) -> st.SearchStrategy[Any]:
    if name == "static":
        return st.just(name)
    if name == "attention":
        options = {key: st.booleans() for key in ("bias", "relative_bias", "value")}
        return st.fixed_dictionaries({name: st.fixed_dictionaries(options)})
    predictor: dict[str, st.SearchStrategy[Any]] = {
        "reduction": st.integers(1, 4),
        "norm": st.sampled_from(["batch", "none"]),
        "act": st.sampled_from(ACTIVATIONS),
        "hidden_bias": st.booleans(),
    }
    return st.fixed_dictionaries({name: st.fixed_dictionaries(predictor)})


def _ranks(combination: Combination) -> st.SearchStrategy[dict[str, Any]]:
    factorises = (
        Combination("point", "full", "offsets", "none", "static"),
        Combination("full", "separate", "none", "all", "static"),
    )
    if combination not in factorises:
        return st.just({})
    rank = st.fixed_dictionaries({"act": st.sampled_from(ACTIVATIONS), "size": st.integers(1, 5)})
    return st.one_of(st.just({}), rank.map(lambda options: {"rank": options}))
