"""timm's own layers, measured, beside Table 1 of the paper; targets, networks and the command."""

import json
from pathlib import Path

import pytest
import torch
from timm.layers.bottleneck_attn import BottleneckAttn
from timm.layers.global_context import GlobalContext
from timm.layers.halo_attn import HaloAttn
from timm.layers.selective_kernel import SelectiveKernel
from timm.layers.split_attn import SplitAttn
from timm.layers.squeeze_excite import SEModule
from timm.models.mlp_mixer import SpatialGatingUnit
from timm.models.swin_transformer import WindowAttention
from timm.models.vision_transformer import Attention
from timm.models.volo import OutlookAttention
from torch import nn
from typer.testing import CliRunner

import archspec
from archspec.cli.app import app
from archspec.errors import ProbeError
from archspec.probe.facts import Facts
from archspec.probe.networks import report_of
from archspec.probe.targets import target_of

# layer, shape, layout -> row of Table 1, space, channels that share weights: groups of how many
CASES = {
    "ViT attention": (lambda: Attention(16, num_heads=2, qkv_bias=True), (25, 16), "nlc", "Attention", "full", 8),
    "ViT with class token": (lambda: Attention(16, num_heads=4), (26, 16), "nlc", "Attention", "full", 4),
    "Swin window attention": (
        lambda: WindowAttention(16, num_heads=2, window_size=5), (25, 16), "nlc", "Attention", "full", 8,
    ),
    "HaloNet": (
        lambda: HaloAttn(16, num_heads=2, block_size=4, halo_size=1, qk_ratio=1.0), (16, 12, 12), "nchw",
        "Local attention", "halo 4x4 + 1x1", 8,
    ),
    "BoTNet": (lambda: BottleneckAttn(16, feat_size=(5, 5), num_heads=2), (16, 5, 5), "nchw", "Attention", "full", 8),
    "VOLO outlook": (
        lambda: OutlookAttention(16, num_heads=2, kernel_size=3, stride=2), (12, 12, 16), "nhwc",
        "Inhomogeneous dynamic conv.", "overlapping windows 3x3, stride 2x2", 8,
    ),
    "ConvNeXt depth-wise": (
        lambda: nn.Conv2d(8, 8, 7, padding=3, groups=8), (8, 14, 14), "nchw", "Depth-wise conv.", "sliding 7x7", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_layers_of_timm_measure_as_the_rows_of_table_1(name: str) -> None:
    make, shape, layout, row, space, shared = CASES[name]
    torch.manual_seed(0)
    found = archspec.probe(make(), shape, layout=layout)  # type: ignore[arg-type]
    assert found.row is not None
    assert (found.row.layer, found.row.differences, str(found.space)) == (row, (), space)
    assert {len(group) for group in found.ties.channel_groups} == ({shared} if shared > 1 else set())


@pytest.mark.parametrize(
    "module",
    [
        SEModule(16, rd_channels=4),
        GlobalContext(16, rd_channels=4),
        GlobalContext(16, rd_channels=16, fuse_add=True, fuse_scale=False),
    ],
    ids=["squeeze-excite", "global context", "global context, added"],
)
def test_what_a_sum_over_the_image_controls_is_a_dynamic_homogeneous_point(module: nn.Module) -> None:
    found = archspec.probe(module, (16, 8, 8))
    read = (str(found.space), found.dependence.words, found.dependence.reads, found.channels.kind)
    assert read == ("point", "dynamic homogeneous", "image", "separate")


@pytest.mark.parametrize(
    "module",
    [SplitAttn(16, radix=2, rd_channels=8, norm_layer=nn.BatchNorm2d), SelectiveKernel(16, rd_channels=8)],
    ids=["split attention", "selective kernel"],
)
def test_a_convolution_and_what_controls_it_in_one_module_is_no_attention(module: nn.Module) -> None:
    found = archspec.probe(module, (16, 9, 9))
    assert (found.dependence.kind, found.dependence.reads, found.row) == ("unknown", "image", None)
    assert any("could not be told" in note for note in found.notes)


def test_a_nonlinear_mean_is_a_mean() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Upsample(8))
    found = archspec.probe(module, (16, 8, 8))
    assert (found.space.kind, found.dependence.words, found.dependence.elementwise) == ("mean", "static", True)


def test_a_spatial_gate_is_static_between_functions_of_positions() -> None:
    torch.manual_seed(0)
    found = archspec.probe(SpatialGatingUnit(8, 25), (25, 8), layout="nlc")
    assert (found.space.kind, found.dependence.words, found.dependence.elementwise) == ("full", "static", True)


def layers_of(target: str, inner: str = "") -> dict[str, Facts]:
    report = report_of(target_of(target, inner))
    assert report.skipped == ()
    return {facts.path: facts for facts in (*report.layers, *([report.whole] if report.whole else []))}


def test_the_token_mixing_of_timms_mixer_is_found_layer_by_layer() -> None:
    """It is called with transposed maps, and its two layers have an activation between."""
    found = layers_of("timm:mixer_s32_224", "blocks.0.mlp_tokens.fc1")["blocks.0.mlp_tokens.fc1"]
    assert found.row is not None
    assert (found.row.layer, found.row.differences) == ("Channel-separable MLP", ())


def test_a_module_of_timm_by_its_path() -> None:
    found = layers_of("timm:convnext_atto.stages.3.blocks.0.conv_dw")["stages.3.blocks.0.conv_dw"]
    assert (str(found.space), found.row and found.row.layer) == ("sliding 7x7", "Depth-wise conv.")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("timm:swin_tinny_patch4_window7_224", "nearest: swin_tiny_patch4_window7_224"),
        ("timm:convnext_atto.stages.3.blocks.0.conv_d", "nearest: stages.3.blocks.0.conv_d"),
        ("python:no_such_module:f", "can be imported"),
        ("python:torch.nn", "python:MODULE:CALLABLE"),
        ("nowhere.py:f", "a file that is there"),
    ],
)
def test_targets_that_are_not_there_are_answered_with_what_is(target: str, words: str) -> None:
    with pytest.raises(ProbeError, match=words):
        report_of(target_of(target))


def test_the_command_on_a_file_of_the_user(tmp_path: Path) -> None:
    file = tmp_path / "mine_probed.py"
    file.write_text("from torch import nn\n\n\ndef make():\n    return nn.Conv2d(4, 4, 3, padding=1, groups=4)\n")
    runner = CliRunner()
    shown = runner.invoke(app, ["probe", f"{file}:make", "--shape", "4,8,8"])
    assert shown.exit_code == 0, shown.output
    assert "Depth-wise conv." in shown.output
    data = json.loads(runner.invoke(app, ["probe", f"{file}:make", "--shape", "4,8,8", "--json"]).stdout)
    assert data["whole"]["space"]["kind"] == "sliding"
    assert runner.invoke(app, ["probe", f"{file}:make"]).exit_code == 1


def test_a_whole_network_layer_by_layer() -> None:
    found = layers_of("layer_separable_mlp")
    rows = {path: facts.row.layer for path, facts in found.items() if facts.row is not None}
    assert rows["stages.0.blocks.0.0"] == "Channel-separable MLP"
    assert rows["stages.0.blocks.0.1"] == "1x1 Conv."


def test_a_block_has_the_weights_of_the_one_layer_through_which_it_reads() -> None:
    report = report_of(target_of("swin_nano", "stages.0.blocks.0"))
    assert report.whole is not None
    assert (str(report.whole.space), report.whole.dependence.words) == ("window 4x4", "dynamic pairwise")
    assert report.whole.row is not None
    assert report.whole.row.layer == "Local attention"
    assert report.whole.equivariance.period == (4, 4)
    assert [facts.space.kind for facts in report.layers].count("point") == len(report.layers) - 1
