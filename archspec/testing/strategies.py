"""Hypothesis draws; random legal layers on random maps come out. Needs hypothesis (the `test` extra).

Where the roster keeps all sizes apart, these let them collide, shrink to one, and outgrow the map.
"""

from typing import Any

from hypothesis import strategies as st

from archspec.ir import Feature, Sliding
from archspec.schema.layer import FACTORISED
from archspec.schema.legality import Combination, legal_combinations
from archspec.testing.layers import Layer
from archspec.testing.spellings import Written, fitting

ACTIVATIONS = ("relu", "gelu", "silu", "tanh", "sigmoid", "hardswish", "relu6")
_ODD = st.sampled_from([1, 3, 5])


@st.composite
def legal_layers(draw: st.DrawFn) -> Layer:
    """Any legal combination with any sizes, group counts and options, on a map of 1 to 6 by 1 to 6."""
    combination = draw(st.sampled_from(legal_combinations()))
    groups = draw(st.integers(1, 3))
    channels = groups * draw(st.integers(1, 3))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    placeless = combination.space == "point" or (combination.space == "full" and combination.positions == "none")
    tokens = int(placeless and draw(st.booleans()))
    layer: Written = {
        "connectivity": {
            "space": draw(_spaces(combination, height, width)),
            "channels": _groups(combination.channels, groups),
        },
        "sharing": {
            "positions": combination.positions,
            "channels": _groups(combination.channel_sharing, groups),
        },
        "weights": draw(_weights(combination, tokens)),
        "bias": draw(st.sampled_from([None, True, False, "channels", "positions"])),
    }
    if combination.channels != "separate":
        layer["width"] = groups * draw(st.integers(1, 3))
    layer |= draw(_ranks(combination))
    source = Feature(height, width, channels, tokens)
    normalised = _normalised(layer, source, combination)
    return Layer(normalised if normalised and draw(st.booleans()) else layer, source)


def _groups(name: str, groups: int) -> Any:
    return {"groups": groups} if name == "groups" else name


def _pairs(low: int, high: int) -> st.SearchStrategy[list[int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high)).map(list)


def _spaces(combination: Combination, height: int, width: int) -> st.SearchStrategy[Any]:
    name, padding = combination.space, st.sampled_from(["zeros", "masked"])
    if name == "sliding":
        return _slidings(combination.weights, height, width)
    options: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "window": {"size": _pairs(1, 7), "shift": _pairs(0, 6), "padding": padding},
        "halo": {"size": _pairs(1, 7), "halo": _pairs(0, 3), "padding": padding},
        "grid": {"size": _pairs(1, 7), "padding": padding},
        "pooled": {
            "ratio": st.tuples(st.integers(1, height), st.integers(1, width)).map(list),
            "by": st.sampled_from(["convolution", "mean"]),
            "norm": st.sampled_from(["layer", "none"]),
        },
    }
    if name in options:
        return st.fixed_dictionaries({name: st.fixed_dictionaries(options[name])})
    if name == "full":
        larger = st.tuples(st.integers(height, 8), st.integers(width, 8)).map(list)
        return st.one_of(st.just(name), st.fixed_dictionaries({name: st.fixed_dictionaries({"largest": larger})}))
    return st.just(name)


def _slidings(weights: str, height: int, width: int) -> st.SearchStrategy[Any]:
    """Weights found from x at a position need its place in the window: see archspec.normal.weights."""
    if weights == "outlook":
        return st.tuples(_ODD, _ODD).map(lambda size: {"sliding": list(size)})
    if weights == "attention":
        options = {"size": _pairs(1, 5), "dilation": _pairs(1, 3)}
        return st.fixed_dictionaries({"sliding": st.fixed_dictionaries(options)})
    return _sliding(["same", "end"] if weights == "local" else ["same", "end", "none"], height, width)


@st.composite
def _sliding(draw: st.DrawFn, paddings: list[str], height: int, width: int) -> Written:
    """Without padding a window must fit into the map."""
    padding = draw(st.sampled_from(paddings))
    options: Written = {"padding": padding, "size": [], "dilation": [], "stride": []}
    for extent in (height, width):
        size = draw(st.integers(1, min(extent, 5) if padding == "none" else 5))
        longest = (extent - 1) // (size - 1) if padding == "none" and size > 1 else 3
        options["size"].append(size)
        options["dilation"].append(draw(st.integers(1, min(3, longest))))
        options["stride"].append(draw(st.integers(1, 3)))
    return {"sliding": options}


def _weights(combination: Combination, tokens: int) -> st.SearchStrategy[Any]:
    name = combination.weights
    if name == "static":
        return st.sampled_from([name, {name: {}}])
    if name == "attention":
        return _attentions(combination.space, tokens).map(lambda options: {name: options})
    if name == "outlook":
        outlook = {"stride": _pairs(1, 3), "bias": st.booleans(), "value": st.booleans()}
        return st.fixed_dictionaries({name: st.fixed_dictionaries(outlook)})
    predictor: dict[str, st.SearchStrategy[Any]] = {
        "reduction": st.integers(1, 4),
        "norm": st.sampled_from(["batch", "none"]),
        "act": st.sampled_from(ACTIVATIONS),
        "hidden_bias": st.booleans(),
    }
    return st.fixed_dictionaries({name: st.fixed_dictionaries(predictor)})


def _attentions(space: str, tokens: int) -> st.SearchStrategy[Written]:
    flags = ("bias", "relative_bias", "value", "output", "centre", "mix_heads")
    options: dict[str, st.SearchStrategy[Any]] = {flag: st.booleans() for flag in flags}
    options["normalise"] = st.sampled_from(["softmax", "none"])
    options["post_convolution"] = st.sampled_from([0, 1, 3, 5])
    before = {"size": _ODD, "channels": st.sampled_from(["shared", "separate", "full"])}
    options["pre_convolution"] = st.none() | st.fixed_dictionaries(before)
    if tokens:
        options["queries"] = st.sampled_from(["all", "class_token"])
    return st.fixed_dictionaries(options).map(lambda drawn: fitting(drawn, space, tokens))


def _normalised(layer: Written, source: Feature, combination: Combination) -> Written | None:
    """The layer with its weights a softmax over what a position reads, where they may be."""
    name = combination.weights
    if name not in ("static", "pooled", "local") or combination.channels != "separate" or "rank" in layer:
        return None
    (op,) = Layer(layer, source).connections
    if op.neighbours == 1 or (op.share_positions == "offsets" and not isinstance(op.space, Sliding)):
        return None
    options = layer["weights"][name] if isinstance(layer["weights"], dict) else {}
    return layer | {"weights": {name: options | {"normalise": "softmax"}}}


def _ranks(combination: Combination) -> st.SearchStrategy[Written]:
    if combination not in FACTORISED:
        return st.just({})
    rank = st.fixed_dictionaries({"size": st.integers(1, 5)}, optional={"act": st.sampled_from(ACTIVATIONS)})
    return st.one_of(st.just({}), rank.map(lambda options: {"rank": options}))
