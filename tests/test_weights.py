"""timm's weights in our networks: equal outputs and gradients, and refusals that change nothing."""

import pytest
import timm
import torch

import archspec
from archspec.errors import SpecError, WeightsError
from archspec.weights import LARGEST_DIFFERENCE, TIMM_MODELS, verify_against_timm


@pytest.mark.parametrize(("name", "seed"), [("swin_tiny", 3), ("resmlp_12", 4), ("deit_small", 5), ("mixer_b16", 6)])
def test_outputs_and_gradients_agree_with_timm(name: str, seed: int) -> None:
    found = verify_against_timm(name, seed)
    assert found.equal, found
    assert found.parameters == archspec.cost(name).params
    assert 0 < found.output_difference <= LARGEST_DIFFERENCE


@pytest.mark.parametrize("name", TIMM_MODELS)
def test_every_tensor_of_timm_has_its_place(name: str) -> None:
    """On the meta device, so that the large ones are checked too: names and shapes, all of them, once."""
    with torch.device("meta"):
        theirs = timm.create_model(TIMM_MODELS[name]).state_dict()
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
