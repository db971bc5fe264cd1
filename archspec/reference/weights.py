"""A connection op, its parameters and x go in; the value of each tie index comes out (the weights axis).

Values have shape (B or 1, N or 1, kernels, positions): per sample and per output position where they are
predicted there; `kernels` and `positions` are the flat channel and position parts of the tie index.

Legend: B batch; N outgoing positions; C channels; K neighbours.
"""

import math

import torch
from torch import Tensor

from archspec.ir import Attention, Connect, Outlook, Predicted, Sliding
from archspec.reference.attention import attention, outlook
from archspec.reference.pointwise import Parameters, activation, batch_norm
from archspec.reference.reading import patch_means

PREDICTOR_EPS = 1e-5


def values(op: Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """The value of each tie index, from x (B, N, C) without padding."""
    if isinstance(op.weights, Attention):
        return attention(op, op.weights, parameters, x)
    if isinstance(op.weights, Outlook):
        if not isinstance(op.space, Sliding):
            raise ValueError(f"{op.path}: outlook weights are predicted for windows that slide")
        return outlook(op, op.weights, op.space, parameters, x)
    if isinstance(op.weights, Predicted):
        found = _predicted(op, op.weights, parameters, x, training)
    else:
        found = parameters["weight"].reshape(1, 1, math.prod(op.channel_shape), math.prod(op.position_shape))
    return _softmax(op, found) if op.weights.normalise else found


def _softmax(op: Connect, found: Tensor) -> Tensor:
    """Over the K neighbours, which the position part of the tie index counts last."""
    return found.reshape(*found.shape[:3], -1, op.neighbours).softmax(dim=-1).reshape(found.shape)


def _predicted(op: Connect, weights: Predicted, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """w = linear(act(norm(linear(z)))): the same small network at the pooled image or at each position."""
    z = x.mean(dim=1, keepdim=True) if weights.source == "pooled" else x
    if weights.source == "local" and isinstance(op.space, Sliding) and op.space.stride != (1, 1):
        z = patch_means(op.source, op.space.stride, x)
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
