"""Networks that timm has not, or not with these options: equal outputs and gradients with weights copied over."""

from pathlib import Path
from typing import Any

import independent_networks as independent
import pytest
import torch
import yaml
from torch import nn

import archspec
from archspec.ir import parameter_table
from archspec.module import Network
from archspec.schema.load import spec_path

CLASSES = 11


def smaller(name: str, folder: Path, size: int, stages: list[tuple[int, int]]) -> Network:
    """A network of the zoo at a small size: only its first stages, of these (width, depth), without drop path."""
    data = yaml.safe_load(spec_path(name).read_text())
    data |= {"input": {"size": size}, "classes": CLASSES, "drop_path": 0.0, "stages": data["stages"][: len(stages)]}
    for stage, (width, depth) in zip(data["stages"], stages, strict=True):
        stage |= {"width": width, "depth": depth}
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(data))
    module = archspec.compile(file, seed=0)
    assert isinstance(module, Network)
    return module


def copy_weights(ours: Network, theirs: nn.Module) -> None:
    """Both list their tensors in the order of use; those of theirs are first made all different from their start."""
    generator = torch.Generator().manual_seed(0)
    rows = {name: tensor for name, tensor in theirs.state_dict().items() if tensor.is_floating_point()}
    own, order = ours.state_dict(), parameter_table(ours.program)
    with torch.no_grad():
        for (name, tensor), ours_name in zip(rows.items(), order, strict=True):
            noise = 0.1 * torch.randn(tensor.shape, generator=generator)
            tensor.add_(noise.abs() if name.endswith("running_var") else noise)
            own[ours_name].copy_(tensor.reshape(own[ours_name].shape))


def compare(ours: nn.Module, theirs: nn.Module, size: int, training: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, size, size, generator=generator)
    direction = torch.randn(3, CLASSES, generator=generator)
    found = []
    for module in (ours, theirs):
        module.train(training)
        x = images.clone().requires_grad_()
        logits = module(x)
        (gradient,) = torch.autograd.grad((logits * direction).sum(), x)
        found.append((logits.detach(), gradient))
    for mine, reference in zip(*found, strict=True):
        assert (mine - reference).abs().max() <= 1e-4 * reference.abs().max()


@pytest.mark.parametrize("name", ["pvt_small", "pvt_medium", "pvt_large"])
def test_pvt(name: str, tmp_path: Path) -> None:
    widths, depths = (64, 128, 320, 512), (1, 2, 1, 1)
    ours = smaller(name, tmp_path, 64, list(zip(widths, depths, strict=True)))
    theirs = independent.PyramidVisionTransformer(64, CLASSES, widths, depths)
    copy_weights(ours, theirs)
    compare(ours, theirs, 64, training=False)


WIDTHS = [(32, 2), (64, 2)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("swin_tiny", {}),
        ("swin_tiny_384_window7", {}),
        ("swin_tiny_no_bias", {"bias": False}),
        ("swin_tiny_se", {"excite": 16}),
        ("swin_tiny_batch_norm", {"norm": "batch", "outer": "batch"}),
        ("swin_tiny_ccbn", {"norm": "centred"}),
        ("swin_tiny_384_window12", {"window": 12, "shift": 6}),
        ("swin_tiny_group_width_8", {"per_head": 8}),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_swin_and_its_ablations(name: str, options: dict[str, Any], training: bool, tmp_path: Path) -> None:
    options = {"norm": "layer", "outer": "layer", "bias": True, "excite": 0, "window": 7, "shift": 3} | options
    per_head, outer = options.pop("per_head", 32), options.pop("outer")
    size = 72 if options["window"] == 7 else 96  # maps of 18 and 9, which windows of 7 pad; or 24 and 12
    ours = smaller(name, tmp_path, size, WIDTHS)
    shift = options.pop("shift")
    stages = [
        [independent.SwinBlock(width, width // per_head, shift=shift * (k % 2), **options) for k in range(depth)]
        for width, depth in WIDTHS
    ]
    theirs = independent.HierarchicalNetwork(CLASSES, stages, 32, outer)
    copy_weights(ours, theirs)
    compare(ours, theirs, size, training)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dw_conv_tiny", {}),
        ("dw_conv_tiny_384", {}),
        ("dw_conv_tiny_384_12x12", {"size": 12}),
        ("dw_conv_tiny_se", {"excite": 16}),
        ("dw_conv_tiny_layer_norm", {"norm": "layer"}),
        ("dw_conv_tiny_ccbn", {"norm": "centred"}),
        ("dw_conv_tiny_extra_dw", {"extra": True}),
        ("dw_conv_tiny_extra_dw_se", {"extra": True, "excite": 16}),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_depthwise_networks_and_their_ablations(
    name: str, options: dict[str, Any], training: bool, tmp_path: Path
) -> None:
    options = {"size": 7, "norm": "batch", "extra": False, "excite": 0} | options
    ours = smaller(name, tmp_path, 56, WIDTHS)
    stages = [[independent.DepthwiseBlock(width, **options) for _ in range(depth)] for width, depth in WIDTHS]
    theirs = independent.HierarchicalNetwork(CLASSES, stages, 32, "layer")
    copy_weights(ours, theirs)
    compare(ours, theirs, 56, training)
