"""Any op or a whole program, its parameters and features go in; features or logits come out: the oracle.

Slow and meant to be obviously right; it knows no kernel. Gradients come by autograd.

Legend: B batch; H, W height and width; N outgoing, M incoming positions; C channels (C' outgoing);
T class tokens.
"""

import torch
from torch import Tensor

from archspec import ir
from archspec.ir import Branches, Connect, Feature, Op, Program
from archspec.reference.connection import connect
from archspec.reference.pointwise import Parameters
from archspec.reference.steps import drop_path as drop_path
from archspec.reference.steps import step

# One map, or as many as there are streams.
Maps = Tensor | tuple[Tensor, ...]


def apply(op: Op, parameters: Parameters, x: Tensor, training: bool = False) -> Tensor:
    """y of one op. Parameters are named relative to the op; training moves batch statistics, in place.

    x is (B, H, W, C), or (B, 1, T + H * W, C) with class tokens; y has the layout of `op.target`.
    """
    if ir.inside(op):
        raise ValueError(f"{op.path}: an op that holds others has no parameters of its own: use run")
    one = connect if isinstance(op, Connect) else step
    y = one(op, parameters, x.flatten(1, 2), training)  # type: ignore[arg-type]  # told apart a line above
    return y.reshape(x.shape[0], *layout(op.target))


def layout(feature: Feature) -> tuple[int, int, int]:
    """The shape of one sample of a feature map."""
    if feature.class_tokens:
        return 1, feature.positions, feature.channels
    return feature.height, feature.width, feature.channels


def run(program: Program, parameters: Parameters, images: Tensor, training: bool = False) -> Tensor:
    """Logits (B, classes) of images (B, channels, H, W). Parameters are named by `ir.parameter_table`."""
    x = run_ops(program.ops, parameters, images.permute(0, 2, 3, 1), training)
    assert isinstance(x, Tensor)
    return x.flatten(1)


def run_ops(ops: tuple[Op, ...], parameters: Parameters, x: Maps, training: bool) -> Maps:
    """Ops one after the other."""
    for op in ops:
        if isinstance(op, Branches):
            x = _branches(op, parameters, x, training)
            continue
        assert isinstance(x, Tensor)
        if isinstance(op, ir.Residual):
            y = run_ops(op.ops, parameters, x, training)
            assert isinstance(y, Tensor)
            x = x + y
        else:
            own = {row.name: parameters[f"{op.path}.{row.name}"] for row in op.parameters}
            x = apply(op, own, x, training)
    return x


def _branches(op: Branches, parameters: Parameters, x: Maps, training: bool) -> Maps:
    results: list[Tensor] = []
    for branch in op.branches:
        taken = _fed(branch.feed, x)
        if op.cascade and results and branch.ops:
            assert isinstance(taken, Tensor)
            taken = taken + results[-1]
        result = run_ops(branch.ops, parameters, taken, training)
        assert isinstance(result, Tensor)
        results.append(result)
    if op.join == "streams":
        return tuple(results)
    assert isinstance(op.target, Feature)
    return _joined(op.join, results, op.target)


def _fed(feed: ir.Feed, x: Maps) -> Maps:
    if isinstance(feed, ir.Stream):
        return x[feed.index] if isinstance(x, tuple) else x
    if isinstance(feed, ir.Channels):
        assert isinstance(x, Tensor)
        return x[..., feed.start : feed.stop]
    return x


def _joined(join: str, results: list[Tensor], target: Feature) -> Tensor:
    first, *others = results
    if join == "concat":
        return torch.cat(results, dim=-1)
    if join == "tokens":
        (whole,) = others
        positions = torch.cat([first.flatten(1, 2), whole.flatten(1, 2)], dim=1)
        return positions.reshape(len(first), *layout(target))
    for other in others:
        first = first + other if join == "sum" else first * other
    return first
