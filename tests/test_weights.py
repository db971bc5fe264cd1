"""timm's weights in our networks: equal outputs and gradients, and refusals that change nothing."""

import pytest
import timm
import torch

import archspec
from archspec.compiler import build
from archspec.errors import SpecError, WeightsError
from archspec.resolve import resolve
from archspec.weights import (
    LARGEST_DIFFERENCE,
    TIMM_MODELS,
    Family,
    load_timm_weights,
    reference_network,
    verify_against_timm,
)
from archspec.weights.comparison import randomise
from archspec.weights.names import rows

# One of each family; convolutions at a size that keeps every map and is fast.
COMPARED = [
    *[("swin_tiny", 3, None), ("resmlp_12", 4, None), ("deit_small", 5, None), ("mixer_b16", 6, None)],
    *[("resnet_50", 7, 64), ("resnext_50", 8, 64), ("se_resnet_50", 9, 64), ("res2net_50", 10, 64)],
    *[("hrnet_w18", 11, 64), ("mobilenet_v1", 12, 64), ("mobilenet_v2", 13, 64), ("efficientnet_b0", 14, 64)],
    *[("xception", 15, 75), ("shufflenet_v2", 16, 64)],
]


@pytest.mark.parametrize(("name", "seed", "size"), COMPARED)
def test_outputs_and_gradients_agree_with_timm(name: str, seed: int, size: int | None) -> None:
    found = verify_against_timm(name, seed, size)
    assert found.equal, found
    assert found.parameters == archspec.cost(name).params
    assert 0 < found.output_difference <= LARGEST_DIFFERENCE


def test_training_agrees_with_torchvision() -> None:
    """With batch statistics: outputs, gradients of all parameters and running statistics after a step.

    In float64, because the gradient of what a batch norm takes out again is zero but for rounding.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 64, 64, generator=generator)
    theirs = reference_network("shufflenet_v2")
    randomise(theirs, images, generator)
    network = archspec.load("shufflenet_v2")
    program = resolve(network.model_copy(update={"input": network.input.model_copy(update={"size": 64})}))
    ours, moved = build(program, seed=0).double(), build(program, seed=0).double()
    load_timm_weights(ours, theirs.double().state_dict())
    outputs = [module.train()(images.double()) for module in (ours, theirs)]
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(*outputs)
    # Their gradients and statistics go through the table of names, as weights do.
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    load_timm_weights(moved, {**theirs.state_dict(), **gradients})
    for name, tensor in ours.state_dict(keep_vars=True).items():
        found = tensor if tensor.grad is None else tensor.grad
        torch.testing.assert_close(found.detach(), moved.state_dict()[name], rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.parametrize("name", TIMM_MODELS)
def test_every_tensor_of_timm_has_its_place(name: str) -> None:
    """On the meta device, so that the large ones are checked too: names and shapes, all of them, once."""
    with torch.device("meta"):
        theirs = reference_network(name).state_dict()
    archspec.load_timm_weights(archspec.compile(name, device="meta"), theirs)


def small_pair() -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    ours = archspec.compile("resmlp_12", seed=0)
    return ours, dict(timm.create_model("resmlp_12_224").state_dict())


def test_a_swapped_pair_of_weights_is_seen() -> None:
    """The comparison can fail: two biases of one shape exchanged differ in the output."""
    ours, theirs = small_pair()
    first, second = "blocks.0.mlp_channels.fc1.bias", "blocks.1.mlp_channels.fc1.bias"
    theirs[first], theirs[second] = torch.ones_like(theirs[first]), torch.zeros_like(theirs[second])
    # timm's layer scale and head start near zero, which would hide the difference.
    for name in ("head.weight", "blocks.0.ls2", "blocks.1.ls2"):
        theirs[name].add_(0.1 * torch.randn(theirs[name].shape, generator=torch.Generator().manual_seed(1)))
    reference = timm.create_model("resmlp_12_224").eval()
    reference.load_state_dict(theirs)
    theirs[first], theirs[second] = theirs[second], theirs[first]
    archspec.load_timm_weights(ours, theirs)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = (ours.eval()(images) - reference(images)).abs().max()
    assert difference > LARGEST_DIFFERENCE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("blocks.3.ls1"), "missing: blocks.3.ls1"),
        (lambda state: state.update({"extra": torch.zeros(1)}), "left over: extra"),
        (
            lambda state: state.update({"blocks.3.ls1": torch.zeros(7)}),
            r"shapes differ \(1 tensors\).*\(384,\).*\(7,\)",
        ),
        (lambda state: state.pop("blocks.0.linear_tokens.weight"), "not a state dict"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(change: object, said: str) -> None:
    ours, theirs = small_pair()
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    change(theirs)  # type: ignore[operator]
    with pytest.raises(WeightsError, match=said):
        archspec.load_timm_weights(ours, theirs)
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.state_dict().items())


def test_another_family_and_another_size_are_refused() -> None:
    _, theirs = small_pair()
    with pytest.raises(WeightsError, match="shapes differ"):
        archspec.load_timm_weights(archspec.compile("mixer_b16", device="meta"), theirs)
    with pytest.raises(WeightsError, match="another architecture"):
        archspec.load_timm_weights(archspec.compile("resmlp_24", device="meta"), theirs)
    with pytest.raises(WeightsError, match="compiled network"):
        archspec.load_timm_weights(torch.nn.Linear(2, 2), theirs)


def test_a_network_that_timm_has_not_is_named_as_such() -> None:
    with pytest.raises(SpecError, match="timm has no such network"):
        verify_against_timm("dw_conv_tiny")


NAMES = ("stem.weight", "stem.bias", "a.1.2.q.weight", "a.1.2.kv.weight", "a.1.2.scale", "b.10.weight", "b.9.0.bias")


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("stem", [("stem.weight",), ("stem.bias",)]),
        ("a.{stage+1}.{block}: q+kv scale", [("a.1.2.q.weight", "a.1.2.kv.weight"), ("a.1.2.scale",)]),
        ("a.1.*: scale? shift? /stem.bias", [("a.1.2.scale",), ("stem.bias",)]),
        (("b", "b.{number+1}: ."), [("b.9.0.bias",), ("b.10.weight",), ("b.10.weight",)]),
        ("a.1.2: shift q+v", [("a.1.2.shift",), ("a.1.2.q", "a.1.2.v")]),
    ],
)
def test_lines_of_names(lines: str | tuple[str, ...], found: list[tuple[str, ...]]) -> None:
    """Order is the line's and that of numbers, not the state dict's; what must be there and is not stays written."""
    family = Family(marker="", parts={"stages.1.*": "wrong", "stages.*.blocks.2": lines})
    for names in (NAMES, sorted(NAMES), NAMES[::-1]):
        assert rows(family, "stages.0.blocks.2", 9, names) == found


def test_tensors_are_joined_in_the_order_that_is_written() -> None:
    """Twins' query and key-value projections are one projection of ours, of rows q, k and v."""
    theirs = reference_network("svt_small").state_dict()
    ours = archspec.compile("svt_small", seed=0)
    load_timm_weights(ours, theirs)
    joined = torch.cat([theirs["blocks.0.1.attn.q.weight"], theirs["blocks.0.1.attn.kv.weight"]])
    assert any(torch.equal(tensor, joined) for tensor in ours.state_dict().values() if tensor.shape == joined.shape)
