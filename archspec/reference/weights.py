"""A connection op, its parameters and x go in; the value of each tie index comes out (the weights axis).

Values have shape (B or 1, N or 1, kernels, positions): per sample and per output position where they are
predicted there; `kernels` and `positions` are the flat channel and position parts of the tie index.

Legend: B batch; N outgoing, M incoming positions (with the padding of a window); C channels; K neighbours.
"""

import math

import torch
from torch import Tensor

from archspec.ir import Attention, Connect, Predicted
from archspec.reference.connectivity import existing, support
from archspec.reference.pointwise import Parameters, activation, batch_norm
from archspec.reference.sharing import relative_indices

PREDICTOR_EPS = 1e-5


def values(op: Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """The value of each tie index, from x (B, N, C) without padding."""
    if isinstance(op.weights, Attention):
        return _attention(op, op.weights, parameters, x)
    if isinstance(op.weights, Predicted):
        return _predicted(op, op.weights, parameters, x, training)
    return parameters["weight"].reshape(1, 1, math.prod(op.channel_shape), math.prod(op.position_shape))


def _predicted(op: Connect, weights: Predicted, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """w = linear(act(norm(linear(z)))): the same small network at the pooled image or at each position."""
    z = x.mean(dim=1, keepdim=True) if weights.source == "pooled" else x
    hidden = torch.einsum("bnc,hc->bnh", z, parameters["reduce.weight"])
    if weights.hidden_bias:
        hidden = hidden + parameters["reduce.bias"]
    if weights.norm:
        hidden = batch_norm(hidden, parameters, "norm.", PREDICTOR_EPS, training)
    hidden = activation(weights.act, hidden)
    predicted = torch.einsum("bnh,ph->bnp", hidden, parameters["predict.weight"]) + parameters["predict.bias"]
    # Laid out (positions, kernels): the kernels are contiguous.
    kernels, positions = math.prod(op.channel_shape), math.prod(op.position_shape)
    return predicted.reshape(*predicted.shape[:2], positions, kernels).transpose(2, 3)


def _attention(op: Connect, weights: Attention, parameters: Parameters, x: Tensor) -> Tensor:
    """softmax_j(q_i k_j / sqrt(channels per head) + relative bias) over the support: (B, N, heads, M)."""
    query, key = project(op, parameters, x, 0), project(op, parameters, pad(op, x), 1)
    heads, width = op.kernels, op.source.channels // op.kernels
    query, key = (part.reshape(*part.shape[:2], heads, width) for part in (query, key))
    logits = torch.einsum("bihc,bjhc->bihj", query, key) / math.sqrt(width)
    if weights.relative_bias:
        table, index = parameters["relative_bias"], relative_indices(op).to(x.device)
        logits = logits + table[index].transpose(1, 2)
    absent = ~support(op).to(x.device)[:, None, :]
    return logits.masked_fill(absent, -torch.inf).softmax(dim=-1)


def project(op: Connect, parameters: Parameters, x: Tensor, part: int) -> Tensor:
    """Query (part 0), key (1) or value (2) of each position: (B, N, C)."""
    width = op.source.channels
    rows = slice(part * width, (part + 1) * width)
    projected = torch.einsum("bnc,dc->bnd", x, parameters["projection.weight"][rows])
    bias = parameters.get("projection.bias")
    return projected if bias is None else projected + bias[rows]


def pad(op: Connect, x: Tensor) -> Tensor:
    """x (B, N, C) with zeros at the incoming positions that do not exist: (B, M, C)."""
    exists = existing(op).to(x.device)
    padded = x.new_zeros(x.shape[0], len(exists), x.shape[2])
    padded[:, exists] = x
    return padded
