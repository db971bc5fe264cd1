"""Named networks as models of timm: names, options, weights from files, heads, features; timm's own checks on a few.

timm's whole tests/test_models.py runs over all names by tests/run_timm_tests.py.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file, save_model
from timm.models import FeatureInfo, group_parameters, is_model
from torch import Tensor

import archspec
from archspec import ir
from archspec.errors import SpecError
from archspec.resizing.networks import resized
from archspec.resizing.weights import resized_weights
from archspec.resolve import resolve
from archspec.timm_names import PREFIX

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
# A plain one, one with a class token, one that classifies in the steps of its head, one with several maps at once.
KINDS = ["swin_nano", "deit_small", "volo_d1", "hrnet_w18"]


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_archspec_imports_neither_timm_nor_torch() -> None:
    assert run("import archspec, sys; print([m for m in ('timm', 'torch') if m in sys.modules])") == "[]"


@pytest.mark.parametrize("order", ["import archspec, timm", "import timm, archspec", "import archspec, timm.models"])
def test_names_are_there_in_either_order(order: str) -> None:
    code = f"{order}; import timm; print(len(timm.list_models('archspec/*')) == len(archspec.names()) > 100)"
    assert run(code) == "True"


def test_timm_is_as_it_was_otherwise() -> None:
    from timm.models import _factory

    assert not any(type(finder).__name__ == "_WhenImported" for finder in sys.meta_path)
    assert _factory.parse_model_name("resnet18")[1] == "resnet18"
    assert is_model("resnet18")
    with pytest.raises(ValueError, match="looks like"):
        timm.create_model("somebody/resnet18")
    with pytest.raises(RuntimeError, match="Unknown model"):
        timm.create_model(f"{PREFIX}swin_tinny")


def test_what_timm_knows_before_a_network_is_made() -> None:
    cfg = timm.get_pretrained_cfg(f"{PREFIX}swin_tiny_384_window12")
    assert (cfg.input_size, cfg.num_classes, cfg.fixed_input_size) == ((3, 384, 384), 1000, True)


def test_the_checkpoint_is_archspecs(tmp_path: Path) -> None:
    ours = archspec.compile("swin_nano", seed=0).eval()
    path = str(tmp_path / "swin_nano.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in ours.state_dict().items()}, path)
    name = f"{PREFIX}swin_nano"
    with torch.no_grad():
        wanted = ours(IMAGES)
        by_path = timm.create_model(name, checkpoint_path=path).eval()
        by_cfg = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": path}).eval()
        torch.testing.assert_close(by_path(IMAGES), wanted, rtol=0, atol=0)
        torch.testing.assert_close(by_cfg(IMAGES), wanted, rtol=0, atol=0)
        from_file = {"pretrained": True, "pretrained_cfg_overlay": {"file": path}}
        maps = timm.create_model(name, **from_file, features_only=True).eval()
        backbone = archspec.compile("swin_nano", features=True).eval()
        backbone.load_state_dict(ours.state_dict())
        for one, other in zip(maps(IMAGES), backbone(IMAGES), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
    # Another number of classes or of channels takes what fits, as timm does.
    adapted = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": path}, num_classes=7, in_chans=1)
    own = dict(adapted.named_parameters())
    torch.testing.assert_close(own["stem.0.weight"], ours.state_dict()["stem.0.weight"].sum(1, keepdim=True))
    torch.testing.assert_close(own["stages.0.blocks.0.0.0.weight"], ours.state_dict()["stages.0.blocks.0.0.0.weight"])
    assert own["head.classifier.weight"].shape[0] == 7


@pytest.mark.parametrize("name", ["pvt_nano", "multi_scale_conv_nano"])
def test_timm_saves_and_reads_it(name: str, tmp_path: Path) -> None:
    model = timm.create_model(PREFIX + name, num_classes=5, img_size=48).eval()
    timm.models.save_for_hf(model, str(tmp_path), safe_serialization=True)
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(again(images), model(images), rtol=0, atol=0)


@pytest.mark.parametrize("name", KINDS)
def test_parameters_are_contiguous(name: str) -> None:
    """What safetensors asks for."""
    model = timm.create_model(PREFIX + name, device="meta")
    assert [n for n, tensor in model.state_dict().items() if not tensor.is_contiguous()] == []


@pytest.mark.parametrize("options", [{}, {"num_classes": 3, "in_chans": 1}, {"features_only": True}])
def test_a_checkpoint_of_another_image_size_is_resized(options: dict[str, Any], tmp_path: Path) -> None:
    ours, path = archspec.compile("mixer_nano", seed=0), str(tmp_path / "mixer.safetensors")
    save_model(ours, path)
    file = {"pretrained": True, "pretrained_cfg_overlay": {"file": path}}
    larger = timm.create_model(f"{PREFIX}mixer_nano", img_size=(32, 64), **file, **options)
    old, new = ours.program, resolve(resized(archspec.load("mixer_nano"), (32, 64)))
    wanted = resized_weights(ours.state_dict(), old, new)
    (name,) = [n for n in wanted if n.startswith("stages.0.blocks.0.0") and n.endswith("first.weight")]
    own = dict(larger.named_parameters())
    found = next(tensor for each, tensor in own.items() if each.endswith(name))
    assert wanted[name].shape != ours.state_dict()[name].shape
    torch.testing.assert_close(found, wanted[name], rtol=0, atol=0)


def test_options() -> None:
    name = f"{PREFIX}swin_nano"
    model = timm.create_model(name, num_classes=5, in_chans=4, img_size=48, drop_path_rate=0.3, drop_rate=0.1).eval()
    assert model(torch.randn(2, 4, 48, 48)).shape == (2, 5)
    assert max(op.rate for op in ir.walk(model.program.ops) if isinstance(op, ir.DropPath)) == 0.3
    assert timm.create_model(name, global_pool="max").eval().global_pool == "max"
    with pytest.raises(TypeError, match="patch_size"):
        timm.create_model(name, patch_size=4)
    with pytest.raises(ValueError, match="global_pool is one of"):
        timm.create_model(name, global_pool="catavgmax")
    with pytest.raises(SpecError, match="class_token"):
        timm.create_model(name, global_pool="token")
    with pytest.raises(SpecError, match="classes"):
        timm.create_model(name, num_classes=-1)


@pytest.mark.parametrize("name", KINDS)
def test_heads(name: str) -> None:
    model = timm.create_model(PREFIX + name, device="meta").eval()
    x = torch.empty(2, *model.default_cfg["input_size"], device="meta")
    features = model.forward_features(x)
    assert features.shape[-1] == model.num_features
    assert model.forward_head(features).shape == model(x).shape == (2, model.num_classes)
    assert model.forward_head(features, pre_logits=True).shape == (2, model.head_hidden_size)
    model.reset_classifier(0)
    assert (model.num_classes, model(x).shape) == (0, (2, model.head_hidden_size))
    model.reset_classifier(3)
    assert model(x).shape == (2, 3)
    assert sum(parameter.numel() for parameter in model.get_classifier().parameters()) > 0
    made = timm.create_model(PREFIX + name, num_classes=3, device="meta")
    assert {n: t.shape for n, t in model.state_dict().items()} == {n: t.shape for n, t in made.state_dict().items()}


def test_a_new_classifier_pools_as_before() -> None:
    model = timm.create_model(f"{PREFIX}swin_nano", global_pool="max").eval()
    with torch.no_grad():
        before = model.forward_head(model.forward_features(IMAGES), pre_logits=True)
        torch.testing.assert_close(before, model.forward_features(IMAGES).amax((1, 2)))
        model.reset_classifier(6)
        after = model.forward_head(model.forward_features(IMAGES), pre_logits=True)
        torch.testing.assert_close(after, before)
        torch.testing.assert_close(model(IMAGES), model.get_classifier()(before[:, None, None]).flatten(1))
        assert model(torch.randn(1, 3, 48, 32)).shape == (1, 6)
        model.reset_classifier(0, "")
        assert model(IMAGES).shape == (2, 4, 4, 128)
        model.reset_classifier(6, "avg")
        torch.testing.assert_close(model(IMAGES).mean() * 0, torch.tensor(0.0))
        assert model(IMAGES).std() > 0


def test_without_pooling_every_position_is_classified() -> None:
    model = timm.create_model(f"{PREFIX}swin_nano", num_classes=7, global_pool="").eval()
    with torch.no_grad():
        features = model.forward_features(IMAGES)
        assert model.forward_head(features, pre_logits=True) is features
        logits = model(IMAGES)
        assert logits.shape == (2, 4, 4, 7)
        one = model.get_classifier()(features[:, :1, :1]).flatten(1)
    torch.testing.assert_close(logits[:, 0, 0], one)
    tokens = timm.create_model(f"{PREFIX}deit_small", num_classes=7, global_pool="", device="meta").eval()
    assert tokens(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 197, 7)


def test_drop_rate_where_the_steps_of_the_head_classify() -> None:
    with pytest.raises(ValueError, match=r"drop_rate=0\.1 has no place"):
        timm.create_model(f"{PREFIX}volo_d1", drop_rate=0.1, device="meta")


@pytest.mark.parametrize("name", ["swin_nano", "d_dw_conv_nano", "pvt_nano", "outlook_nano"])
def test_backward_reaches_every_parameter(name: str) -> None:
    model = timm.create_model(PREFIX + name, num_classes=42).train()
    model(IMAGES).mean().backward()
    assert [n for n, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", ["swin_nano", "i_dynamic_nano", "mixer_nano"])
def test_features(name: str) -> None:
    model = timm.create_model(PREFIX + name).eval()
    last, maps = model.forward_intermediates(IMAGES)
    info = FeatureInfo(model.feature_info, len(maps))
    assert [y.shape[1] for y in maps] == info.channels()
    torch.testing.assert_close(last, model.forward_features(IMAGES))
    some = timm.create_model(PREFIX + name, features_only=True, out_indices=(0, 1))
    assert some.feature_info.channels() == info.channels()[:2]
    assert [y.shape for y in some(IMAGES)] == [y.shape for y in maps[:2]]
    sum(y.square().mean() for y in some(IMAGES)).backward()
    assert [n for n, parameter in some.named_parameters() if parameter.grad is None] == []


def test_stopping_early_gives_the_same_maps_and_runs_nothing_more() -> None:
    model = timm.create_model(f"{PREFIX}swin_nano").eval()
    ran: list[str] = []
    for name in ("stages.1.blocks.1", "stages.2.downsample", "head.norm"):
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
    with torch.no_grad():
        _, every = model.forward_intermediates(IMAGES)
        ran.clear()
        last, (found,) = model.forward_intermediates(IMAGES, indices=[1], stop_early=True)
    assert ran == ["stages.1.blocks.1"]
    torch.testing.assert_close(found, every[1], rtol=0, atol=0)
    torch.testing.assert_close(last.permute(0, 3, 1, 2), found, rtol=0, atol=0)


def test_a_pruned_network_classifies_by_its_last_map() -> None:
    model = timm.create_model(f"{PREFIX}swin_nano").eval()
    with torch.no_grad():
        wanted = model.forward_intermediates(IMAGES, indices=[1], intermediates_only=True)[0].mean((2, 3))
        model.prune_intermediate_layers([1], prune_norm=True)
        model.reset_classifier(5)
        found = model.forward_head(model.forward_features(IMAGES), pre_logits=True)
    torch.testing.assert_close(found, wanted)
    assert found.shape[1] == model.head_hidden_size == model.num_features == 64
    assert model(IMAGES).shape == (2, 5)


def test_checkpointing_changes_no_gradient() -> None:
    def gradients(enable: bool) -> list[Tensor | None]:
        torch.manual_seed(0)
        model = timm.create_model(f"{PREFIX}swin_nano").train()
        model.set_grad_checkpointing(enable)
        torch.manual_seed(1)
        model(IMAGES).square().mean().backward()
        return [parameter.grad for parameter in model.parameters()]

    for one, other in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(one, other)


def test_groups_and_decay() -> None:
    model = timm.create_model(f"{PREFIX}swin_nano", device="meta")
    groups = group_parameters(model, model.group_matcher(), reverse=True)
    assert groups["stem.0.weight"] == 0
    assert groups["head.classifier.weight"] == max(groups.values())
    first, second = "stages.0.blocks.0.0.0.weight", "stages.1.blocks.0.0.0.weight"
    assert 0 < groups[first] < groups["stages.1.downsample.1.weight"] < groups[second]
    assert {name.rsplit(".", 1)[1] for name in model.no_weight_decay()} == {"relative_bias"}
    assert timm.create_model(f"{PREFIX}deit_small", device="meta").no_weight_decay()


def test_a_bfloat16_model_stays_one() -> None:
    model = timm.create_model(f"{PREFIX}dw_conv_nano", dtype=torch.bfloat16).eval()
    assert model(IMAGES.to(torch.bfloat16)).dtype == torch.bfloat16
    model.reset_classifier(3)
    assert model(IMAGES.to(torch.bfloat16)).dtype == torch.bfloat16


def test_export() -> None:
    model = timm.create_model(f"{PREFIX}swin_nano").eval()
    exported = torch.export.export(model, (IMAGES,)).module()
    torch.testing.assert_close(exported(IMAGES), model(IMAGES))
