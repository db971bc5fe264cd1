"""The oracle against the layers and networks of torch and timm, and against formulas of the paper in plain loops.

Legend: B batch; H, W height and width; C channels.
"""

from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.swin_transformer import PatchMerging, SwinTransformerBlock
from torch import Tensor, nn

from archspec import ir, reference
from archspec.ir import Connect, Feature, Sliding, Window
from archspec.reference.pointwise import activation
from archspec.resolve import resolve
from archspec.schema.load import network_from
from archspec.schema.source import read_text
from archspec.testing import Layer, draw, resolve_steps

EXACT = {"rtol": 0, "atol": 1e-12}
MAP = Feature(5, 7, 6)


def connection(space: Any, source: Feature, channels: Any = "separate", **more: Any) -> Connect:
    """A layer as written; sharing is over offsets unless said otherwise."""
    sharing = {"positions": more.pop("positions", "offsets"), "channels": more.pop("share", "none")}
    layer = {"connectivity": {"space": space, "channels": channels}, "sharing": sharing, "weights": "static"}
    (op,) = Layer(layer | more, source).connections
    return op


@pytest.mark.parametrize(
    ("space", "padding"),
    [
        ({"sliding": 3}, (1, 1)),
        ({"sliding": {"size": [3, 5], "dilation": [2, 1], "stride": [2, 3]}}, (2, 2)),
        ({"sliding": {"size": [4, 3], "padding": "none"}}, (0, 0)),
    ],
)
@pytest.mark.parametrize(("channels", "groups"), [("full", 1), ({"groups": 2}, 2), ("separate", 6)])
def test_convolution_is_torchs(space: Any, padding: tuple[int, int], channels: Any, groups: int) -> None:
    source = Feature(8, 11, 6)
    op = connection(space, source, channels, bias=True, **({} if groups == 6 else {"width": 4}))
    sample = draw(op, 1)
    assert isinstance(op.space, Sliding)
    weight = sample.parameters["weight"].reshape(op.target.channels, -1, *op.space.size)
    expected = F.conv2d(
        sample.x.permute(0, 3, 1, 2),
        weight,
        sample.parameters["bias"],
        op.space.stride,
        padding,
        op.space.dilation,
        groups,
    )
    # A stride may leave torch one row more or less at the end than ceil(size / stride).
    expected = expected.permute(0, 2, 3, 1)[:, : op.target.height, : op.target.width]
    torch.testing.assert_close(reference.apply(op, sample.parameters, sample.x), expected, **EXACT)


@pytest.mark.parametrize(("size", "shift", "source"), [
    ((3, 4), (0, 0), Feature(6, 8, 6)),
    ((3, 4), (1, 2), Feature(6, 8, 6)),
    ((3, 4), (0, 0), Feature(7, 9, 6)),
])  # fmt: skip
def test_window_attention_is_timms(size: tuple[int, int], shift: tuple[int, int], source: Feature) -> None:
    """Shifted on whole windows, and padded unshifted: timm pads after it shifts, Swin's authors do so before."""
    attention = {"attention": {"relative_bias": True}}
    space = {"window": {"size": list(size), "shift": list(shift)}}
    op = connection(space, source, positions="none", share={"groups": 2}, weights=attention)
    sample = draw(op, 2)
    block = SwinTransformerBlock(6, (source.height, source.width), 2, None, size, shift, dynamic_mask=True).double()
    block.attn.proj = nn.Identity()
    with torch.no_grad():
        block.attn.qkv.weight.copy_(sample.parameters["projection.weight"])
        block.attn.qkv.bias.copy_(sample.parameters["projection.bias"])
        block.attn.relative_position_bias_table.copy_(sample.parameters["relative_bias"])
        expected = block._attn(sample.x)
    torch.testing.assert_close(reference.apply(op, sample.parameters, sample.x), expected, **EXACT)


def test_full_attention_is_torchs() -> None:
    weights = {"attention": {"value": False, "bias": False}}
    op = connection("full", Feature(3, 5, 6), positions="none", share={"groups": 3}, weights=weights)
    sample = draw(op, 3)
    flat = sample.x.flatten(1, 2)
    query, key = (flat @ part.T for part in sample.parameters["projection.weight"].chunk(2))
    heads = [part.unflatten(2, (3, 2)).transpose(1, 2) for part in (query, key, flat)]
    expected = F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(sample.x.shape)
    torch.testing.assert_close(reference.apply(op, sample.parameters, sample.x), expected, **EXACT)


def test_masked_padding_is_no_key() -> None:
    """Of windows of 2 by 2 on 3 by 3, the last holds one position, which can read only itself."""
    weights = {"attention": {"bias": False}}
    space = {"window": {"size": 2, "padding": "masked"}}
    op = connection(space, Feature(3, 3, 4), positions="none", share={"groups": 2}, weights=weights)
    sample = draw(op, 4)
    y = reference.apply(op, sample.parameters, sample.x)
    torch.testing.assert_close(y[:, 2, 2], sample.x[:, 2, 2] @ sample.parameters["projection.weight"][8:].T, **EXACT)
    unmasked = replace(op, space=Window((2, 2), (0, 0), masked=False))
    padded = reference.apply(unmasked, sample.parameters, sample.x)
    torch.testing.assert_close(padded[:, :2, :2], y[:, :2, :2], **EXACT)
    assert not torch.allclose(padded[:, 2, 2], y[:, 2, 2], atol=1e-3)


def test_pooled_weights_are_the_module_of_the_paper() -> None:
    """Appendix D of arXiv 2106.04263: pool, linear, batch norm, relu, linear, a depth-wise kernel per image."""
    op = connection({"sliding": [3, 5]}, Feature(5, 7, 6), weights={"pooled": {"reduction": 2}}, bias=False)
    sample = draw(op, 5)
    norm = nn.BatchNorm1d(3).double()
    norm.load_state_dict(state_of(sample.parameters))
    hidden = norm(sample.x.mean((1, 2)) @ sample.parameters["reduce.weight"].T).relu()
    predicted = F.linear(hidden, sample.parameters["predict.weight"], sample.parameters["predict.bias"])
    y = reference.apply(op, sample.parameters, sample.x, training=True)
    for b in range(len(y)):
        kernel = predicted[b].reshape(3, 5, 6).permute(2, 0, 1)[:, None]
        image = sample.x[b].permute(2, 0, 1)
        torch.testing.assert_close(y[b].permute(2, 0, 1), F.conv2d(image, kernel, padding=(1, 2), groups=6), **EXACT)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(sample.parameters[f"norm.{name}"], getattr(norm, name), **EXACT)


def state_of(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    own = {name.removeprefix("norm."): value for name, value in parameters.items() if name.startswith("norm.")}
    return {name: value.clone() for name, value in own.items()} | {"num_batches_tracked": torch.tensor(0)}


def test_local_weights_are_an_involution() -> None:
    """Eq. 18: y_i = sum over the window of i of w(x_i)_j x_j, one kernel for each group of channels."""
    options = {"reduction": 2, "norm": "none", "act": "tanh"}
    op = connection({"sliding": 3}, Feature(4, 5, 6), positions="none", share={"groups": 2}, weights={"local": options})
    sample = draw(op, 6, batch=1)
    p, x = sample.parameters, sample.x[0]
    y = reference.apply(op, p, sample.x)[0]
    for row in range(4):
        for column in range(5):
            hidden = torch.tanh(p["reduce.weight"] @ x[row, column] + p["reduce.bias"])
            kernel = (p["predict.weight"] @ hidden + p["predict.bias"]).reshape(3, 3, 2)
            expected = torch.zeros(6, dtype=torch.float64)
            for down in range(3):
                for right in range(3):
                    i, j = row + down - 1, column + right - 1
                    if 0 <= i < 4 and 0 <= j < 5:
                        expected += kernel[down, right].repeat_interleave(3) * x[i, j]
            torch.testing.assert_close(y[row, column], expected, **EXACT)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_torchs(training: bool) -> None:
    (op,) = resolve_steps([{"norm": {"batch": {"eps": 0.01}}}], MAP)
    sample = draw(op, 7)
    norm = nn.BatchNorm2d(6, eps=0.01).double().train(training)
    norm.load_state_dict(sample.copy(False).parameters | {"num_batches_tracked": torch.tensor(0)})
    y = reference.apply(op, sample.parameters, sample.x, training)
    torch.testing.assert_close(y, norm(sample.x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), **EXACT)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(sample.parameters[name], getattr(norm, name), **EXACT)


def test_layer_norm_is_torchs() -> None:
    (op,) = resolve_steps([{"norm": {"layer": {"eps": 0.01}}}], MAP)
    sample = draw(op, 8)
    expected = F.layer_norm(sample.x, (6,), sample.parameters["weight"], sample.parameters["bias"], 0.01)
    torch.testing.assert_close(reference.apply(op, sample.parameters, sample.x), expected, **EXACT)


@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "tanh", "sigmoid", "hardswish"])
def test_activations_are_torchs(name: str) -> None:
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    torch.testing.assert_close(activation(name, x), getattr(F, name)(x), rtol=0, atol=1e-14)


def test_gather_is_timms_patch_merging() -> None:
    (op,) = resolve_steps([{"gather": 2}], Feature(6, 8, 5))
    sample = draw(op, 9)
    merging = PatchMerging(5, norm_layer=nn.Identity)
    merging.reduction = nn.Identity()
    torch.testing.assert_close(reference.apply(op, {}, sample.x), merging(sample.x), **EXACT)


VIT = """
archspec: 1
name: vit
input: {size: [8, 12]}
classes: 7
stem: {patch: 4, class_token: true, position_embedding: true}
stages: [{width: 12, depth: 2, block: encoder}]
head: {norm: {layer: {eps: 1.0e-6}}, pool: class_token}
blocks:
  encoder:
    - residual:
        - norm: {layer: {eps: 1.0e-6}}
        - connect:
            connectivity: {space: full, channels: separate}
            sharing: {positions: none, channels: {groups: 3}}
            weights: attention
        - linear: {}
    - residual: [{norm: {layer: {eps: 1.0e-6}}}, {mlp: {ratio: 2, act: gelu}}]
"""


def test_a_whole_network_is_timms() -> None:
    """A small vision transformer: tokens, embeddings, attention, MLP, residual branches, head."""
    program = resolve(network_from(read_text(VIT, "vit.yaml")))
    torch.manual_seed(0)
    model = timm.models.VisionTransformer(
        img_size=(8, 12), patch_size=4, num_classes=7, embed_dim=12, depth=2, num_heads=3, mlp_ratio=2
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    images = torch.randn(3, 3, 8, 12, dtype=torch.float64)
    # Both list their parameters from the image to the logits, but timm its tokens first.
    theirs = list(model.state_dict().items())
    theirs = [*theirs[2:4], *theirs[:2], *theirs[4:]]
    table = ir.parameter_table(program)
    parameters = {name: value.reshape(row.shape) for (name, row), (_, value) in zip(table.items(), theirs, strict=True)}
    found = reference.run(program, parameters, images)
    torch.testing.assert_close(found, model(images), rtol=0, atol=1e-10)
