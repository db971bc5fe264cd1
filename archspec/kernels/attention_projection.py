"""A map goes in; query, key and value by window and head come out, and what they give goes back into a map.

Legend: (B, H, W, C) a map; G heads of D = C / G channels; K slots of a window, R slots of what it reads; P projections.
The projections are one matrix, as in timm; runs of them that read the same map are one product.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.depthwise import Geometry, depthwise
from archspec.kernels.reduced import reduce
from archspec.kernels.shapes import Parameters, as_map, channels_first, channels_last, flat, with_bias
from archspec.kernels.windows import cut_surrounded


class Sources(NamedTuple):
    """The maps that query, key and value are projected from, and the one that `centre` reads: (B, H, W, C) each."""

    query: Tensor
    key: Tensor
    value: Tensor
    centre: Tensor


def options(op: ir.Connect) -> ir.Attention:
    assert isinstance(op.weights, ir.Attention)
    return op.weights


def sources(op: ir.Connect, parameters: Parameters, x: Tensor) -> Sources:
    """Laid out so that windows can be cut: padded, rolled, surrounded by a halo, or reduced."""
    if isinstance(op.space, ir.Reduced):
        smaller = reduce(op, parameters, x)
        return Sources(x, smaller, smaller, x)
    if op.target.positions < op.source.positions:  # only the class token asks
        return Sources(x[:, :, :1], x, x, x)
    z = pre_convolved(op, parameters, x)
    value = lay_out(op, x)
    key = value if z is x else lay_out(op, z)
    return Sources(_without_halo(op, key), key, value, _without_halo(op, value))


def pre_convolved(op: ir.Connect, parameters: Parameters, x: Tensor) -> Tensor:
    """What queries and keys read (Eq. 24 and 25): x itself where there is no convolution before them."""
    convolution = options(op).pre_convolution
    if convolution is None:
        return x
    weight, around = parameters["pre_convolution.weight"], (convolution.size // 2,) * 2
    if convolution.channels == "full":
        return channels_last(F.conv2d(channels_first(x.contiguous()), weight, padding=around))
    kernels = weight.expand(1, op.source.channels, -1, -1)
    return depthwise(x, kernels, None, Geometry((1, 1), around, (1, 1)))


def lay_out(op: ir.Connect, x: Tensor) -> Tensor:
    """The map padded to whole windows, and rolled so that windows start at 0 or with the halo of the outer ones."""
    space = op.space
    if not isinstance(space, ir.Window):
        return x
    (height, width), (down, across) = space.surrounded(op.source), space.halo
    pads = (0, 0, across, width - across - op.source.width, down, height - down - op.source.height)
    x = F.pad(x, pads) if any(pads) else x
    return x.roll((-space.shift[0], -space.shift[1]), (1, 2)) if space.shift != (0, 0) else x


def _without_halo(op: ir.Connect, x: Tensor) -> Tensor:
    if not isinstance(op.space, ir.Window) or op.space.halo == (0, 0):
        return x
    down, across = op.space.halo
    return x[:, down : x.shape[1] - down, across : x.shape[2] - across]


def projections(op: ir.Connect, parameters: Parameters, maps: Sources) -> Iterator[Tensor]:
    """Query, key and value, (..., P * C): those that read the same map together. Without `value`, x is the value."""
    width, bias = op.source.channels, parameters.get("projection.bias")
    wanted = list(maps[: 3 if options(op).value else 2])
    first, dtype = 0, maps.value.dtype
    for last, x in enumerate(wanted, 1):
        if last < len(wanted) and wanted[last] is x:
            continue
        rows = slice(first * width, last * width)
        whole = last - first == len(wanted)
        weight = parameters["projection.weight"]
        projected = F.linear(x, weight if whole else weight[rows], bias if whole or bias is None else bias[rows])
        first, dtype = last, projected.dtype
        yield projected
    if not options(op).value:
        yield maps.value.to(dtype)


def by_window(op: ir.Connect, parameters: Parameters, maps: Sources) -> list[Tensor]:
    """Query (B, windows, G, K, D), key and value (B, windows, G, R, D)."""
    parts: list[Tensor] = []
    for projected in projections(op, parameters, maps):
        parts += apart(_by_head(op, projected, keys=bool(parts)), 0)
    return parts


def apart(projected: Tensor, axis: int) -> tuple[Tensor, ...]:
    """The projections on an axis. The gradient of a single one is a view; that of `unbind` would be a copy."""
    return projected.unbind(axis) if projected.shape[axis] > 1 else (projected.squeeze(axis),)


def _by_head(op: ir.Connect, x: Tensor, keys: bool) -> Tensor:
    """(B, H, W, P * C) -> (P, B, windows, G, K or R, D), windows and heads cut in one copy."""
    space, parts = op.space, (-1, op.kernels, op.source.channels // op.kernels)
    if not isinstance(space, ir.Window):
        return flat(x).unsqueeze(1).unflatten(-1, parts).permute(3, 0, 1, 4, 2, 5).contiguous()
    if keys and space.halo != (0, 0):
        return cut_surrounded(space, x).unflatten(-1, parts).permute(3, 0, 1, 4, 2, 5).contiguous()
    (high, wide), x = space.size, x.unflatten(3, parts)
    if space.interlaced:
        # (B, h, rows, w, columns, P, G, D) -> (P, B, rows, columns, G, h, w, D)
        x = x.unflatten(2, (wide, -1)).unflatten(1, (high, -1)).permute(5, 0, 2, 4, 6, 1, 3, 7)
    else:
        # (B, rows, h, columns, w, P, G, D) -> (P, B, rows, columns, G, h, w, D)
        x = x.unflatten(2, (-1, wide)).unflatten(1, (-1, high)).permute(5, 0, 1, 3, 6, 2, 4, 7)
    return x.flatten(5, 6).flatten(2, 3)


def put_back(op: ir.Connect, parameters: Parameters, y: Tensor) -> Tensor:
    """(B, windows, G, K, D) -> the outgoing map: the inverse of laying out and of cutting windows and heads."""
    space = op.space
    if not isinstance(space, ir.Window):
        return finished(op, parameters, as_map(y.squeeze(1).transpose(1, 2).flatten(2), op.target))
    y = y.unflatten(3, space.size).unflatten(1, space.grid(op.source))
    # (B, rows, columns, G, h, w, D) -> (B, rows, h, columns, w, G, D), or rows inside h and columns inside w
    order = (0, 4, 1, 5, 2, 3, 6) if space.interlaced else (0, 1, 4, 2, 5, 3, 6)
    y = projected_out(op, parameters, y.permute(order).reshape(len(y), *space.padded(op.source), -1))
    y = y.roll(space.shift, (1, 2)) if space.shift != (0, 0) else y
    if tuple(y.shape[1:3]) != (op.target.height, op.target.width):
        y = y[:, : op.target.height, : op.target.width].contiguous()
    return with_bias(op, parameters, y)


def projected_out(op: ir.Connect, parameters: Parameters, y: Tensor) -> Tensor:
    """The output projection, where there is one: (..., C) -> (..., C)."""
    if not options(op).output:
        return y
    return F.linear(y, parameters["output.weight"], parameters.get("output.bias"))


def finished(op: ir.Connect, parameters: Parameters, y: Tensor) -> Tensor:
    """A whole outgoing map, projected, with the bias of the layer."""
    return with_bias(op, parameters, projected_out(op, parameters, y))
