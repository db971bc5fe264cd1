"""Any op or a whole program, its parameters and features go in; features or logits come out: the oracle.

Slow and meant to be obviously right; it knows no kernel. Gradients come by autograd.

Legend: B batch; H, W height and width; N outgoing, M incoming positions; C channels (C' outgoing);
T class tokens.
"""

import torch
from torch import Tensor

from archspec import ir
from archspec.ir import Attention, Connect, Feature, Op, Program, Static
from archspec.reference.connectivity import support
from archspec.reference.pointwise import Parameters, activation, batch_norm, layer_norm
from archspec.reference.sharing import ABSENT, channel_tie, tie
from archspec.reference.weights import pad, project, values


def dense(op: Connect, parameters: Parameters, x: Tensor, training: bool = False) -> Tensor:
    """The connection matrix W of an op for features x (B, H, W, C), in full.

    Returns (N, C', M, C); or, for separate channels, (C, N, M). Weights that depend on x have B before.
    M counts the padding of windows, row-major over the padded map.
    """
    found = values(op, parameters, x.flatten(1, 2), training)
    joined, index, channels = (table.to(x.device) for table in (support(op), tie(op), channel_tie(op)))
    if op.channels == "separate":
        joined, index, channels = joined[None], index[None], channels.diagonal()[:, None, None]
        outgoing = torch.arange(len(support(op)), device=x.device)[None, :, None]
    else:
        joined, index = joined[:, None, :, None], index[:, None, :, None]
        channels = channels[None, :, None, :]
        joined = joined & (channels != ABSENT)
        outgoing = torch.arange(len(support(op)), device=x.device)[:, None, None, None]
    # The number of each entry's value. Where there is no entry any will do, for it is multiplied by zero.
    places, kernels, positions = found.shape[1:]
    number = ((outgoing % places) * kernels + channels.clamp(min=0)) * positions + index.clamp(min=0)
    matrix = _take(found, number) * joined
    return matrix[0] if isinstance(op.weights, Static) else matrix


def _take(found: Tensor, number: Tensor) -> Tensor:
    """found (B, ...) at these flat numbers: (B, *number.shape)."""
    every = number.reshape(1, -1).expand(len(found), -1)
    return found.flatten(1).gather(1, every).reshape(len(found), *number.shape)


def apply(op: Op, parameters: Parameters, x: Tensor, training: bool = False) -> Tensor:
    """y of one op. Parameters are named relative to the op; training moves batch statistics, in place.

    x is (B, H, W, C), or (B, 1, T + H * W, C) with class tokens; y has the layout of `op.target`.
    """
    if isinstance(op, ir.Residual):
        raise ValueError(f"{op.path}: a residual branch has no parameters of its own: use run")
    y = _positionwise(op, parameters, x.flatten(1, 2), training)
    return y.reshape(x.shape[0], *layout(op.target))


def layout(feature: Feature) -> tuple[int, int, int]:
    """The shape of one sample of a feature map."""
    if feature.class_tokens:
        return 1, feature.positions, feature.channels
    return feature.height, feature.width, feature.channels


def run(program: Program, parameters: Parameters, images: Tensor, training: bool = False) -> Tensor:
    """Logits (B, classes) of images (B, channels, H, W). Parameters are named by `ir.parameter_table`."""
    x = images.permute(0, 2, 3, 1)
    return run_ops(program.ops, parameters, x, training).flatten(1)


def run_ops(ops: tuple[Op, ...], parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Ops one after the other."""
    for op in ops:
        if isinstance(op, ir.Residual):
            x = x + run_ops(op.ops, parameters, x, training)
        else:
            own = {row.name: parameters[f"{op.path}.{row.name}"] for row in op.parameters}
            x = apply(op, own, x, training)
    return x


def _positionwise(op: Op, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """x and y as (B, N, C)."""
    if isinstance(op, Connect):
        return _connect(op, parameters, x, training)
    if isinstance(op, ir.Norm):
        return _norm(op, parameters, x, training)
    if isinstance(op, ir.Activation):
        return activation(op.kind, x)
    if isinstance(op, ir.Scale):
        return x * parameters["weight"]
    if isinstance(op, ir.DropPath):
        return drop_path(op, x, training)
    if isinstance(op, ir.ClassToken):
        token = parameters["weight"].expand(x.shape[0], 1, -1)
        return torch.cat([token, x], dim=1)
    if isinstance(op, ir.PositionEmbedding):
        return x + parameters["weight"]
    if isinstance(op, ir.Gather):
        return _gather(op, x)
    if isinstance(op, ir.Pool):
        tokens = op.source.class_tokens
        return x[:, :1] if op.kind == "class_token" else x[:, tokens:].mean(dim=1, keepdim=True)
    raise ValueError(f"the oracle does not know {type(op).__name__}")


def _connect(op: Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    matrix = dense(op, parameters, x[:, None], training)
    read = pad(op, x)
    if isinstance(op.weights, Attention) and op.weights.value:
        read = project(op, parameters, read, 2)
    sample = "" if isinstance(op.weights, Static) else "b"
    entries = "cij" if op.channels == "separate" else "idjc"
    result = "bic" if op.channels == "separate" else "bid"
    y = torch.einsum(f"{sample}{entries},bjc->{result}", matrix, read)
    if op.bias == "channels":
        y = y + parameters["bias"]
    if op.bias == "positions":
        y = y + parameters["bias"][:, None]
    return y


def _norm(op: ir.Norm, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    if op.kind == "layer":
        return layer_norm(x, parameters, op.eps)
    if op.kind == "batch":
        return batch_norm(x, parameters, "", op.eps, training)
    return x * parameters["weight"] + parameters["bias"]


def drop_path(op: ir.DropPath, x: Tensor, training: bool, keep: Tensor | None = None) -> Tensor:
    """While training, drop samples of x (B, N, C) and divide the others by the share kept on average.

    `keep` (B,) says which samples stay; left out, each stays with probability 1 - rate.
    """
    if not training or not op.rate:
        return x
    if keep is None:
        keep = torch.rand(x.shape[0], device=x.device) >= op.rate
    return x * keep[:, None, None].to(x.dtype) / (1 - op.rate)


def _gather(op: ir.Gather, x: Tensor) -> Tensor:
    """Channel (column * size + row) * C + c of a patch is channel c at that row and column of it."""
    source, target, size = op.source, op.target, op.size
    y = []
    for row in range(target.height):
        for column in range(target.width):
            parts = []
            for right in range(size):
                for down in range(size):
                    i, j = row * size + down, column * size + right
                    inside = i < source.height and j < source.width
                    there = x[:, i * source.width + j] if inside else torch.zeros_like(x[:, 0])
                    parts.append(there)
            y.append(torch.cat(parts, dim=-1))
    return torch.stack(y, dim=1)
