"""A connection op goes in; its result, or one wrong in a named way, comes out: kernels to test the suite with.

Each kernel is right with no defect, and wrong in one way with one; the suite must tell them apart. They
are written in plain PyTorch (`conv2d`, `roll`, loops over taps) and share no code with the oracle.

Legend: B batch; H, W height and width; C channels; K window positions; G kernels over the channels.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec.ir import Attention, Connect, Predicted, Sliding, Static, Window

Parameters = Mapping[str, Tensor]


def _predict(op: Connect, parameters: Parameters, z: Tensor, training: bool, defect: str) -> Tensor:
    """Predicted weights of each row of z (M, C): (M, positions, G)."""
    assert isinstance(op.weights, Predicted)
    hidden = F.linear(z, parameters["reduce.weight"], parameters.get("reduce.bias"))
    if op.weights.norm:
        running = parameters["norm.running_mean"], parameters["norm.running_var"]
        if defect == "running statistics not moved":
            running = running[0].clone(), running[1].clone()
        learned = training and defect != "batch norm evaluates while training"
        hidden = F.batch_norm(hidden, *running, parameters["norm.weight"], parameters["norm.bias"], learned)
    hidden = getattr(F, op.weights.act)(hidden)
    predicted = F.linear(hidden, parameters["predict.weight"], parameters["predict.bias"])
    kernels = math.prod(op.channel_shape)
    if defect == "kernels before positions":
        return predicted.reshape(len(z), kernels, -1).transpose(1, 2)
    return predicted.reshape(len(z), -1, kernels)


def _spread(kernels: Tensor, channels: int, defect: str) -> Tensor:
    """(..., G) to (..., C): channel d uses kernel d // (C / G)."""
    times = channels // kernels.shape[-1]
    if defect == "groups interleaved":
        return torch.cat([kernels] * times, dim=-1)
    return kernels.repeat_interleave(times, dim=-1)


def _biased(op: Connect, parameters: Parameters, y: Tensor) -> Tensor:
    if op.bias == "none":
        return y
    bias = parameters["bias"]
    return y + (bias if op.bias == "channels" else bias.reshape(*y.shape[1:3], 1))


def _padded(op: Connect, x: Tensor, defect: str) -> Tensor:
    """x (B, H, W, C) with the border that its sliding window reaches."""
    space = op.space
    assert isinstance(space, Sliding)
    amounts = []
    for axis in (1, 0):
        reach = space.dilation[axis] * (space.size[axis] - 1)
        extent, out = (x.shape[1 + axis], (op.target.height, op.target.width)[axis])
        before = reach - space.before[axis] if defect == "padding on the wrong side" else space.before[axis]
        before += 1 if defect == "offset by one" else 0
        amounts += [before, space.stride[axis] * (out - 1) + reach + 1 - extent - before]
    return F.pad(x, (0, 0, *amounts))


def convolution(op: Connect, parameters: Parameters, x: Tensor, training: bool, defect: str = "") -> Tensor:
    """Static weights at sliding windows, the same everywhere."""
    space, weight = op.space, parameters["weight"]
    assert isinstance(space, Sliding)
    groups, channels = op.channel_groups, op.source.channels
    if op.channels == "separate":
        kernels = weight.reshape(-1, *space.size).permute(1, 2, 0)
        weight = _spread(kernels, channels, defect).permute(2, 0, 1)[:, None]
    elif op.share_channels == "all":
        weight = weight.repeat(groups, 1, 1, 1)
    if defect == "kernel flipped":
        weight = weight.flip(2, 3)
    if defect == "weight detached":
        weight = weight + (weight.detach() - weight)
    dilation = (1, 1) if defect == "dilation forgotten" else space.dilation
    padded = _padded(op, x, defect).permute(0, 3, 1, 2)
    y = F.conv2d(padded, weight, None, space.stride, 0, dilation, groups)
    return _biased(op, parameters, y.permute(0, 2, 3, 1)[:, : op.target.height, : op.target.width])


def pooled_convolution(op: Connect, parameters: Parameters, x: Tensor, training: bool, defect: str = "") -> Tensor:
    """Pooled weights at sliding windows: one set of kernels per sample."""
    space, batch, channels = op.space, len(x), op.source.channels
    assert isinstance(space, Sliding)
    z = _padded(op, x, "") if defect == "pooled over the padding too" else x
    predicted = _predict(op, parameters, z.mean(dim=(1, 2)), training, defect)
    if defect == "weights of the first sample for all":
        predicted = predicted[:1].expand_as(predicted)
    weight = _spread(predicted, channels, defect).transpose(1, 2).reshape(batch * channels, 1, *space.size)
    padded = _padded(op, x, defect).permute(0, 3, 1, 2)
    merged = padded.reshape(1, batch * channels, *padded.shape[2:])
    y = F.conv2d(merged, weight, None, space.stride, 0, space.dilation, batch * channels)
    return _biased(op, parameters, y.reshape(batch, channels, *y.shape[2:]).permute(0, 2, 3, 1))


def local_taps(op: Connect, parameters: Parameters, x: Tensor, training: bool, defect: str = "") -> Tensor:
    """Local weights at sliding windows, tap by tap."""
    space, (batch, height, width, channels) = op.space, x.shape
    assert isinstance(space, Sliding)
    predicted = _predict(op, parameters, x.reshape(-1, channels), training, defect)
    weights = _spread(predicted, channels, defect).reshape(batch, height, width, -1, channels)
    padded, y = _padded(op, x, ""), torch.zeros_like(x)
    given = _padded(op, weights.flatten(3), "").unflatten(3, (-1, channels))
    for row in range(space.size[0]):
        for column in range(space.size[1]):
            tap = column * space.size[0] + row if defect == "taps by column" else row * space.size[1] + column
            top, left = row * space.dilation[0], column * space.dilation[1]
            there = slice(None), slice(top, top + height), slice(left, left + width)
            weight = given[there][..., tap, :] if defect == "predicted at the neighbour" else weights[..., tap, :]
            y = y + weight * padded[there]
    return _biased(op, parameters, y)


def _windows(space: Window, x: Tensor) -> Tensor:
    """(B, H, W, C), whole windows, to (B, windows, K, C)."""
    batch, height, width, channels = x.shape
    down, across = space.size
    x = x.reshape(batch, height // down, down, width // across, across, channels)
    return x.transpose(2, 3).reshape(batch, -1, down * across, channels)


def _map(space: Window, windows: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, windows, K, C) back to (B, H, W, C)."""
    down, across = space.size
    x = windows.reshape(len(windows), size[0] // down, size[1] // across, down, across, -1)
    return x.transpose(2, 3).reshape(len(windows), *size, -1)


def _joined(op: Connect, space: Window, defect: str) -> Tensor:
    """Who may read whom, as Swin's code does it: regions of the rolled map are numbered (windows, K, K)."""
    height, width = space.padded(op.source)
    rows, columns = torch.arange(height), torch.arange(width)
    exists = ((rows < op.source.height)[:, None] & (columns < op.source.width))[None, ..., None]
    sides = (rows < space.shift[0])[:, None] * 2 + (columns < space.shift[1]) * 1
    back = (-space.shift[0], -space.shift[1])
    region = _windows(space, sides[None, ..., None].roll(back, (1, 2)))[0, ..., 0]
    there = _windows(space, exists.roll(back, (1, 2)))[0, ..., 0]
    joined = region[:, :, None] == region[:, None, :]
    if defect == "mask forgotten":
        joined = torch.ones_like(joined)
    masked = not space.masked if defect == "padding the other way" else space.masked
    return joined & there[:, None, :] if masked else joined


def _relative(op: Connect, space: Window, table: Tensor, defect: str) -> Tensor:
    """(G, K, K)."""
    height, width = space.size
    slots = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")).flatten(1)
    difference = slots[:, :, None] - slots[:, None, :]
    index = (difference[0] + height - 1) * (2 * width - 1) + difference[1] + width - 1
    if defect == "relative bias transposed":
        index = index.T
    return table[index].permute(2, 0, 1)


def window_attention(op: Connect, parameters: Parameters, x: Tensor, training: bool, defect: str = "") -> Tensor:
    """Attention inside windows: pad, roll, partition, attend, and all of it back."""
    space, weights = op.space, op.weights
    assert isinstance(space, Window)
    assert isinstance(weights, Attention)
    size, heads, channels = space.padded(op.source), op.kernels, op.source.channels
    padded = F.pad(x, (0, 0, 0, size[1] - x.shape[2], 0, size[0] - x.shape[1]))
    windows = _windows(space, padded.roll((-space.shift[0], -space.shift[1]), (1, 2)))
    projected = F.linear(windows, parameters["projection.weight"], parameters.get("projection.bias"))
    split = partial(torch.unflatten, dim=-1, sizes=(heads, -1))
    if defect == "heads interleaved":
        split = lambda part: part.unflatten(-1, (-1, heads)).transpose(-1, -2)  # noqa: E731
    query, key = (split(part) for part in projected.split(channels, dim=-1)[:2])
    value = windows.unflatten(-1, (heads, -1))
    if weights.value and defect != "value not projected":
        value = projected[..., 2 * channels :].unflatten(-1, (heads, -1))
    scale = 1.0 if defect == "softmax without scale" else math.sqrt(channels / heads)
    logits = torch.einsum("bwihc,bwjhc->bwhij", query, key) / scale
    if weights.relative_bias:
        logits = logits + _relative(op, space, parameters["relative_bias"], defect)
    joined = _joined(op, space, defect)[:, None]
    # Rows of padding have nobody to read when padding is masked; they are dropped below.
    attended = logits.masked_fill(~joined, -1e9).softmax(-1)
    mixed = torch.einsum("bwhij,bwjhc->bwihc", attended, value).flatten(3)
    y = _map(space, mixed, size).roll(space.shift, (1, 2))[:, : op.target.height, : op.target.width]
    return _biased(op, parameters, y)


def window_matrix(op: Connect, parameters: Parameters, x: Tensor, training: bool, defect: str = "") -> Tensor:
    """Static weights inside windows, one (K, K) matrix per kernel and, unshared, per window."""
    space, weight = op.space, parameters["weight"]
    assert isinstance(space, Window)
    size, channels = space.padded(op.source), op.source.channels
    slots = space.positions
    weight = weight.reshape(-1, slots, slots) if op.share_positions == "windows" else weight
    weight = weight.reshape(math.prod(op.channel_shape), -1, slots, slots)
    if defect == "query and key exchanged":
        weight = weight.transpose(2, 3)
    if defect == "windows in another order":
        weight = weight.flip(1)
    shift = (0, 0) if defect == "shift forgotten" else space.shift
    padded = F.pad(x, (0, 0, 0, size[1] - x.shape[2], 0, size[0] - x.shape[1]))
    windows = _windows(space, padded.roll((-shift[0], -shift[1]), (1, 2)))
    matrices = weight * _joined(op, space, "mask forgotten" if defect == "mask forgotten" else "")
    spread = _spread(matrices.permute(1, 2, 3, 0), channels, defect)
    mixed = torch.einsum("bwjc,wijc->bwic", windows, spread.expand(windows.shape[1], -1, -1, -1))
    y = _map(space, mixed, size).roll(shift, (1, 2))[:, : op.target.height, : op.target.width]
    return _biased(op, parameters, y)


@dataclass(frozen=True)
class Pattern:
    """A kernel, the ops that it is meant for, and the ways to make it wrong."""

    kernel: Callable[..., Tensor]
    accepts: Callable[[Connect], bool]
    defects: tuple[str, ...]


def _is(op: Connect, space: type[Any], weights: type[Any], *positions: str) -> bool:
    """Without the options that canaries_spaces.py, or a kernel of attention's own, is about."""
    if isinstance(op.space, Window) and (op.space.interlaced or op.space.halo != (0, 0)):
        return False
    plain = not getattr(op.weights, "normalise", False)
    if isinstance(op.weights, Attention):
        known = Attention(op.weights.bias, op.weights.relative_bias, op.weights.value)
        plain = op.weights == known
    local = isinstance(op.weights, Predicted) and op.weights.source == "local"
    moves = local and isinstance(op.space, Sliding) and (op.space.stride != (1, 1))
    kinds = isinstance(op.space, space) and isinstance(op.weights, weights)
    return kinds and plain and not moves and op.share_positions in positions


PATTERNS: dict[str, Pattern] = {
    "convolution": Pattern(
        convolution,
        lambda op: _is(op, Sliding, Static, "offsets"),
        (
            "offset by one",
            "padding on the wrong side",
            "kernel flipped",
            "dilation forgotten",
            "groups interleaved",
            "weight detached",
        ),
    ),
    "pooled convolution": Pattern(
        pooled_convolution,
        lambda op: _is(op, Sliding, Predicted, "offsets"),
        (
            "offset by one",
            "pooled over the padding too",
            "weights of the first sample for all",
            "kernels before positions",
            "groups interleaved",
            "running statistics not moved",
            "batch norm evaluates while training",
        ),
    ),
    "local taps": Pattern(
        local_taps,
        lambda op: _is(op, Sliding, Predicted, "none"),
        ("predicted at the neighbour", "taps by column", "kernels before positions", "groups interleaved"),
    ),
    "window attention": Pattern(
        window_attention,
        lambda op: _is(op, Window, Attention, "none"),
        (
            "mask forgotten",
            "relative bias transposed",
            "softmax without scale",
            "padding the other way",
            "heads interleaved",
            "value not projected",
        ),
    ),
    "window matrix": Pattern(
        window_matrix,
        lambda op: _is(op, Window, Static, "none", "windows") and op.channels == "separate",
        (
            "mask forgotten",
            "shift forgotten",
            "query and key exchanged",
            "windows in another order",
            "groups interleaved",
        ),
    ),
}
