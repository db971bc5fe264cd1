"""A connection op, its parameters and features go in; its matrix W, or y = W x, comes out.

Legend: B batch; H, W height and width; N outgoing, M incoming positions; C channels (C' outgoing).
"""

import torch
from torch import Tensor

from archspec.ir import Attention, Connect, Outlook, Static
from archspec.reference.connectivity import support
from archspec.reference.pointwise import Parameters
from archspec.reference.reading import project, read
from archspec.reference.sharing import ABSENT, channel_tie, tie
from archspec.reference.weights import values


def dense(op: Connect, parameters: Parameters, x: Tensor, training: bool = False) -> Tensor:
    """The connection matrix W of an op for features x (B, H, W, C), in full.

    Returns (N, C', M, C); or, for separate channels, (C, N, M). Weights that depend on x have B before.
    M counts the padding of windows, row-major over the padded map, or the positions of a reduced map.
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


def connect(op: Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """y (B, N, C') of x (B, N, C)."""
    matrix = dense(op, parameters, x[:, None], training)
    v = read(op, parameters, x)
    if isinstance(op.weights, Attention | Outlook) and op.weights.value:
        v = project(op, parameters, v, 2 if isinstance(op.weights, Attention) else 0)
    sample = "" if isinstance(op.weights, Static) else "b"
    entries = "cij" if op.channels == "separate" else "idjc"
    result = "bic" if op.channels == "separate" else "bid"
    y = torch.einsum(f"{sample}{entries},bjc->{result}", matrix, v)
    if isinstance(op.weights, Attention) and op.weights.output:
        y = torch.einsum("bic,dc->bid", y, parameters["output.weight"])
        y = y + parameters["output.bias"] if op.weights.bias else y
    if op.bias == "channels":
        y = y + parameters["bias"]
    if op.bias == "positions":
        y = y + parameters["bias"][:, None]
    return y
