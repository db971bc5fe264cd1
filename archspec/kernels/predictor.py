"""A feature map goes in; the weights predicted from it come out (arXiv 2106.04263, Eq. 18 and Appendix D)."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.errors import TrainingError
from archspec.kernels.shapes import Parameters

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
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
        rows = F.batch_norm(
            rows,
            parameters["norm.running_mean"],
            parameters["norm.running_var"],
            parameters["norm.weight"],
            parameters["norm.bias"],
            training,
            momentum=0.1,
            eps=1e-5,
        )
        h = rows.view(h.shape)
    return ACTIVATIONS[weights.act](h)


def pooled(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """One set of weights per image: (B, *position_shape, G)."""
    assert isinstance(op.weights, ir.Predicted)
    h = hidden(op.weights, parameters, x.mean((1, 2)), training)
    # Few rows times a very wide matrix: with the matrix on the left MKL reads it up to three times as fast.
    bias = parameters["predict.bias"].unsqueeze(1)
    predicted: Tensor = torch.addmm(bias, parameters["predict.weight"], h.T).T
    return predicted.unflatten(1, (*op.position_shape, op.kernels))


def at_positions(op: ir.Connect, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """One weight per position and kernel, for a position that reads itself only: (B, N, C) -> (B, N, G)."""
    assert isinstance(op.weights, ir.Predicted)
    h = hidden(op.weights, parameters, x, training)
    return F.linear(h, parameters["predict.weight"], parameters["predict.bias"])
