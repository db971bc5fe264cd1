"""Layers of torch and timm, measured: norms and attention over channels, pools, larger and smaller maps, one query."""

import warnings
from pathlib import Path

import pytest
import torch
from timm.layers.attention_pool2d import AttentionPool2d
from timm.layers.blur_pool import BlurPool2d
from timm.layers.grn import GlobalResponseNorm
from timm.layers.lambda_layer import LambdaLayer
from timm.layers.mixed_conv2d import MixedConv2d
from timm.models.cait import ClassAttn
from timm.models.davit import ChannelAttention
from timm.models.efficientformer import Attention as EfficientFormerAttention
from timm.models.inception_next import InceptionDWConv2d
from timm.models.metaformer import Pooling
from timm.models.sequencer import LSTM2d
from timm.models.xcit import XCA
from torch import Tensor, nn

import archspec
from archspec.probe.facts import Facts
from archspec.probe.networks import report_of
from archspec.probe.targets import Target, target_of


def probed(module: nn.Module, shape: tuple[int, ...], layout: str | None = None) -> Facts:
    return archspec.probe(module, shape, layout=layout)  # type: ignore[arg-type]


# ------------------------------------------------------------------ weights from sums over the image


@pytest.mark.parametrize(
    ("make", "shape", "layout"),
    [
        (lambda: XCA(32, num_heads=4), (64, 32), "nlc"),
        (lambda: ChannelAttention(32, num_heads=4), (64, 32), "nlc"),
        (lambda: nn.InstanceNorm2d(8), (8, 8, 8), "nchw"),
        (lambda: nn.GroupNorm(2, 8), (8, 8, 8), "nchw"),
        (lambda: GlobalResponseNorm(16), (8, 8, 16), "nhwc"),
    ],
    ids=["XCiT", "DaViT", "instance norm", "group norm", "global response norm"],
)
def test_attention_over_channels_and_norms_over_the_image_are_points(
    make: object, shape: tuple[int, ...], layout: str
) -> None:
    torch.manual_seed(0)
    found = probed(make(), shape, layout)  # type: ignore[operator]
    read = (str(found.space), found.dependence.words, found.dependence.reads)
    assert read == ("point", "dynamic homogeneous", "image")


def test_attention_with_a_shortcut_is_no_attention_over_channels() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.attention(x, x, x, need_weights=False)[0]
            return x + y

    torch.manual_seed(0)
    found = probed(Block(), (36, 16), "nlc")
    assert (str(found.space), found.dependence.words) == ("full", "dynamic pairwise")


# ------------------------------------------------------------------ channels that read differently


@pytest.mark.parametrize(
    ("make", "shape", "spaces"),
    [
        (
            lambda: MixedConv2d(12, 12, [3, 5, 7], depthwise=True),
            (12, 12, 12),
            ["sliding 3x3", "sliding 5x5", "sliding 7x7"],
        ),
        (
            lambda: InceptionDWConv2d(32),
            (32, 14, 14),
            ["point", "sliding 11x1", "sliding 1x11", "sliding 3x3"],
        ),
    ],
    ids=["MixNet", "InceptionNeXt"],
)
def test_kernels_of_several_sizes_are_parts(make: object, shape: tuple[int, ...], spaces: list[str]) -> None:
    torch.manual_seed(0)
    found = probed(make(), shape)  # type: ignore[operator]
    assert sorted(str(part.facts.space) for part in found.parts) == spaces
    assert {part.facts.channels.kind for part in found.parts} == {"separate"}


# ------------------------------------------------------------------ pools, one query, other maps


@pytest.mark.parametrize(
    ("module", "space"),
    [
        (nn.MaxPool2d(3, 1, 1), "sliding 3x3"),
        (nn.MaxPool2d(2), "sliding 2x2, stride 2x2"),
        (nn.AdaptiveMaxPool2d(1), "full"),
    ],
)
def test_a_maximum_is_a_choice_and_no_depthwise_convolution(module: nn.Module, space: str) -> None:
    found = probed(module, (3, 8, 8))
    assert (str(found.space), found.dependence.choice, found.row, found.holes) == (space, True, None, ())


@pytest.mark.parametrize(
    ("module", "space", "border"),
    [
        (nn.AvgPool2d(3, 1, 1), "sliding 3x3", False),
        (nn.AvgPool2d(3, 1, 1, count_include_pad=False), "sliding 3x3", True),
        (nn.AvgPool2d(2), "sliding 2x2, stride 2x2", False),
    ],
)
def test_a_mean_ties_all_that_a_position_reads(module: nn.Module, space: str, border: bool) -> None:
    found = probed(module, (4, 8, 8))
    assert (str(found.space), found.ties.positions, found.ties.border, found.ties.channels) == (
        space, "all", border, "all",
    )  # fmt: skip


def test_a_pool_less_what_it_stands_on_is_a_kernel_of_all_channels() -> None:
    found = probed(Pooling(), (8, 9, 9))
    assert (str(found.space), found.ties.positions, found.ties.border) == ("sliding 3x3", "offsets", True)
    assert (found.ties.channels, found.ties.mirrored) == ("all", ("left-right", "up-down"))


def test_a_blur_is_a_mirrored_kernel_with_a_stride() -> None:
    found = probed(BlurPool2d(8), (8, 12, 12))
    assert (str(found.space), found.ties.channels, found.ties.positions) == (
        "sliding 3x3, stride 2x2", "all", "offsets",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "shape", "layout"),
    [
        (lambda: ClassAttn(32, num_heads=4), (26, 32), "nlc"),
        (lambda: AttentionPool2d(32, feat_size=5, num_heads=4, embed_dim=32), (32, 5, 5), "nchw"),
    ],
    ids=["CaiT", "CLIP"],
)
def test_attention_of_one_query_reads_every_position(make: object, shape: tuple[int, ...], layout: str) -> None:
    torch.manual_seed(0)
    found = probed(make(), shape, layout)  # type: ignore[operator]
    assert (str(found.target), str(found.space), found.dependence.words) == ("1x1x32", "full", "dynamic pairwise")


@pytest.mark.parametrize(
    ("module", "space", "channels"),
    [
        (nn.ConvTranspose2d(8, 8, 2, stride=2), "point, onto a map 2x2 times larger", "full"),
        (nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1), "sliding 2x2, onto a map 2x2 times larger", "full"),
        (nn.PixelShuffle(2), "point, onto a map 2x2 times larger", "separate"),
        (nn.Upsample(scale_factor=2), "point, onto a map 2x2 times larger", "separate"),
    ],
    ids=["2x2", "4x4", "shuffle", "nearest"],
)
def test_a_map_may_grow(module: nn.Module, space: str, channels: str) -> None:
    found = probed(module, (8, 6, 6))
    assert (str(found.space), found.channels.kind, found.dependence.words) == (space, channels, "static")
    assert (found.ties.positions, found.equivariance.kind) == ("offsets", "any")
    assert found.nearest is not None
    assert [edit.axis for edit in found.nearest.edits] == ["space"]


@pytest.mark.parametrize(("size", "stride"), [((10, 10), 1), ((11, 11), 2), ((8, 8), 2)])
def test_a_convolution_without_padding_moves_with_its_stride(size: tuple[int, int], stride: int) -> None:
    torch.manual_seed(0)
    found = probed(nn.Conv2d(4, 6, 3, stride=stride), (4, *size))
    assert (found.space.kind, found.space.size, found.space.stride) == ("sliding", (3, 3), (stride, stride))
    assert found.row is not None
    assert (found.row.layer, found.ties.positions) == ("Conv.", "offsets")
    assert found.nearest is not None
    assert (found.nearest.edits, "padding: none" in found.nearest.yaml) == ((), True)
    if size != (8, 8):
        assert found.equivariance.period == (stride, stride)


# ------------------------------------------------------------------ what is hard to measure, or cannot be told


def test_a_module_that_does_not_return_itself_from_eval_is_measured() -> None:
    """timm's EfficientFormer and LeViT keep a cache, and their train() returns None."""
    torch.manual_seed(0)
    module = EfficientFormerAttention(32, key_dim=8, num_heads=4, resolution=5)
    assert module.eval() is None
    found = probed(module, (25, 32), "nlc")
    assert (found.row and found.row.layer, len(found.ties.channel_groups)) == ("Attention", 4)


def test_weights_that_hooks_compute_are_copied() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        module = nn.utils.weight_norm(nn.Conv2d(4, 4, 3, padding=1))
    module(torch.zeros(1, 4, 8, 8))
    assert (found := probed(module, (4, 8, 8)).row) is not None
    assert found.layer == "Conv."


def test_gradients_of_one_image_that_are_wrong_are_not_used() -> None:
    """torch 2.15 on the CPU: those of a lambda layer for a batch of one are not those of two."""
    torch.manual_seed(0)
    found = probed(LambdaLayer(32, num_heads=4, feat_size=(6, 6)), (32, 6, 6))
    assert (str(found.space), found.dependence.words) == ("full", "unknown")
    assert not any("gradient" in note for note in found.notes)


def test_a_map_of_one_position_is_a_point() -> None:
    """As the class token alone is, where a network calls a layer with nothing else."""
    torch.manual_seed(0)
    found = probed(nn.Sequential(nn.Linear(8, 8), nn.GELU()), (1, 8), "nlc")
    assert (str(found.space), found.dependence.words, found.equivariance.kind) == ("point", "static", "unknown")


def test_a_recurrent_layer_is_not_called_static() -> None:
    torch.manual_seed(0)
    found = probed(LSTM2d(16, 8), (7, 7, 16), "nhwc")
    assert (str(found.space), found.dependence.words, found.row) == ("cross", "unknown", None)


# ------------------------------------------------------------------ inside networks


class OfTorch(nn.Module):
    """A network in which attention is called with one map three times, as torch and torchvision write it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, stride=4)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).flatten(2).mT
        read: Tensor = self.attention(y, y, y, need_weights=False)[0]
        return read


def test_attention_that_is_given_one_map_three_times_is_measured() -> None:
    torch.manual_seed(0)
    report = report_of(Target("mine", OfTorch(), (3, 24, 24), "nchw"))
    assert report.skipped == ()
    rows = {facts.path: facts.row.layer for facts in report.layers if facts.row is not None}
    assert rows == {"stem": "Conv.", "attention": "Attention"}


def test_a_sequence_may_be_said_to_be_one_row(tmp_path: Path) -> None:
    file = tmp_path / "row_of_tokens.py"
    file.write_text("from torch import nn\n\n\ndef make():\n    return nn.Linear(8, 8)\n")
    target = target_of(f"{file}:make")
    assert str(report_of(target, (16, 8), "nlc").whole.source) == "4x4x8"  # type: ignore[union-attr]
    assert str(report_of(target, (16, 8), "nlc", grid=(1, 16)).whole.source) == "1x16x8"  # type: ignore[union-attr]
