"""Networks for dense tasks: the 16 published rows, what is counted, padding, and training on made-up objects."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip("torchvision")
pytest.importorskip("transformers")

import archspec
from archspec import dense
from archspec.dense.backbone import Backbone
from archspec.dense.boxes import HeadSize
from archspec.dense.costs import SIZES, backbone_macs, dense_cost
from archspec.dense.rows import ROWS, Row
from archspec.errors import DenseError

SIDE = 32


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.network}-{row.head}")
def test_published_rows(row: Row) -> None:
    found = dense_cost(row.network, row.head, norm=row.norm, multiple=row.multiple)
    assert found.params == row.params
    assert found.macs == row.macs
    assert round(row.params / 1e6) == row.paper_params_m
    # The authors' tool counts norms and activations as well: never less, and at most 0.6 % more.
    assert row.macs / 1e9 < row.paper_flops_g < row.macs / 1e9 * 1.006


def test_all_rows_are_there() -> None:
    assert len({(row.network, row.head) for row in ROWS}) == 16
    assert dense_cost("dw_conv_tiny", "upernet").backbone_params == 23_405_088


@pytest.mark.parametrize(("name", "multiple"), [("swin_tiny", None), ("dw_conv_tiny", 7), ("d_dw_conv_tiny", 7)])
def test_the_count_is_what_the_module_does(name: str, multiple: int | None) -> None:
    model = dense.upernet(name, multiple=multiple, device="meta").eval()
    height, width = SIZES["upernet"]
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, height, width, device="meta"))
    assert counter.get_total_flops() // 2 == dense_cost(name, "upernet", multiple=multiple).macs


def test_padding_is_what_the_released_backbone_does() -> None:
    """Each mixing branch by hand: zeros to a multiple of 7 (14x14 for 8x12), the branch, cut; then the channel MLP."""
    torch.manual_seed(0)
    plain = Backbone("dw_conv_nano", norm="none", seed=0).eval()
    for name, tensor in plain.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point():  # at first, zeros stay zeros and padding changes nothing
            tensor.copy_(torch.rand_like(tensor) + 0.5 if "running_var" in name else torch.randn_like(tensor) / 2)
    padded = Backbone("dw_conv_nano", norm="none", multiple=7, seed=0).eval()
    padded.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        found = padded(images)
        plain.features.run_at(32, 48)
        x = plain.features.stem(images.permute(0, 2, 3, 1))
        for stage in plain.features.stages.children():
            x = stage.downsample(x) if hasattr(stage, "downsample") else x
            for mix, mlp in (block.children() for block in stage.blocks.children()):
                x = mlp(x + by_hand(mix, x))
        torch.testing.assert_close(found[-1], x.permute(0, 3, 1, 2), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(found[-1], plain(images)[-1], rtol=1e-2, atol=1e-3)


def by_hand(mix: Any, x: Tensor) -> Tensor:
    height, width = x.shape[1:3]
    y = torch.nn.functional.pad(x, (0, 0, 0, -width % 7, 0, -height % 7)).permute(0, 3, 1, 2)
    for step in mix.children():
        own = dict(step.named_parameters()) | dict(step.named_buffers())
        kind = type(step.op).__name__
        if kind == "Norm":
            mean, variance = own["running_mean"], own["running_var"]
            y = torch.nn.functional.batch_norm(y, mean, variance, own["weight"], own["bias"], eps=step.op.eps)
        elif kind == "Activation":
            y = y.relu()
        elif kind == "Connect" and step.op.channels == "separate":
            weight = own["weight"].unflatten(-1, (7, 7)) if own["weight"].ndim == 2 else own["weight"]
            weight = weight.reshape(y.shape[1], 1, *weight.shape[-2:])
            y = torch.nn.functional.conv2d(y, weight, own["bias"], padding=weight.shape[-1] // 2, groups=y.shape[1])
        elif kind == "Connect":
            y = torch.nn.functional.conv2d(y, own["weight"][:, :, None, None])
    return y.permute(0, 2, 3, 1)[:, :height, :width]


def test_padded_at_several_sizes_and_back() -> None:
    model = Backbone("d_dw_conv_nano", multiple=7, seed=0).eval()
    first = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        before = model(first)
        assert [tuple(y.shape[2:]) for y in model(torch.randn(1, 3, 56, 56))] == [(28, 28), (14, 14), (7, 7)]
        after = model(first)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_padding_costs_what_it_costs() -> None:
    network = archspec.load("dw_conv_tiny")
    assert backbone_macs(network, (224, 224), 7) == backbone_macs(network, (224, 224))  # 56, 28, 14, 7
    assert backbone_macs(network, (512, 2048), 7) > 1.02 * backbone_macs(network, (512, 2048))


def test_what_a_backbone_normalises_by() -> None:
    assert isinstance(Backbone("dw_conv_nano").norms[0], torch.nn.BatchNorm2d)
    assert type(Backbone("swin_nano").norms[0]).__name__ == "LayerNorm2d"
    efficientnet = Backbone("efficientnet_b0", device="meta")
    assert efficientnet.reductions == [4, 8, 16, 32]
    assert efficientnet.channels == [24, 40, 112, 320]  # the last of each resolution


def test_upernet_learns_a_fixed_batch() -> None:
    images, targets = scene()
    model = dense.upernet("swin_nano", classes=3, width=16, seed=0).train()
    losses = learn(model, (images, targets), steps=20)
    assert losses[-1] < 0.7 * losses[0]
    assert model.eval()(images).shape == (2, 3, SIDE, SIDE)


def test_cascade_learns_a_fixed_batch() -> None:
    images, _ = scene()
    boxes = torch.tensor([[4.0, 6.0, 18.0, 28.0], [16.0, 2.0, 31.0, 14.0]])
    masks = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    some = {"boxes": boxes, "labels": torch.tensor([1, 3]), "masks": masks}
    none = {"boxes": boxes[:0], "labels": some["labels"][:0], "masks": masks[:0]}
    head = HeadSize(width=16, hidden=32, sampled=16)
    model = dense.cascade_mask_rcnn("swin_nano", classes=3, min_size=SIDE, max_size=SIDE, head=head, seed=0).train()
    losses = learn(model, (list(images), [some, none]), steps=20)
    assert losses[-1] < 0.8 * losses[0]
    found = model.eval()(list(images))
    assert len(found) == 2
    assert found[0].keys() == {"boxes", "labels", "scores", "masks"}
    assert found[0]["masks"].shape == (len(found[0]["boxes"]), 1, SIDE, SIDE)
    assert ((found[0]["labels"] >= 1) & (found[0]["labels"] <= 3)).all()


def scene() -> tuple[Tensor, Tensor]:
    """Two images with a bright rectangle of class 2, and the border left uncounted."""
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    targets = torch.zeros(2, SIDE, SIDE, dtype=torch.long)
    targets[:, 8:16, 4:20] = 2
    targets[:, :1] = 255
    images[:, 0, 8:16, 4:20] += 1
    return images, targets


def learn(model: Any, batch: tuple[Any, Any], steps: int) -> list[float]:
    """The losses of some steps; each step reaches every parameter."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    torch.manual_seed(0)
    for _ in range(steps):
        said = model(*batch)
        loss = sum(said.values())
        optimizer.zero_grad()
        loss.backward()
        assert [name for name, tensor in model.named_parameters() if tensor.grad is None] == []
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_seeds() -> None:
    one, same, other = (dense.upernet("swin_nano", classes=3, width=16, seed=seed) for seed in (0, 0, 1))
    states = [model.state_dict() for model in (one, same, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["decode_head.classifier.weight"], states[2]["decode_head.classifier.weight"])


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"norm": "bach"}, "norm is one of layer, batch, none; found 'bach'"),
        ({"multiple": 0}, "multiples of 1 or more; found 0"),
        ({"drop_path": 1.0}, "drop_path is a rate .* found 1.0"),
        ({"classes": 0}, "at least 1 class; found 0"),
    ],
)
def test_options_that_there_are_not(options: dict[str, Any], rule: str) -> None:
    for make in (dense.upernet, dense.cascade_mask_rcnn):
        with pytest.raises(DenseError, match=rule):
            make("swin_nano", **options, device="meta")


def test_inputs_that_are_none() -> None:
    with pytest.raises(DenseError, match="one of upernet, cascade_mask_rcnn; found 'fpn'"):
        dense_cost("swin_nano", "fpn")
    segments = dense.upernet("swin_nano", classes=3, width=16).train()
    with pytest.raises(DenseError, match="two images or more"):
        segments(torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, SIDE, SIDE, dtype=torch.long))
    detects = dense.cascade_mask_rcnn("swin_nano", classes=3, min_size=SIDE, max_size=SIDE).train()
    images = [torch.rand(3, SIDE, SIDE)]
    right = {
        "boxes": torch.tensor([[4.0, 6.0, 18.0, 28.0]]),
        "labels": torch.tensor([1]),
        "masks": torch.zeros(1, SIDE, SIDE),
    }
    with pytest.raises(DenseError, match=r"tensors \(3, H, W\)"):
        detects([torch.rand(1, SIDE, SIDE)], [right])
    for wrong, rule in (
        ({"labels": torch.tensor([0])}, "from 1 to 3"),
        ({"labels": torch.tensor([4])}, "from 1 to 3"),
        ({"labels": torch.tensor([1, 2])}, "a label and a mask for each box"),
    ):
        with pytest.raises(DenseError, match=rule):
            detects(images, [{**right, **wrong}])
    del right["masks"]
    with pytest.raises(DenseError, match="has boxes, labels and masks"):
        detects(images, [right])
    with pytest.raises(DenseError, match="targets for each image"):
        detects(images, [])


def test_backbones_are_of_what_is_written() -> None:
    with pytest.raises(TypeError, match="a name, a path or a network"):
        Backbone(3)
