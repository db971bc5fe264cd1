"""The ops around connections: norm, activation, scale, drop path, tokens, gather, pool; (B, H, W, C) in and out."""

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.predictor import ACTIVATIONS
from archspec.kernels.shapes import Parameters, channels_first, flat


def norm(op: ir.Norm, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """layer: over C; batch: over B and positions, with running statistics (momentum 0.1); affine: x * weight + bias."""
    weight, bias = parameters["weight"], parameters["bias"]
    if op.kind == "layer":
        return F.layer_norm(x, weight.shape, weight, bias, op.eps)
    if op.kind == "affine":
        return torch.addcmul(bias, x, weight)
    mean, variance = parameters["running_mean"], parameters["running_var"]
    y = F.batch_norm(channels_first(x), mean, variance, weight, bias, training, momentum=0.1, eps=op.eps)
    return y.permute(0, 2, 3, 1)


def activation(op: ir.Activation, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """A function of each element."""
    return ACTIVATIONS[op.kind](x)


def scale(op: ir.Scale, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """A factor per channel."""
    return x * parameters["weight"]


def drop_path(op: ir.DropPath, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Zero the branch of some samples while training, and divide the others by the share that is kept."""
    return x * kept(op, x) if training and op.rate else x


def kept(op: ir.DropPath, x: Tensor) -> Tensor:
    """What drop path multiplies each sample by, (B, 1, 1, 1): 0, or 1 over the share that is kept."""
    share = 1 - op.rate
    return x.new_empty((len(x), 1, 1, 1)).bernoulli_(share).div_(share)


def class_token(op: ir.ClassToken, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """(B, H, W, C) -> (B, 1, 1 + H * W, C), the token first."""
    token = parameters["weight"].to(x.dtype).expand(len(x), 1, 1, -1)
    return torch.cat([token, flat(x).unsqueeze(1)], dim=2)


def position_embedding(op: ir.PositionEmbedding, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Add a feature per position. weight: (N, C)."""
    return x + parameters["weight"].view(*x.shape[1:])


def gather(op: ir.Gather, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Concatenate patches into channels, the row inside the patch fastest (Swin's patch merging)."""
    size = op.size
    below, right = op.target.height * size - x.shape[1], op.target.width * size - x.shape[2]
    if below or right:
        x = F.pad(x, (0, 0, 0, right, 0, below))
    x = x.unflatten(2, (-1, size)).unflatten(1, (-1, size))
    return x.permute(0, 1, 3, 4, 2, 5).flatten(3)


def pool(op: ir.Pool, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """The mean of the map without its class token, or the class token: -> (B, 1, 1, C)."""
    tokens = op.source.class_tokens
    if op.kind == "class_token":
        return x[:, :, :1]
    return (x[:, :, tokens:] if tokens else x).mean((1, 2), keepdim=True)
