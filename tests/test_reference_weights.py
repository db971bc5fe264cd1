"""The oracle's weights and the options of attention (Eq. 22-25 of arXiv 2106.04263) against formulas of their own.

Legend: B batch; H, W height and width; C channels; h heads; N positions.
"""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from heads import EXACT, HEADS, WIDTH, agree, attention, joined, layer, products, qkv
from torch import Tensor

from archspec import reference
from archspec.ir import Feature
from archspec.testing import Layer, Sample, draw

# ------------------------------------------------------------------ weights by formula


def test_softmax_kernels_are_lightweight_convolutions() -> None:
    op = layer({"sliding": [3, 5]}, Feature(4, 6, WIDTH), {"static": {"normalise": "softmax"}}, positions="offsets")
    sample = draw(op, 1)
    kernel = sample.parameters["weight"].flatten(1).softmax(1).reshape(HEADS, 1, 3, 5).repeat_interleave(4, 0)
    image = sample.x.permute(0, 3, 1, 2)
    expected = F.conv2d(image, kernel, sample.parameters["bias"], padding=(1, 2), groups=WIDTH)
    agree(op, sample, expected.permute(0, 2, 3, 1))


def test_involution_with_a_stride() -> None:
    """RedNet: weights from the mean of each 2 x 3 patch, for the window around the patch's first position."""
    weights = {"local": {"reduction": 2, "norm": "none", "act": "tanh"}}
    op = layer({"sliding": {"size": 3, "stride": [2, 3]}}, Feature(5, 7, WIDTH), weights)
    sample = draw(op, 1)
    p, image = sample.parameters, sample.x.permute(0, 3, 1, 2)
    patches = F.avg_pool2d(image, (2, 3), ceil_mode=True).flatten(2).mT
    hidden = F.linear(patches, p["reduce.weight"], p["reduce.bias"]).tanh()
    kernels = F.linear(hidden, p["predict.weight"], p["predict.bias"]).unflatten(2, (9, HEADS))
    taps = F.unfold(image, 3, padding=1, stride=(2, 3)).unflatten(1, (HEADS, WIDTH // HEADS, 9))
    agree(op, sample, torch.einsum("bnth,bhctn->bnhc", kernels, taps).flatten(2))


def test_pooled_weights_of_a_point_are_a_dynamic_1x1_convolution() -> None:
    weights = {"pooled": {"reduction": 2, "norm": "none", "act": "relu"}}
    op = layer("point", Feature(2, 3, WIDTH), weights, positions="offsets", share="none", channels="full", width=6)
    sample = draw(op, 1)
    p = sample.parameters
    hidden = F.linear(sample.x.mean((1, 2)), p["reduce.weight"], p.get("reduce.bias")).relu()
    matrices = F.linear(hidden, p["predict.weight"], p["predict.bias"]).unflatten(1, (6, WIDTH))
    agree(op, sample, torch.einsum("bdc,bhwc->bhwd", matrices, sample.x))


# ------------------------------------------------------------------ options of attention, Eq. 22-25


MAP = Feature(3, 4, WIDTH)


def finish(sample: Sample, logits: Tensor) -> Tensor:
    return joined(logits.softmax(-1) @ qkv(sample, sample.x.flatten(1, 2))[2])


def test_centre() -> None:
    """Eq. 22: a learned vector for the offset from i to j times x_i; offsets are query minus key."""
    op, sample = attention("full", MAP, centre=True)
    x, table = sample.x.flatten(1, 2), sample.parameters["centre.weight"].unflatten(0, (5, 7))
    logits = products(sample, x)
    for i in range(12):
        for j in range(12):
            row, column = i // 4 - j // 4 + 2, i % 4 - j % 4 + 3
            logits[:, :, i, j] += torch.einsum("hc,bc->bh", table[row, column], x[:, i])
    agree(op, sample, finish(sample, logits))


@pytest.mark.parametrize("size", [3, 5])
def test_post_convolution(size: int) -> None:
    """Eq. 23: torch's circular convolution of each query's map of products, one kernel a head."""
    op, sample = attention("full", MAP, post_convolution=size)
    maps = products(sample, sample.x.flatten(1, 2)).transpose(1, 2).reshape(-1, HEADS, 3, 4)
    # torch wraps around at most once: the map is 3 high, and a size of 5 asks for 2.
    maps = F.pad(maps, (size // 2,) * 4, mode="circular")
    convolved = F.conv2d(maps, sample.parameters["post_convolution.weight"][:, None], groups=HEADS)
    agree(op, sample, finish(sample, convolved.reshape(-1, 12, HEADS, 12).transpose(1, 2)))


@pytest.mark.parametrize("channels", ["shared", "separate", "full"])
def test_pre_convolution(channels: str) -> None:
    """Eq. 24-25: queries and keys of the convolved map, values of the map itself."""
    op, sample = attention("full", MAP, pre_convolution={"size": 3, "channels": channels})
    weight = sample.parameters["pre_convolution.weight"]
    kernel = weight if channels == "full" else weight.expand(WIDTH, 3, 3)[:, None]
    groups = 1 if channels == "full" else WIDTH
    seen = F.conv2d(sample.x.permute(0, 3, 1, 2), kernel, padding=1, groups=groups).flatten(2).mT
    agree(op, sample, finish(sample, products(sample, seen)))


def test_heads_mixed_by_a_convolution() -> None:
    """ResT: a 1x1 convolution over the heads, before the softmax."""
    op, sample = attention("full", MAP, mix_heads=True)
    weight = sample.parameters["mix_heads.weight"][:, :, None, None]
    logits = F.conv2d(products(sample, sample.x.flatten(1, 2)), weight, sample.parameters["mix_heads.bias"])
    agree(op, sample, finish(sample, logits))


def test_without_softmax_the_products_are_the_weights() -> None:
    op, sample = attention("full", MAP, normalise="none", output=True)
    x = sample.x.flatten(1, 2)
    y = joined(products(sample, x) @ qkv(sample, x)[2])
    agree(op, sample, F.linear(y, sample.parameters["output.weight"], sample.parameters["output.bias"]))


def test_everything_at_once_in_its_order() -> None:
    """Products, post-convolution, relative bias, heads mixed, softmax: no two of them commute."""
    op, sample = attention("full", MAP, post_convolution=3, relative_bias=True, mix_heads=True)
    p = sample.parameters
    maps = products(sample, sample.x.flatten(1, 2)).transpose(1, 2).reshape(-1, HEADS, 3, 4)
    maps = F.conv2d(F.pad(maps, (1,) * 4, mode="circular"), p["post_convolution.weight"][:, None], groups=HEADS)
    logits = maps.reshape(-1, 12, HEADS, 12).transpose(1, 2)
    rows, columns = torch.arange(12) // 4, torch.arange(12) % 4
    offsets = (rows[:, None] - rows + 2) * 7 + columns[:, None] - columns + 3
    logits = logits + p["relative_bias"][offsets].permute(2, 0, 1)
    logits = F.conv2d(logits, p["mix_heads.weight"][:, :, None, None], p["mix_heads.bias"])
    agree(op, sample, finish(sample, logits))


@pytest.mark.parametrize(("act", "between"), [(None, lambda x: x), ("relu", F.relu)])
def test_a_rank_of_everything_goes_through_a_vector(act: str | None, between: Any) -> None:
    """A low-rank MLP over all positions and channels: two full layers of torch."""
    rank = {"size": 5} | ({"act": act} if act else {})
    written = {
        "connectivity": {"space": "full", "channels": "full"},
        "sharing": {"positions": "none"},
        "weights": "static",
        "rank": rank,
        "width": 6,
    }
    ops = Layer(written, MAP).ops
    assert ops[0].target == Feature(1, 1, 5)
    x = y = draw(ops[0], 1).x
    samples = {op.path: draw(op, 2) for op in ops}
    for op in ops:
        y = reference.apply(op, samples[op.path].parameters, y)
    first, second = samples["layer.first"].parameters, samples["layer.second"].parameters
    hidden = between(torch.einsum("rcjn,bnc->br", first["weight"], x.flatten(1, 2)) + first["bias"])
    expected = torch.einsum("dcnj,bc->bnd", second["weight"], hidden) + second["bias"]
    torch.testing.assert_close(y, expected.reshape(y.shape), **EXACT)
