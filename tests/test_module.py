"""Compiled networks are plain modules: names, seeds, copies, devices, autocast, torch.compile, clear refusals."""

import copy
import io
import math
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import archspec
from archspec import ir
from archspec.compiler import MAXIMUM_PARAMETERS
from archspec.errors import SpecError, TrainingError
from archspec.kernels import steps
from archspec.module import LARGE, LEAST_ROWS, Factors, Layer, Network, Residual, fill
from archspec.schema.load import network_from
from archspec.schema.source import read_text

NANO = ("swin_nano", "dw_conv_nano", "d_dw_conv_nano", "i_dynamic_nano", "mixer_nano")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(module: nn.Module, batch: int = 3) -> Tensor:
    size = module.program.image
    shape = (batch, size.channels, size.height, size.width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def written(text: str) -> nn.Module:
    return archspec.compile(network_from(read_text(text)), seed=0)


@pytest.mark.parametrize("name", [*NANO, "swin_tiny", "deit_small", "resmlp_12", "static_swin_tiny"])
def test_the_checkpoint_is_the_table_of_parameters(name: str) -> None:
    module = archspec.compile(name, device="meta")
    table = ir.parameter_table(module.program)
    state = module.state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == {key: row.shape for key, row in table.items()}
    trained = {key for key, _ in module.named_parameters()}
    assert trained == {key for key, row in table.items() if row.trainable}
    assert all(value.is_meta for value in state.values())


@pytest.mark.parametrize("name", NANO)
def test_a_seed_gives_the_same_network(name: str) -> None:
    first, second, other = (archspec.compile(name, seed=seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert not all(torch.equal(value, other[key]) for key, value in first.items())


def test_without_a_seed_the_global_generator_is_used() -> None:
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(archspec.compile("mixer_nano").state_dict()["stem.0.weight"])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_initial_values_follow_their_distribution() -> None:
    tensor = torch.empty(200_000)
    fill(tensor, ir.Init("normal", 0.02), torch.Generator().manual_seed(0))
    assert tensor.abs().max() <= 0.04
    # The variance of a normal cut at two deviations: 1 - 4 phi(2) / (Phi(2) - Phi(-2)).
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    expected = 0.02 * math.sqrt(1 - 4 * density / math.erf(2**0.5))
    assert tensor.std().item() == pytest.approx(expected, rel=0.01)
    assert abs(tensor.mean().item()) < 0.0002
    fill(tensor, ir.Init("uniform", 0.5), torch.Generator().manual_seed(0))
    assert tensor.abs().max() <= 0.5
    assert tensor.std().item() == pytest.approx(0.5 / 3**0.5, rel=0.01)
    fill(tensor, ir.Init("constant", 0.25), None)
    assert torch.equal(tensor, torch.full_like(tensor, 0.25))


@pytest.mark.parametrize("name", NANO)
def test_copies_compute_the_same(name: str) -> None:
    module = archspec.compile(name, seed=0).eval()
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    loaded = archspec.compile(name, seed=1).eval()
    loaded.load_state_dict(torch.load(file, weights_only=True))
    x = images(module)
    with torch.no_grad():
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded):
            assert torch.equal(other(x), module(x))


@pytest.mark.parametrize("name", NANO)
def test_training_follows_inference_mode_and_reaches_every_parameter(name: str) -> None:
    """Tables made inside inference mode must not be used up by it."""
    module = archspec.compile(name, seed=0)
    x = images(module)
    with torch.inference_mode():
        module.eval()(x)

    def loss() -> Tensor:
        torch.manual_seed(0)  # drops the same paths each time
        return module.train()(x).square().mean()

    before = loss()
    before.backward()
    missing = [key for key, value in module.named_parameters() if value.grad is None or not value.grad.any()]
    assert not missing
    torch.optim.SGD(module.parameters(), lr=0.01).step()
    assert loss() < before


@pytest.mark.parametrize("name", NANO)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_memory_format_of_images_does_not_matter(name: str, memory_format: torch.memory_format) -> None:
    module = archspec.compile(name, seed=0).double().eval()
    x = images(module).double()
    assert torch.allclose(module(x.contiguous(memory_format=memory_format)), module(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NANO)
def test_lower_precision_stays_near(name: str) -> None:
    module = archspec.compile(name, seed=0).eval()
    x = images(module)
    exact = module(x).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = module(x)
    mixed.float().square().mean().backward()
    low = copy.deepcopy(module).bfloat16()(x.bfloat16())
    assert low.dtype == torch.bfloat16
    scale = exact.std()
    for found in (mixed, low):
        assert (found.float() - exact).square().mean().sqrt() < 0.1 * scale


@pytest.mark.parametrize("name", ["swin_nano", "d_dw_conv_nano", "i_dynamic_nano"])
def test_torch_compile_takes_the_whole_network(name: str) -> None:
    """In one graph, in both modes; the ahead-of-time backend needs no compiler on the machine."""
    module = archspec.compile(name, seed=0)
    x = images(module)
    torch._dynamo.reset()
    whole = torch.compile(module, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(whole(x), module(x), rtol=1e-4, atol=1e-5)
    module.eval()
    assert torch.allclose(whole(x), module(x), rtol=1e-4, atol=1e-5)
    gradients = []
    for run in (module, whole):
        module.zero_grad()
        run(x).square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in module.parameters()])
    largest = max(gradient.abs().max() for gradient in gradients[0])
    assert all((a - b).abs().max() <= 1e-4 * largest for a, b in zip(*gradients, strict=True))


def test_a_network_that_is_compiled_by_torch_serves_another_size_too() -> None:
    module = archspec.compile("dw_conv_nano", seed=0).eval()
    larger = images(module).repeat(1, 1, 2, 1)
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="aot_eager")
    with torch.no_grad():
        compiled(images(module))
        found = compiled(larger)
        assert torch.allclose(found, archspec.compile("dw_conv_nano", seed=0).eval()(larger), rtol=1e-4, atol=1e-5)


def test_what_only_torch_compile_needs_is_not_imported() -> None:
    code = (
        "import sys, torch, archspec; m = archspec.compile('dw_conv_nano', seed=0).eval();"
        "m(torch.zeros(1, 3, 48, 32)); sys.exit('torch._dynamo' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_functional_call_swaps_parameters() -> None:
    module, other = (archspec.compile("swin_nano", seed=seed).eval() for seed in (0, 1))
    x = images(module)
    called = torch.func.functional_call(module, dict(other.state_dict()), (x,))
    assert torch.equal(called, other(x))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 4, 32, 32), (1, 32, 32, 3)])
def test_a_wrong_image_is_named(shape: tuple[int, ...]) -> None:
    module = archspec.compile("mixer_nano", seed=0)
    with pytest.raises(SpecError, match=r"mixer_nano takes images of shape \(batch, 3, 32, 32\)"):
        module(torch.zeros(shape))


def test_an_image_alone_cannot_train_pooled_batch_norm() -> None:
    module = archspec.compile("d_dw_conv_nano", seed=0)
    with pytest.raises(TrainingError, match="at least 2 images"):
        module(images(module, batch=1))
    assert module.eval()(images(module, batch=1)).shape == (1, module.program.classes)


HUGE = """
archspec: 1
name: huge
input: {size: 512}
classes: 2
stem: {patch: 1}
stages: [{width: 64, depth: 1, block: all}]
blocks:
  all:
    - residual:
        - connect:
            connectivity: {space: full, channels: full}
            sharing: {positions: none}
            weights: static
"""


def test_an_absurd_size_is_refused_before_anything_is_made() -> None:
    with pytest.raises(SpecError, match=r"at most 2\^33 parameters") as error:
        written(HUGE)
    assert "stages.0.blocks.0.0.0.weight" in str(error.value)
    assert MAXIMUM_PARAMETERS == 2**33


def factors() -> list[Factors]:
    module = archspec.compile("deit_small", seed=0).double().eval()
    return [child for child in module.modules() if isinstance(child, Factors)]


def test_inference_in_parts_is_the_same_function() -> None:
    mlp = factors()[0]
    positions = LARGE // 1536 + LEAST_ROWS + 7
    x = torch.randn((1, 1, positions, 384), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    seen: list[int] = []
    mlp.first.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0].shape[2]))
    whole = mlp(x)
    with torch.no_grad():
        parts = mlp(x)
    assert seen[0] == positions
    assert len(seen) > 2
    assert sum(seen[1:]) == positions
    assert torch.allclose(whole, parts, rtol=1e-12, atol=1e-12)


def test_drop_path_drops_whole_samples_of_a_branch() -> None:
    """In one pass with the addition: each sample keeps x, or x plus its branch over the share kept."""
    module = archspec.compile("swin_tiny", seed=0)
    residuals = [child for child in module.modules() if isinstance(child, Residual)]
    branch = residuals[-1]
    last = list(branch)[-1]
    assert isinstance(last, Layer)
    rate = last.op.rate
    x = torch.randn((64, 1, 1, 768), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    with torch.no_grad():
        trained, whole = branch.train()(x), branch.eval()(x)
    kept = (trained - x).flatten(1).any(1)
    assert 0 < kept.sum() < 64
    expected = x + (whole - x) * kept.view(-1, 1, 1, 1) / (1 - rate)
    assert torch.allclose(trained, expected, rtol=1e-4, atol=1e-5)
    torch.manual_seed(0)
    assert torch.equal(steps.kept(last.op, x).flatten() > 0, kept)


def test_networks_say_what_they_are() -> None:
    module = archspec.compile("swin_nano", seed=0)
    assert isinstance(module, Network)
    layers = [child for child in module.modules() if isinstance(child, Layer)]
    assert all(layer.op.facts() in repr(module) for layer in layers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert module.program.digest == archspec.digest("swin_nano")
