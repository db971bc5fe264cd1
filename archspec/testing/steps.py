"""The steps of the language go in; the ops around connections come out, every kind and option of them."""

from functools import cache
from typing import Any

from archspec.ir import Feature, Op, Pool
from archspec.testing.layers import resolve_steps

_MAP, _TOKENS = Feature(5, 7, 12), Feature(5, 7, 12, class_tokens=1)
_ACTIVATIONS = ("relu", "gelu", "silu", "tanh", "sigmoid", "hardswish")

_ANYWHERE: tuple[dict[str, Any], ...] = (
    {"norm": "layer"},
    {"norm": {"layer": {"eps": 0.1}}},
    {"norm": "batch"},
    {"norm": {"batch": {"eps": 0.1}}},
    {"norm": "affine"},
    *({"act": name} for name in _ACTIVATIONS),
    {"scale": {"init": 0.1}},
    {"drop_path": 0.3},
    {"position_embedding": True},
)
_ON_A_MAP: tuple[dict[str, Any], ...] = ({"class_token": True}, {"gather": 2}, {"gather": 3})


@cache
def step_roster() -> tuple[Op, ...]:
    """Every op that is no connection, with and without a class token where it may have one."""
    ops = [op for source in (_MAP, _TOKENS) for step in _ANYWHERE for op in resolve_steps([step], source)]
    ops += [op for step in _ON_A_MAP for op in resolve_steps([step], _MAP)]
    pooled = Feature(1, 1, _MAP.channels)
    ops += [Pool("pool", source, pooled, "mean") for source in (_MAP, _TOKENS)]
    return (*ops, Pool("pool", _TOKENS, pooled, "class_token"))
