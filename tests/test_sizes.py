"""One module at several image sizes: equal to the network compiled there, or a clear reason why not."""

import copy
import pickle

import pytest
import torch

import archspec
from archspec.compiler import build
from archspec.errors import SpecError
from archspec.module import REMEMBERED
from archspec.resolve import resolve

RUNS = ("dw_conv_nano", "swin_nano", "pvt_nano", "neighbourhood_attention_nano", "interlaced_nano")


def compiled_at(name: str, size: tuple[int, int]) -> torch.nn.Module:
    network = archspec.load(name)
    return archspec.compile(network.model_copy(update={"input": network.input.model_copy(update={"size": size})}))


def images(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", RUNS)
def test_a_module_gives_at_another_size_what_the_network_compiled_there_gives(name: str) -> None:
    module = archspec.compile(name, seed=1)
    here = module(images(32, 32))
    other = compiled_at(name, (48, 64))
    other.load_state_dict(module.state_dict())
    ours, theirs = module(images(48, 64)), other(images(48, 64))
    assert torch.equal(ours, theirs)
    ours.sum().backward()
    theirs.sum().backward()
    for parameter, wanted in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(parameter.grad, wanted.grad)  # type: ignore[arg-type]
    module.eval(), other.eval()
    assert torch.equal(module(images(48, 64)), other(images(48, 64)))
    assert module.train()(images(32, 32)).shape == here.shape


def test_back_at_its_own_size_it_is_as_it_was() -> None:
    module = archspec.compile("swin_nano", seed=1).eval()
    before = module(images(32, 32))
    names = list(module.state_dict())
    module(images(64, 32))
    assert torch.equal(module(images(32, 32)), before)
    assert list(module.state_dict()) == names
    assert module.program.image.height == 32


def test_only_the_last_sizes_are_remembered_and_forgotten_ones_run_again() -> None:
    module = archspec.compile("dw_conv_nano", seed=1).eval()
    wanted = module(images(32, 32))
    for number in range(REMEMBERED + 4):
        module.run_at(32, 32 + 8 * number)
        assert len(module.served) <= REMEMBERED
    assert (32, 32) not in module.served
    assert torch.equal(module(images(32, 32)), wanted)


def test_what_has_nothing_to_do_at_a_size_does_nothing() -> None:
    """At 4 x 4 pixels the last map is one position, and the pool of the head has nothing to pool."""
    module = archspec.compile("dw_conv_nano", seed=1).eval()
    smallest = 32 // (module.program.ops[-2].source.height)  # type: ignore[union-attr]
    other = compiled_at("dw_conv_nano", (smallest, smallest)).eval()
    other.load_state_dict(module.state_dict())
    assert torch.equal(module(images(smallest, smallest)), other(images(smallest, smallest)))
    with pytest.raises(SpecError, match="does nothing at"):
        other(images(32, 32))


@pytest.mark.parametrize(
    ("name", "tensor"), [("mixer_nano", "first.weight"), ("gmlp_nano", "weight"), ("deit_small", "weight")]
)
def test_a_parameter_that_depends_on_the_size_is_named(name: str, tensor: str) -> None:
    module = archspec.compile(name)
    with pytest.raises(SpecError, match=rf"(?s){tensor} has shape .* `archspec resize`") as caught:
        module(images(64, 64))
    assert "\n" not in caught.value.problems[0].found


def test_a_size_at_which_the_network_cannot_stand_says_why() -> None:
    module = archspec.compile("pvt_nano")
    with pytest.raises(SpecError, match="at least one position"):
        module(images(4, 4))


def test_copies_and_pickles_run_at_other_sizes_too() -> None:
    module = archspec.compile("swin_nano", seed=1).eval()
    wanted = module(images(48, 48))
    assert torch.equal(copy.deepcopy(module)(images(48, 48)), wanted)
    assert torch.equal(pickle.loads(pickle.dumps(module))(images(48, 48)), wanted)


def test_a_module_of_a_bare_program_runs_at_its_size_only() -> None:
    module = build(resolve(archspec.load("swin_nano")))
    with pytest.raises(SpecError, match=r"shape \('batch', 3, 48, 48\)"):
        module(images(48, 48))
