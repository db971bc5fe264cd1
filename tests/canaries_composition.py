"""Steps and joins that are wrong in a named way: the tests must reject each one, and take it without its defect."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels import branching

Parameters = Mapping[str, Tensor]


def sliding_pool(op: ir.SlidingPool, parameters: Parameters, x: Tensor, training: bool, defect: str) -> Tensor:
    """Unfolded by hand."""
    (k, across), (down, right), before = op.space.size, op.space.stride, op.space.before
    bottom = max((op.target.height - 1) * down + k - before[0] - x.shape[1], 0)
    side = max((op.target.width - 1) * right + across - before[1] - x.shape[2], 0)
    if defect == "padding on the other side":
        before, bottom, side = (bottom, side), before[0], before[1]
    fill = -math.inf if op.kind == "max" and defect != "zeros beyond the border of a max" else 0.0
    around = (0, 0, before[1], side, before[0], bottom)
    windows = F.pad(x, around, value=fill).unfold(1, k, down).unfold(2, across, right)
    windows = windows[:, : op.target.height, : op.target.width].flatten(-2)
    if op.kind == "max":
        # Of equals the first has the gradient.
        return windows.max(-1).values
    there = F.pad(torch.ones_like(x), around).unfold(1, k, down).unfold(2, across, right)
    there = there[:, : op.target.height, : op.target.width].flatten(-2).sum(-1)
    counted = op.count_padding if defect != "padding counted the other way" else not op.count_padding
    return windows.sum(-1) / (k * across if counted else there)


def pool(op: ir.Pool, parameters: Parameters, x: Tensor, training: bool, defect: str) -> Tensor:
    if op.kind == "class_token":
        return x[:, :, :1] if defect != "the last position" else x[:, :, -1:]
    tokens = 0 if defect == "the token takes part" else op.source.class_tokens
    there = x[:, :, tokens:]
    most = there.flatten(1, 2).max(1).values[:, None, None]
    return most if op.kind == "max" else there.mean((1, 2), keepdim=True)


def map_only(op: ir.MapOnly, parameters: Parameters, x: Tensor, training: bool, defect: str) -> Tensor:
    there = x[:, 0, :-1] if defect == "the token at the end" else x[:, 0, 1:]
    return there.reshape(len(x), op.target.height, op.target.width, -1)


def shuffle(op: ir.Shuffle, parameters: Parameters, x: Tensor, training: bool, defect: str) -> Tensor:
    groups = x.shape[-1] // op.groups if defect == "the other way round" else op.groups
    return x.unflatten(-1, (groups, -1)).transpose(-1, -2).flatten(-2)


def resize(op: ir.Resize, parameters: Parameters, x: Tensor, training: bool, defect: str) -> Tensor:
    size = op.target.height, op.target.width
    y = x.permute(0, 3, 1, 2)
    if op.kind == "nearest":
        y = F.interpolate(y, size, mode="nearest-exact" if defect == "nearest by centres" else "nearest")
    else:
        y = F.interpolate(y, size, mode="bilinear", align_corners=defect == "corners aligned")
    return y.permute(0, 2, 3, 1)


def multiply(op: ir.Multiply, parameters: Parameters, x: Tensor, training: bool, defect: str) -> Tensor:
    return x * (abs(op.factor) if defect == "without its sign" else op.factor)


def centred(op: ir.Norm, parameters: Parameters, x: Tensor, training: bool, defect: str) -> Tensor:
    over = (0, 1, 2) if defect == "the mean over the batch" else (1, 2)
    x = x + parameters["centring.weight"] * x.mean(over, keepdim=True)
    running = parameters["running_mean"], parameters["running_var"]
    y = F.batch_norm(x.flatten(0, 2), *running, parameters["weight"], parameters["bias"], training, 0.1, op.eps)
    return y.view(x.shape)


STEPS: tuple[tuple[type[ir.Op], Any, str], ...] = (
    (ir.SlidingPool, sliding_pool, "padding on the other side"),
    (ir.SlidingPool, sliding_pool, "zeros beyond the border of a max"),
    (ir.SlidingPool, sliding_pool, "padding counted the other way"),
    (ir.Pool, pool, "the token takes part"),
    (ir.Pool, pool, "the last position"),
    (ir.MapOnly, map_only, "the token at the end"),
    (ir.Shuffle, shuffle, "the other way round"),
    (ir.Resize, resize, "nearest by centres"),
    (ir.Resize, resize, "corners aligned"),
    (ir.Multiply, multiply, "without its sign"),
    (ir.Norm, centred, "the mean over the batch"),
)

_FED, _JOIN = branching.fed, branching.join


def _slices_from_the_end(patch: pytest.MonkeyPatch) -> None:
    def fed(feed: ir.Feed, x: Any) -> Any:
        if isinstance(feed, ir.Channels):
            return x[..., x.shape[-1] - feed.stop : x.shape[-1] - feed.start]
        return _FED(feed, x)

    patch.setattr(branching, "fed", fed)


def _another_stream(patch: pytest.MonkeyPatch) -> None:
    def fed(feed: ir.Feed, x: Any) -> Any:
        same = (
            [k for k, each in enumerate(x) if each.shape == x[feed.index].shape] if isinstance(feed, ir.Stream) else []
        )
        return x[same[0]] * 0.5 if feed == ir.Stream(1) and same else _FED(feed, x)

    patch.setattr(branching, "fed", fed)


def _results_in_reverse(patch: pytest.MonkeyPatch) -> None:
    def join(op: ir.Branches, results: list[Any]) -> Any:
        return _JOIN(op, results[::-1] if op.join == "concat" else results)

    patch.setattr(branching, "join", join)


def _a_sum_for_a_product(patch: pytest.MonkeyPatch) -> None:
    def join(op: ir.Branches, results: list[Any]) -> Any:
        return results[0] + results[1] if op.join == "product" else _JOIN(op, results)

    patch.setattr(branching, "join", join)


def _the_token_at_the_end(patch: pytest.MonkeyPatch) -> None:
    def join(op: ir.Branches, results: list[Any]) -> Any:
        y = _JOIN(op, results)
        return y.roll(-1, 2) if op.join == "tokens" else y

    patch.setattr(branching, "join", join)


JOINS: tuple[tuple[str, Any], ...] = (
    ("shuffle", _slices_from_the_end),
    ("cascade", _slices_from_the_end),
    ("streams", _another_stream),
    ("cascade", _results_in_reverse),
    ("gates", _a_sum_for_a_product),
    ("spatial gate", _a_sum_for_a_product),
    ("tokens", _the_token_at_the_end),
)
