"""A feature map goes in; the weights predicted from it come out (arXiv 2106.04263, Eq. 18 and Appendix D)."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.errors import TrainingError
from archspec.kernels.shapes import Parameters, channels_first, over_neighbours, wide_enough

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hardswish": F.hardswish,
}


def hidden(weights: ir.Predicted, parameters: Parameters, z: Tensor, training: bool) -> Tensor:
    """act(norm(reduce(z))) over the last axis of z, (..., C) -> (..., hidden)."""
    h = F.linear(z, parameters["reduce.weight"], parameters.get("reduce.bias"))
    if weights.norm:
        rows = h.reshape(-1, h.shape[-1])
        if training and len(rows) < 2:
            raise TrainingError("batch norm over pooled images needs at least 2 images in a batch while training")
        rows = _normed(parameters, rows, training)
        h = rows.view(h.shape)
    return ACTIVATIONS[weights.act](h)


def _normed(parameters: Parameters, rows: Tensor, training: bool) -> Tensor:
    """Batch norm over the rows; statistics in half precision are moved in that of the rows."""
    kept = parameters["norm.running_mean"], parameters["norm.running_var"]
    mean, variance = (each.to(rows.dtype) if rows.dtype == torch.float32 else each for each in kept)
    scale, shift = parameters["norm.weight"], parameters["norm.bias"]
    rows = F.batch_norm(rows, mean, variance, scale, shift, training, momentum=0.1, eps=1e-5)
    if training and mean is not kept[0]:
        kept[0].copy_(mean)
        kept[1].copy_(variance)
    return rows


def at_targets(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Hidden units at each outgoing position, (B, H', W', hidden): of the mean of the stride x stride patch there."""
    assert isinstance(op.weights, ir.Predicted)
    if isinstance(op.space, ir.Sliding) and op.space.stride != (1, 1):
        # A patch that reaches beyond the map is the mean of what exists of it.
        x = F.avg_pool2d(channels_first(x), op.space.stride, ceil_mode=True).permute(0, 2, 3, 1)
    return hidden(op.weights, parameters, x, training)


def pooled(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """One set of weights per image: (B, *position_shape, G), or (B, C' * C/g) of a point that mixes channels.

    In float32 at least: a batch norm over few images makes much of what half precision rounds off.
    """
    assert isinstance(op.weights, ir.Predicted)
    own = {name: wide_enough(tensor) for name, tensor in parameters.items() if "running" not in name}
    with torch.autocast(x.device.type, enabled=False):
        mean = x.mean((1, 2), dtype=wide_enough(x[:0]).dtype)
        h = hidden(op.weights, {**parameters, **own}, mean, training)
        # Few rows times a very wide matrix: with the matrix on the left MKL reads it up to three times as fast.
        predicted: Tensor = torch.addmm(own["predict.bias"].unsqueeze(1), own["predict.weight"], h.T).T
    predicted = predicted.to(x.dtype).unflatten(1, (*op.position_shape, -1))
    return over_neighbours(op, predicted, -2) if op.weights.normalise else predicted


def at_positions(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """One weight per position and kernel, for a position that reads itself only: (B, N, C) -> (B, N, G)."""
    assert isinstance(op.weights, ir.Predicted)
    h = hidden(op.weights, parameters, x, training)
    return F.linear(h, parameters["predict.weight"], parameters["predict.bias"])
