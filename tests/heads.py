"""Layers of two heads and the pieces of attention by their formulas, for tests of the oracle against references.

Legend: B batch; C channels; h heads; N positions.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archspec import reference
from archspec.ir import Connect, Feature
from archspec.testing import Layer, Sample, draw

EXACT = {"rtol": 0, "atol": 1e-12}
WIDTH, HEADS = 8, 2


def layer(space: Any, source: Feature, weights: Any = "static", **more: Any) -> Connect:
    """A layer of two heads that share no positions, unless said otherwise."""
    sharing = {"positions": more.pop("positions", "none"), "channels": more.pop("share", {"groups": HEADS})}
    channels = more.pop("channels", "separate")
    written = {"connectivity": {"space": space, "channels": channels}, "sharing": sharing, "weights": weights}
    (op,) = Layer(written | more, source).connections
    return op


def attention(space: Any, source: Feature, **options: Any) -> tuple[Connect, Sample]:
    op = layer(space, source, {"attention": options})
    return op, draw(op, 1)


def split(part: Tensor) -> Tensor:
    """(B, N, C) -> (B, h, N, C/h)."""
    return part.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def joined(part: Tensor) -> Tensor:
    """(B, h, N, C/h) -> (B, N, C)."""
    return part.transpose(1, 2).flatten(2)


def qkv(sample: Sample, x: Tensor) -> tuple[Tensor, ...]:
    bias = sample.parameters.get("projection.bias")
    return tuple(split(part) for part in F.linear(x, sample.parameters["projection.weight"], bias).chunk(3, -1))


def plain(sample: Sample, x: Tensor) -> Tensor:
    """Attention of all of x (B, N, C) with all of it."""
    return joined(F.scaled_dot_product_attention(*qkv(sample, x)))


def products(sample: Sample, seen: Tensor) -> Tensor:
    """q k / sqrt(C/h) between all positions (B, h, N, N)."""
    query, key, _ = qkv(sample, seen)
    return query @ key.mT / (WIDTH // HEADS) ** 0.5


def agree(op: Connect, sample: Sample, expected: Tensor) -> None:
    found = reference.apply(op, sample.copy(False).parameters, sample.x, training=True)
    torch.testing.assert_close(found, expected.reshape(found.shape), **EXACT)


def copy(module: nn.Module, **parameters: Tensor) -> None:
    with torch.no_grad():
        for name, value in parameters.items():
            own = module.get_parameter(name.replace("__", "."))
            own.copy_(value.reshape(own.shape))
