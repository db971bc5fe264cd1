"""The ops around connections: norm, activation, scale, drop path, tokens, pools, resizing; (B, H, W, C) in and out."""

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.predictor import ACTIVATIONS
from archspec.kernels.shapes import Parameters, channels_first, flat


def norm(op: ir.Norm, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """layer: over C; batch: over B and positions, with running statistics (momentum 0.1); affine: x * weight + bias."""
    weight, bias = parameters["weight"], parameters["bias"]
    if op.centring:
        x = torch.addcmul(x, x.mean((1, 2), keepdim=True), parameters["centring.weight"].to(x.dtype))
    if op.kind == "layer":
        return F.layer_norm(x, weight.shape, weight, bias, op.eps)
    if op.kind == "affine":
        return torch.addcmul(bias, x, weight)
    mean, variance = parameters["running_mean"], parameters["running_var"]
    y = F.batch_norm(channels_first(x), mean, variance, weight, bias, training, momentum=0.1, eps=op.eps)
    return y.permute(0, 2, 3, 1)


def norm_of_new(op: ir.Norm, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """The same where nobody else has x: batch norm in inference writes onto it, as one multiply-add.

    On a CPU, where torch's own takes up to three times as long on channels last, and finding memory longer still.
    """
    plain = op.kind == "batch" and not op.centring and not training and not torch.is_grad_enabled()
    if not plain or x.device.type != "cpu" or x.dtype != parameters["weight"].dtype:
        return norm(op, parameters, x, training)
    factor = parameters["weight"] * (parameters["running_var"] + op.eps).rsqrt()
    return torch.addcmul(parameters["bias"] - parameters["running_mean"] * factor, x, factor, out=x)


def activation(op: ir.Activation, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """A function of each element."""
    return F.relu6(x) if op.kind == "relu6" else ACTIVATIONS[op.kind](x)


def activation_of_new(op: ir.Activation, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """The same where nobody else has x: inference writes onto it, which saves finding memory for another map.

    While training it may not: what gave x is a view, whose history writing would have to be copied.
    """
    over = _ONTO_ITSELF.get(op.kind)
    return activation(op, parameters, x, training) if over is None or torch.is_grad_enabled() else over(x)


_ONTO_ITSELF: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "relu6": partial(F.relu6, inplace=True),
    "silu": partial(F.silu, inplace=True),
    "hardswish": partial(F.hardswish, inplace=True),
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
}


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
    """The mean or the largest of the map without its class token, or the class token: -> (B, 1, 1, C)."""
    tokens = op.source.class_tokens
    if op.kind == "class_token":
        return x[:, :, :1]
    there = x[:, :, tokens:] if tokens else x
    if op.kind == "max":
        # Of equals the first has the gradient, as in a pool that slides; amax would give each a part of it.
        return there.flatten(1, 2).max(1).values[:, None, None]
    return there.mean((1, 2), keepdim=True)


def sliding_pool(op: ir.SlidingPool, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """torch's pools on the channels-last view; where padding is not the same on both sides, the map is padded first."""
    size, stride = op.space.size, op.space.stride
    y, padding = channels_first(x), op.space.before
    if _padded_evenly(op):
        if op.kind == "max":
            return F.max_pool2d(y, size, stride, padding).permute(0, 2, 3, 1)
        return F.avg_pool2d(y, size, stride, padding, count_include_pad=op.count_padding).permute(0, 2, 3, 1)
    top, bottom, left, right = _beyond(op)
    y = F.pad(y, (left, right, top, bottom), value=-math.inf if op.kind == "max" else 0.0)
    if op.kind == "max":
        return F.max_pool2d(y, size, stride).permute(0, 2, 3, 1)
    y = F.avg_pool2d(y, size, stride).permute(0, 2, 3, 1)
    return y if op.count_padding else y * _share_inside(op, y)


def _beyond(op: ir.SlidingPool) -> tuple[int, int, int, int]:
    """How far windows reach beyond the map: above, below, left, right. Below and right may be negative: unread."""
    space, target = op.space, op.target
    below = (target.height - 1) * space.stride[0] + space.size[0] - space.before[0] - op.source.height
    right = (target.width - 1) * space.stride[1] + space.size[1] - space.before[1] - op.source.width
    return space.before[0], below, space.before[1], right


def _padded_evenly(op: ir.SlidingPool) -> bool:
    """Whether torch's own padding, as much after the map as before it, gives the same windows."""
    space, source, target = op.space, op.source, op.target
    sizes = zip((source.height, source.width), space.before, space.size, space.stride, strict=True)
    return tuple((m + 2 * b - k) // s + 1 for m, b, k, s in sizes) == (target.height, target.width)


def _share_inside(op: ir.SlidingPool, y: Tensor) -> Tensor:
    """What a mean that counts padding is multiplied by to count only positions of the map: (H', W', 1)."""
    counts = []
    for axis, (extent, count) in enumerate(((op.source.height, op.target.height), (op.source.width, op.target.width))):
        k, stride, before = op.space.size[axis], op.space.stride[axis], op.space.before[axis]
        start = torch.arange(count, device=y.device) * stride - before
        counts.append((start + k).clamp(max=extent) - start.clamp(min=0))
    inside = counts[0][:, None, None] * counts[1][:, None]
    return op.space.taps / inside.to(y.dtype)


def map_only(op: ir.MapOnly, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """(B, 1, T + H * W, C) -> (B, H, W, C), a view."""
    return x[:, 0, op.source.class_tokens :].unflatten(1, (op.target.height, op.target.width))


def shuffle(op: ir.Shuffle, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Channels (g, c) to (c, g): one copy."""
    return x.unflatten(-1, (op.groups, -1)).transpose(-1, -2).flatten(-2)


def resize(op: ir.Resize, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """nearest: each position copied, by exact whole-number indices; bilinear: torch's, without aligned corners."""
    height, width = op.target.height, op.target.width
    if op.kind == "bilinear":
        y = F.interpolate(channels_first(x), (height, width), mode="bilinear", align_corners=False)
        return y.permute(0, 2, 3, 1)
    down, across = height // op.source.height, width // op.source.width
    if (down * op.source.height, across * op.source.width) == (height, width):
        return x[:, :, None, :, None].expand(-1, -1, down, -1, across, -1).flatten(3, 4).flatten(1, 2)
    for axis, (extent, wanted) in enumerate(((op.source.height, height), (op.source.width, width)), start=1):
        x = x.index_select(axis, torch.arange(wanted, device=x.device) * extent // wanted)
    return x


def multiply(op: ir.Multiply, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """By a constant."""
    return x * op.factor


def unchanged(op: ir.Op, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """An op that has nothing to do at this image size."""
    return x
