"""Networks that grow: the wider one starts as the same function, its copies part, and runs go on exactly."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import archspec.widening.weights as growing
from archspec.compiler import build
from archspec.errors import SpecError
from archspec.resolve import resolve
from archspec.schema.load import load, names, network_from
from archspec.schema.network import Network
from archspec.schema.source import read_text
from archspec.search.candidate import adapted
from archspec.search.cheaper import check_rungs, narrowed
from archspec.search.data.config import DataConfig
from archspec.search.data.images import ImageData
from archspec.search.data.load import open_data
from archspec.search.growth import Growth
from archspec.search.recipe import Recipe, Rung
from archspec.search.train import TrainingFailed, TrainResult, train
from archspec.widening import copies
from archspec.widening.weights import widened

NANO = [name for name in names() if name.endswith("_nano")]
LARGER = ["hrnet_w18", "mobilenet_v2", "rednet_50", "res2net_50", "resnext_50", "se_resnet_50", "volo_d1"]
NEAR = {"dynamic_conv_nano": 0.2, "light_conv_nano": 0.2, "interlaced_nano": 0.2}
"""Heads that cut the stream of a residual anew, and numbers of copies that differ: only near to the same function."""

FIXED_HEADS = """
archspec: 1
name: fixed_heads
input: {size: 16, channels: 3}
classes: 5
stem: {patch: 4, class_token: true, position_embedding: true}
stages: [{width: 32, depth: 2, block: vit}]
head: {norm: layer, pool: class_token}
blocks:
  vit:
    - residual:
        - norm: layer
        - connect:
            connectivity: {space: full, channels: separate}
            sharing: {positions: none, channels: {groups: 4}}
            weights: {attention: {bias: true, value: true, mix_heads: true}}
        - linear: {}
    - residual: [{norm: layer}, {mlp: {ratio: 2, act: gelu}}]
"""


def network_of(name: str) -> Network:
    """A network, one block a stage and at 64 pixels where it is a large one."""
    if name == "fixed_heads":
        return network_from(read_text(FIXED_HEADS, name))
    network = load(name)
    if name in NANO:
        return network
    stages = [stage.model_copy(update={"depth": len(stage.block_names)}) for stage in network.stages]
    image = network.input.model_copy(update={"size": 64})
    return network.model_copy(update={"stages": tuple(stages), "input": image})


def drawn(module: nn.Module) -> nn.Module:
    """The module in float64 with every tensor moved far from where it starts, so that no part of it is silent."""
    generator = torch.Generator().manual_seed(1)
    module = module.double().eval()
    with torch.no_grad():
        for name, value in module.state_dict().items():
            noise = torch.rand(value.shape, generator=generator, dtype=value.dtype)
            value.mul_(1 + noise) if name.endswith("running_var") else value.add_(0.4 * noise - 0.2)
    return module


def pair(network: Network) -> tuple[nn.Module, nn.Module, Tensor]:
    """The network of half the width, the whole one grown from it, and images."""
    narrow, program = narrowed(network, 0.5)
    first = drawn(build(program, seed=0, written=narrow))
    second = build(resolve(network), seed=1, written=network).double().eval()
    assert sum(p.numel() for p in first.parameters()) < 0.6 * sum(p.numel() for p in second.parameters())
    second.load_state_dict(widened(first.state_dict(), program, resolve(network), 0))
    height, width = network.input.height_width
    return first, second, torch.randn(2, 3, height, width, dtype=torch.float64)


def difference(first: nn.Module, second: nn.Module, images: Tensor) -> float:
    with torch.no_grad():
        before, after = first(images), second(images)
    return float((before - after).abs().max() / before.abs().max())


@pytest.mark.parametrize("name", [*NANO, *LARGER, "fixed_heads"])
def test_the_wider_network_starts_as_the_same_function(name: str) -> None:
    found = difference(*pair(network_of(name)))
    assert found < NEAR.get(name, 1e-9)
    assert (name in NEAR) == (found > 1e-9)


@pytest.mark.parametrize("wrong", ["not shared", "not the root", "another channel"])
def test_a_wrong_copy_is_another_function(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """The canaries of the test above."""
    copied = growing._copied
    changes = {
        "not shared": lambda axis: replace(axis, summed=False),
        "not the root": lambda axis: replace(axis, factor=1.0),
        "another channel": lambda axis: replace(axis, origin=axis.origin[::-1].copy()),
    }
    monkeypatch.setattr(growing, "_copied", lambda v, d, axis, g: copied(v, d, changes[wrong](axis), g))
    assert difference(*pair(network_of("fixed_heads"))) > 1e-4


def test_copies_part_when_they_are_trained() -> None:
    _, second, images = pair(network_of("dw_conv_nano"))
    second(images).square().sum().backward()
    gradients = second.get_parameter("stages.0.blocks.0.0.0.weight").grad
    assert gradients is not None
    half = len(gradients) // 2
    assert not torch.allclose(gradients[:half], gradients[half:], rtol=1e-3)


def test_only_wider_networks_of_the_same_ops_are_grown_into() -> None:
    narrow, wide = (resolve(load(name)) for name in ("dw_conv_nano", "swin_nano"))
    with pytest.raises(SpecError, match="has the ops of the narrower one"):
        copies(narrow, wide)
    with pytest.raises(SpecError, match="at least as many channels"):
        copies(wide, narrowed(load("swin_nano"), 0.5)[1])
    with pytest.raises(SpecError, match="has the ops of the narrower one"):
        check_rungs(load("igc_l24m2"), resolve(load("igc_l24m2")), [Rung(epochs=1, width=0.5)])


# --- rungs

RECIPE = Recipe(epochs=3, batch=16, lr=1e-3, ema=0.5, rungs=({"epochs": 1, "width": 0.5}, {"epochs": 2, "width": 0.75}))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ImageData:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHSPEC_CACHE", str(tmp_path_factory.mktemp("cache")))
        return open_data(DataConfig(name="fractal", size=32, train=96, val=32, classes=4))


def trained(data: ImageData, recipe: Recipe = RECIPE, **options: object) -> tuple[TrainResult, nn.Module]:
    network = adapted(load("swin_nano"), data)
    module = build(resolve(network), seed=0, written=network)
    given = {"growth": Growth(network)} | options
    return train(module, data, recipe, seed=0, **given), module  # type: ignore[arg-type]


def test_a_run_grows_at_the_end_of_each_rung_from_what_it_was(data: ImageData) -> None:
    """Where nothing is learned (the rate is next to nothing), growing changes no loss."""
    half = {"rungs": (Rung(epochs=2, width=0.5),), "lr": 1e-12, "weight_decay": 0.0}
    still, module = trained(data, RECIPE.model_copy(update=half))
    losses = [epoch.val_loss for epoch in still.history]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    untrained, _ = trained(data, Recipe(epochs=1, batch=16, lr=1e-12, weight_decay=0.0))
    assert untrained.last.val_loss != pytest.approx(losses[0], rel=1e-4)
    learned, module = trained(data)
    assert [epoch.lr for epoch in learned.history] == [
        epoch.lr for epoch in trained(data, RECIPE.model_copy(update={"rungs": ()}))[0].history
    ]
    assert module(torch.zeros(1, 3, 32, 32)).shape == (1, 4)


@pytest.mark.parametrize("stopped_after", [1, 2])
def test_what_was_interrupted_at_a_width_goes_on_from_its_checkpoint(
    data: ImageData, tmp_path: Path, stopped_after: int
) -> None:
    whole, module = trained(data)
    cut, _ = trained(data, checkpoint=tmp_path / "c.pt", on_epoch=lambda epoch: epoch.epoch < stopped_after)
    assert len(cut.history) == stopped_after
    resumed, again = trained(data, checkpoint=tmp_path / "c.pt")
    assert resumed.resumed_epochs == stopped_after
    assert [epoch.val_loss for epoch in resumed.history] == [epoch.val_loss for epoch in whole.history]
    for one, other in zip(module.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_width_needs_the_spec(data: ImageData) -> None:
    with pytest.raises(TrainingFailed, match="needs the network's spec"):
        trained(data, growth=None)
