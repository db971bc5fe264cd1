"""The steps of the language go in; the ops around connections come out, every kind and option of them."""

from functools import cache
from typing import Any

from archspec.ir import Feature, Op, Resize, walk
from archspec.testing.layers import resolve_steps

_MAP, _TOKENS = Feature(5, 7, 12), Feature(5, 7, 12, class_tokens=1)
_ACTIVATIONS = ("relu", "relu6", "gelu", "silu", "tanh", "sigmoid", "hardswish")

_ANYWHERE: tuple[dict[str, Any], ...] = (
    {"norm": "layer"},
    {"norm": {"layer": {"eps": 0.1}}},
    {"norm": "batch"},
    {"norm": {"batch": {"eps": 0.1}}},
    {"norm": {"batch": {"centring": True}}},
    {"norm": "affine"},
    *({"act": name} for name in _ACTIVATIONS),
    {"scale": {"init": 0.1}},
    {"multiply": -0.75},
    {"drop_path": 0.3},
    {"position_embedding": True},
    {"shuffle": 3},
    {"shuffle": 4},
    {"pool": "mean"},
    {"pool": "max"},
)
_ON_TOKENS: tuple[dict[str, Any], ...] = ({"select": "class_token"}, {"select": "map"})
# Windows that padding surrounds evenly and not, that leave gaps, that outgrow the map in one direction.
_WINDOWS: tuple[dict[str, Any], ...] = (
    {"size": 3},
    {"size": 3, "stride": 2},
    {"size": [2, 4], "stride": [1, 3]},
    {"size": 4, "stride": 2},
    {"size": [3, 2], "stride": [3, 2], "padding": "end"},
    {"size": [2, 3], "stride": [4, 2], "padding": "end"},
    {"size": [3, 2], "stride": [2, 3], "padding": "none"},
    {"size": [7, 1], "stride": [2, 1]},
    {"size": 1, "stride": 3},
)
_ON_A_MAP: tuple[dict[str, Any], ...] = (
    {"class_token": True},
    {"gather": 2},
    {"gather": 3},
    *({"pool": {"max": window}} for window in _WINDOWS),
    *({"pool": {"mean": window | {"count_padding": count}}} for window in _WINDOWS for count in (True, False)),
    *({"resize": {"scale": scale, "mode": mode}} for scale in (2, 3) for mode in ("nearest", "bilinear")),
)
# Inside a gate, to its size again from another one: smaller and larger, by whole ratios and by others.
_OTHER_SIZES: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"pool": {"mean": {"size": 2, "stride": 2}}},),
    ({"pool": {"mean": {"size": 3, "stride": [1, 4]}}},),
    ({"pool": {"mean": {"size": [4, 7], "padding": "none"}}},),
    ({"resize": {"scale": 3}},),
    ({"resize": {"scale": 3}}, {"pool": {"max": {"size": 2, "stride": 2}}}),
)


@cache
def step_roster() -> tuple[Op, ...]:
    """Every op that is no connection and holds no others, with and without a class token where it may have one."""
    ops = [op for source in (_MAP, _TOKENS) for step in _ANYWHERE for op in resolve_steps([step], source)]
    ops += [op for step in _ON_TOKENS for op in resolve_steps([step], _TOKENS)]
    ops += [op for step in _ON_A_MAP for op in resolve_steps([step], _MAP)]
    for before in _OTHER_SIZES:
        for mode in ("nearest", "bilinear"):
            gate = resolve_steps([{"gate": [*before, {"resize": mode}]}], _MAP)
            ops += [op for op in walk(gate) if isinstance(op, Resize)]
    return tuple(ops)
