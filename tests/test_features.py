"""Backbones: which maps there are, where they come from, at any size, from the checkpoint of the whole network."""

import pytest
import torch

import archspec
from archspec.api import program_of
from archspec.errors import SpecError
from archspec.features import feature_maps
from archspec.schema.load import network_from
from archspec.schema.source import read_text

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

# A stage each; blocks of the only stage (class tokens cut off); the resolutions of the last stage.
EXPECTED = {
    "swin_tiny": ([96, 192, 384, 768], [4, 8, 16, 32], ["stages.0", "stages.1", "stages.2", "stages.3"]),
    "pvt_small": ([64, 128, 320, 512], [4, 8, 16, 32], ["stages.0", "stages.1", "stages.2", "stages.3"]),
    "deit_small": ([384] * 12, [16] * 12, [f"stages.0.blocks.{number}" for number in range(12)]),
    "hrnet_w18": ([128, 256, 512, 1024], [4, 8, 16, 32], ["stages.4"] * 4),
    "xception": ([128, 256, 728, 1024], [4, 8, 16, 32], ["stages.0", "stages.1", "stages.2", "stages.3"]),
    "shufflenet_v2": ([116, 232, 464], [8, 16, 32], ["stages.0", "stages.1", "stages.2"]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_maps_of_the_three_kinds_of_network(name: str) -> None:
    backbone = archspec.compile(name, features=True, device="meta")
    found = backbone.feature_info
    assert (found.channels(), found.reduction(), found.module_name()) == EXPECTED[name]
    image = backbone.program.image
    maps = backbone(torch.empty(1, image.channels, image.height, image.width, device="meta"))
    assert [y.shape[1] for y in maps] == found.channels()
    for y, reduction in zip(maps, found.reduction(), strict=True):
        for side, extent in zip((image.height, image.width), y.shape[2:], strict=True):
            assert abs(extent - side / reduction) < 1  # xception's 299 is no multiple


def test_every_named_network_has_maps() -> None:
    for name in archspec.names():
        program = program_of(name)
        maps = feature_maps(program)
        assert maps, name
        for each in maps:  # xception's 299 is no multiple
            assert abs(each.shape.height - program.image.height / each.reduction) < 1, name
        reductions = [each.reduction for each in maps]
        assert reductions == sorted(reductions), name  # what timm's FeatureInfo asks


@pytest.mark.parametrize("name", ["swin_nano", "d_dw_conv_nano", "outlook_nano"])
def test_maps_are_what_the_classification_network_computes_on_the_way(name: str) -> None:
    whole = archspec.compile(name, seed=0).eval()
    backbone = archspec.compile(name, seed=1, features=True).eval()
    assert backbone.load_state_dict(whole.state_dict()).missing_keys == []
    seen: dict[str, torch.Tensor] = {}
    for path in backbone.feature_info.module_name():
        stage = whole.get_submodule(path)
        stage.register_forward_hook(lambda _, __, y, path=path: seen.update({path: y.permute(0, 3, 1, 2)}))
    with torch.no_grad():
        whole(IMAGES)
        maps = backbone(IMAGES)
    for path, y in zip(backbone.feature_info.module_name(), maps, strict=True):
        torch.testing.assert_close(y, seen[path], rtol=0, atol=0)


def test_a_class_token_is_no_position() -> None:
    network = archspec.load("deit_small").model_copy(update={"input": archspec.load("swin_nano").input})
    whole, backbone = archspec.compile(network, seed=0).eval(), archspec.compile(network, seed=0, features=True).eval()
    seen = []
    whole.stages.get_submodule("0").register_forward_hook(lambda _, __, y: seen.append(y))
    with torch.no_grad():
        whole(IMAGES)
        last = backbone(IMAGES)[-1]
    assert last.shape == (2, 384, 2, 2)
    torch.testing.assert_close(last.flatten(2).transpose(1, 2), seen[0][:, 0, 1:])


def test_the_same_seed_gives_the_same_stages() -> None:
    whole, backbone = archspec.compile("swin_nano", seed=3), archspec.compile("swin_nano", seed=3, features=True)
    state = whole.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in backbone.state_dict().items())


@pytest.mark.parametrize(("indices", "wanted"), [((0, 2), [32, 128]), ((-1,), [128]), (2, [64, 128]), ((0,), [32])])
def test_only_the_maps_that_are_asked_for(indices: tuple[int, ...] | int, wanted: list[int]) -> None:
    backbone = archspec.compile("swin_nano", seed=0, features=True, out_indices=indices)
    whole = archspec.compile("swin_nano", seed=0)
    assert backbone.feature_info.channels() == wanted
    backbone.load_state_dict(whole.state_dict())  # the rest is passed over
    maps = backbone(IMAGES)
    assert [y.shape[1] for y in maps] == wanted
    sum(y.square().mean() for y in maps).backward()
    # What runs after the last map is not there: every parameter has a gradient, as DistributedDataParallel asks.
    assert [name for name, tensor in backbone.named_parameters() if tensor.grad is None] == []


def test_a_checkpoint_with_something_else_in_it_is_refused() -> None:
    backbone = archspec.compile("swin_nano", features=True)
    state = archspec.compile("swin_nano").state_dict()
    with pytest.raises(RuntimeError, match="other"):
        backbone.load_state_dict({**state, "other": torch.zeros(1)})
    del state["stages.0.blocks.0.0.0.weight"]
    with pytest.raises(RuntimeError, match="Missing"):
        backbone.load_state_dict(state)


@pytest.mark.parametrize("name", ["swin_tiny", "dw_conv_tiny", "i_dynamic_tiny", "pvt_nano", "resnet_50", "hrnet_w18"])
def test_rectangles_of_any_size(name: str) -> None:
    backbone = archspec.compile(name, features=True, device="meta").eval()
    channels = backbone.feature_info.channels()
    for height, width in ((480, 640), (256, 320), (480, 640)):
        maps = backbone(torch.empty(1, 3, height, width, device="meta"))
        sizes = [(height // r, width // r) for r in backbone.feature_info.reduction()]
        assert [tuple(y.shape[1:]) for y in maps] == [(c, *size) for c, size in zip(channels, sizes, strict=True)]


def test_a_network_whose_parameters_are_of_one_size_says_so() -> None:
    backbone = archspec.compile("mixer_nano", features=True)
    with pytest.raises(SpecError, match="was compiled for 32x32"):
        backbone(torch.zeros(1, 3, 48, 64))


def test_nothing_is_written_onto_a_map() -> None:
    """Inference writes an activation onto what gave it, but not where that is the map of another block."""
    written = archspec.load("dw_conv_nano").model_dump(mode="json", exclude_unset=True)
    written["blocks"]["first"] = [{"act": "relu"}, {"linear": {}}]
    written["stages"] = [{"width": 8, "depth": 3, "block": "first"}]
    written["head"]["steps"] = [{"act": "relu"}]
    backbone = archspec.compile(archspec.Network.model_validate(written), features=True, seed=0).eval()
    wanted = backbone(IMAGES)
    assert any((y < 0).any() for y in wanted)
    with torch.no_grad():
        found = backbone(IMAGES)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_parameters_of_stages_that_are_not_there_ask_for_no_size() -> None:
    full = {"connectivity": {"space": "full", "channels": "separate"}, "sharing": {"positions": "none"}}
    written = archspec.load("dw_conv_nano").model_dump(mode="json", exclude_unset=True)
    written["stages"][-1]["block"] = "whole"
    written["blocks"]["whole"] = [{"connect": {**full, "weights": "static"}}]
    network = archspec.Network.model_validate(written)
    with pytest.raises(SpecError, match="was compiled for 32x32"):
        archspec.compile(network, features=True)(torch.zeros(1, 3, 48, 64))
    maps = archspec.compile(network, features=True, out_indices=(0, 1))(torch.zeros(1, 3, 48, 64))
    assert [tuple(y.shape[2:]) for y in maps] == [(24, 32), (12, 16)]


@pytest.mark.parametrize("indices", [(3,), (-4,), (), 4])
def test_maps_that_there_are_not(indices: tuple[int, ...] | int) -> None:
    with pytest.raises(ValueError, match="out_indices are among 0 to 2"):
        archspec.compile("swin_nano", features=True, out_indices=indices)


@pytest.mark.parametrize("first", ["{act: relu}", "{norm: batch}"])
def test_inference_writes_onto_no_map_that_was_asked_for(first: str) -> None:
    """Batch norms and activations write onto the map they take; that of a stage belongs to who asked for it."""
    text = f"""
archspec: 1
name: ends_with_a_connection
input: {{size: 32, channels: 3}}
classes: 5
stem: {{patch: 4}}
downsample: [{first}, {{linear: {{}}}}]
stages: [{{width: 16, depth: 1, block: plain}}, {{width: 16, depth: 2, block: plain}}]
head: {{norm: batch, pool: mean}}
blocks: {{plain: [{{act: relu}}, {{linear: {{}}}}, {{norm: batch}}, {{linear: {{}}}}]}}
"""
    backbone = archspec.compile(network_from(read_text(text, "plain")), features=True, seed=0).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = backbone(images)
    for one, other in zip(found, backbone(images), strict=True):
        torch.testing.assert_close(one, other.detach())
