"""The oracle on grids, halos, crosses, pooled maps, outlooks and sliding attention: timm's layers, or plain loops.

Legend: B batch; H, W height and width; C channels; h heads; N positions.
"""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from heads import HEADS, WIDTH, agree, attention, copy, joined, layer, plain, qkv
from timm.layers.halo_attn import HaloAttn
from timm.models.maxxvit import grid_partition, grid_reverse
from timm.models.volo import ClassAttention, OutlookAttention
from torch import nn

from archspec.ir import Feature
from archspec.testing import draw

# ------------------------------------------------------------------ against timm


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("height", "width", "size"), [(7, 10, 3), (5, 6, 5)])
def test_outlook_is_timms(height: int, width: int, size: int, stride: int) -> None:
    """VOLO's layer, ragged maps and overlapping windows included, with a bias that timm adds before it pads."""
    op = layer({"sliding": size}, Feature(height, width, WIDTH), {"outlook": {"stride": stride, "bias": True}})
    sample = draw(op, 1)
    module = OutlookAttention(WIDTH, HEADS, size, size // 2, stride, qkv_bias=True).double()
    module.proj = nn.Identity()
    p = sample.parameters
    copy(module, v__weight=p["projection.weight"], v__bias=p["projection.bias"])
    copy(module, attn__weight=p["predict.weight"], attn__bias=p["predict.bias"])
    agree(op, sample, module(sample.x))


def test_grid_attention_has_maxvits_windows() -> None:
    op, sample = attention({"grid": [3, 2]}, Feature(6, 8, WIDTH))
    windows = grid_partition(sample.x, [3, 2])
    y = plain(sample, windows.flatten(1, 2)).unflatten(1, (3, 2))
    agree(op, sample, grid_reverse(y, [3, 2], [6, 8]))


def test_halo_attention_is_timms() -> None:
    """Without bias, padding before and after a projection is one; timm's relative position is of another kind."""
    op, sample = attention({"halo": {"size": 4, "halo": 1}}, Feature(8, 12, WIDTH), bias=False)
    module = HaloAttn(WIDTH, num_heads=HEADS, dim_head=WIDTH // HEADS, block_size=4, halo_size=1).double()
    query, key, value = sample.parameters["projection.weight"].chunk(3)
    # timm's keys and values stand head by head.
    both = torch.cat([key.unflatten(0, (HEADS, -1)), value.unflatten(0, (HEADS, -1))], 1)
    zeros = torch.zeros(1, dtype=torch.float64)
    copy(module, q__weight=query, kv__weight=both)
    for name, own in module.pos_embed.named_parameters():
        copy(module, **{f"pos_embed__{name}": zeros.expand(own.shape)})
    agree(op, sample, module(sample.x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


def test_queries_from_the_class_token_are_timms() -> None:
    """VOLO's class attention, its output projection included."""
    source = Feature(3, 5, WIDTH, class_tokens=1)
    op, sample = attention("full", source, queries="class_token", output=True)
    assert op.target == Feature(1, 1, WIDTH)
    module = ClassAttention(WIDTH, HEADS, qkv_bias=True).double()
    weight, bias = sample.parameters["projection.weight"], sample.parameters["projection.bias"]
    copy(module, q__weight=weight[:WIDTH], kv__weight=weight[WIDTH:])
    copy(module, proj__weight=sample.parameters["output.weight"], proj__bias=sample.parameters["output.bias"])
    copy(module, q__bias=bias[:WIDTH], kv__bias=bias[WIDTH:])
    agree(op, sample, module(sample.x.flatten(1, 2)))


# ------------------------------------------------------------------ spaces in plain loops


def test_masked_halo_reads_only_the_map() -> None:
    """Blocks of 3 by 2 on 5 by 5 with a halo of 1 by 2: each block asks its surrounding, cut off at the border."""
    space = {"halo": {"size": [3, 2], "halo": [1, 2], "padding": "masked"}}
    op, sample = attention(space, Feature(5, 5, WIDTH))
    expected = torch.zeros_like(sample.x)
    for top in range(0, 5, 3):
        for left in range(0, 5, 2):
            block = sample.x[:, top : top + 3, left : left + 2]
            around = sample.x[:, max(0, top - 1) : top + 4, max(0, left - 2) : left + 4]
            query, (_, key, value) = qkv(sample, block.flatten(1, 2))[0], qkv(sample, around.flatten(1, 2))
            y = joined(F.scaled_dot_product_attention(query, key, value))
            expected[:, top : top + 3, left : left + 2] = y.unflatten(1, block.shape[1:3])
    agree(op, sample, expected)


def test_a_cross_is_a_row_and_a_column() -> None:
    """Criss-cross attention: 4 + 3 - 1 keys for each query, whose relative rows are numbered row first."""
    op, sample = attention("cross", Feature(3, 4, WIDTH), relative_bias=True)
    assert op.relative_offsets == (2 * 4 - 1) + (2 * 3 - 2)
    table = sample.parameters["relative_bias"]
    query, key, value = (part.unflatten(2, (3, 4)) for part in qkv(sample, sample.x.flatten(1, 2)))
    expected = torch.zeros_like(sample.x)
    for i in range(3):
        for j in range(4):
            keys = [(i, column, 3 + (j - column)) for column in range(4)]
            # Of column offsets -2, -1, 1, 2 (query minus key) the rows are 7, 8, 9, 10.
            keys += [(row, j, {-2: 7, -1: 8, 1: 9, 2: 10}[i - row]) for row in range(3) if row != i]
            logits = torch.stack([(query[:, :, i, j] * key[:, :, a, b]).sum(-1) / 2 + table[o] for a, b, o in keys], -1)
            weights = logits.softmax(-1)
            y = sum(weights[..., n, None] * value[:, :, a, b] for n, (a, b, _) in enumerate(keys))
            expected[:, i, j] = y.flatten(1)
    agree(op, sample, expected)


@pytest.mark.parametrize("by", ["convolution", "mean"])
def test_a_pooled_map_is_pvts(by: str) -> None:
    """Queries from x; keys and values from x reduced by 2 x 3 without its ragged end, then a layer norm."""
    op, sample = attention({"pooled": {"ratio": [2, 3], "by": by}}, Feature(5, 7, WIDTH))
    p, image = sample.parameters, sample.x.permute(0, 3, 1, 2)
    if by == "mean":
        reduced = F.avg_pool2d(image, (2, 3))
    else:
        reduced = F.conv2d(image, p["reduction.weight"], p["reduction.bias"], stride=(2, 3))
    reduced = reduced.flatten(2).mT
    reduced = F.layer_norm(reduced, (WIDTH,), p["reduction.norm.weight"], p["reduction.norm.bias"], 1e-5)
    assert reduced.shape[1] == 2 * 2
    query, (_, key, value) = qkv(sample, sample.x.flatten(1, 2))[0], qkv(sample, reduced)
    agree(op, sample, joined(F.scaled_dot_product_attention(query, key, value)))


def test_static_weights_of_a_pooled_map() -> None:
    op = layer({"pooled": {"ratio": 2, "by": "mean", "norm": "none"}}, Feature(4, 6, WIDTH), bias=False)
    sample = draw(op, 1)
    reduced = F.avg_pool2d(sample.x.permute(0, 3, 1, 2), 2).flatten(2).mT.unflatten(2, (HEADS, -1))
    agree(op, sample, torch.einsum("hnm,bmhc->bnhc", sample.parameters["weight"], reduced))


@pytest.mark.parametrize("options", [{}, {"relative_bias": True}])
def test_sliding_attention_has_no_keys_beyond_the_border(options: dict[str, Any]) -> None:
    """Neighbourhood attention: 3 by 5 taps, two apart across."""
    op, sample = attention({"sliding": {"size": [3, 5], "dilation": [1, 2]}}, Feature(4, 7, WIDTH), **options)
    query, key, value = (part.unflatten(2, (4, 7)) for part in qkv(sample, sample.x.flatten(1, 2)))
    expected = torch.zeros_like(sample.x)
    for i in range(4):
        for j in range(7):
            taps = [(i + u - 1, j + 2 * (v - 2), 5 * u + v) for u in range(3) for v in range(5)]
            taps = [(a, b, tap) for a, b, tap in taps if 0 <= a < 4 and 0 <= b < 7]
            logits = torch.stack([(query[:, :, i, j] * key[:, :, a, b]).sum(-1) / 2 for a, b, _ in taps], -1)
            if options:
                logits = logits + sample.parameters["relative_bias"][[tap for *_, tap in taps]].T
            weights = logits.softmax(-1)
            y = sum(weights[..., n, None] * value[:, :, a, b] for n, (a, b, _) in enumerate(taps))
            expected[:, i, j] = y.flatten(1)
    agree(op, sample, expected)


def test_a_table_for_larger_maps_is_used_in_its_centre() -> None:
    """A kernel over the offsets of 4 x 5 maps, on a map of 3 x 3: a convolution with zeros, cut to size."""
    op = layer({"full": {"largest": [4, 5]}}, Feature(3, 3, WIDTH), positions="offsets", share="none", bias=False)
    sample = draw(op, 1)
    kernel = sample.parameters["weight"]
    assert kernel.shape == (WIDTH, 7, 9)
    convolved = F.conv2d(sample.x.permute(0, 3, 1, 2), kernel[:, None], padding=(3, 4), groups=WIDTH)
    agree(op, sample, convolved.permute(0, 2, 3, 1))
