"""Steps that branch: networks equal the oracle and hand-written ones; equal meanings are equal; what cannot stand."""

import copy
import pickle
from typing import Any

import jsonschema
import pytest
import random_compositions
import torch
from canaries_composition import JOINS, STEPS
from compositions import NETWORKS
from compositions_by_hand import BY_HAND
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import archspec
from archspec import ir, reference
from archspec.errors import SpecError
from archspec.module import STEPS as KERNELS
from archspec.schema.expand import expand
from archspec.schema.load import network_from, network_yaml
from archspec.schema.network import Network
from archspec.schema.source import read_text
from archspec.schema.writing import dump_yaml
from archspec.search.files import json_schema
from archspec.testing import ConformanceError, check_kernel, step_roster

torch.set_num_threads(1)


def written(name: str) -> Network:
    return network_from(read_text(NETWORKS[name], f"{name}.yaml"))


def drawn(network: Network, training: bool) -> nn.Module:
    """The network with parameters of which none is zero or one, in float64."""
    module = archspec.compile(network, seed=0).double().train(training)
    generator = torch.Generator().manual_seed(1)
    for key, tensor in module.state_dict().items():
        spread = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
        tensor.copy_(0.5 + spread if key.endswith("running_var") else tensor + 0.3 * (spread - 0.3))
    return module


def images(module: nn.Module) -> Tensor:
    size = module.program.image
    shape = (3, size.channels, size.height, size.width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def gradients(y: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = torch.autograd.grad(y, inputs, upstream, allow_unused=True, materialize_grads=True)
    return list(found)


def close(one: Tensor, other: Tensor, scale: float | None = None) -> bool:
    size = float(other.detach().abs().max()) if scale is None else scale
    return bool((one - other).abs().max() <= 1e-9 * size)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_what_the_oracle_says(name: str, training: bool) -> None:
    check_against_oracle(written(name), training)


def test_random_networks_are_what_the_oracle_says() -> None:
    """And cost what is counted, and read back from YAML as they are."""
    legal = 0
    for seed in range(120):
        try:
            network = network_from(read_text(dump_yaml(random_compositions.network(seed))))
            archspec.digest(network)
        except SpecError:
            continue
        legal += 1
        for training in (True, False):
            check_against_oracle(network, training)
        check_costs(network)
        assert network_from(read_text(network_yaml(network))) == network
    assert legal > 30


def check_against_oracle(network: Network, training: bool) -> None:
    module = drawn(network, training)
    x = images(module).requires_grad_()
    own = {key: tensor.detach().clone() for key, tensor in module.state_dict().items()}
    trained = [key for key, _ in module.named_parameters()]
    for key in trained:
        own[key].requires_grad_()
    expected = reference.run(module.program, own, x, training)
    found = module(x)
    assert close(found, expected)
    right = gradients(expected, [x, *(own[key] for key in trained)])
    ours = gradients(found, [x, *module.parameters()])
    scale = max(float(gradient.abs().max()) for gradient in right)
    assert all(close(one, other, scale) for one, other in zip(ours, right, strict=True))
    assert all(close(tensor, own[key], 1) for key, tensor in module.named_buffers())
    with torch.no_grad():
        again = images(module)
        assert close(drawn(network, training)(again), expected)
        # Inference writes onto maps that nobody else has, and onto no others.
        assert torch.equal(again, images(module))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_what_somebody_writes_by_hand(name: str, training: bool) -> None:
    module = drawn(written(name), training)
    other = BY_HAND[name]().double().train(training)
    theirs = [tensor for key, tensor in other.state_dict().items() if not key.endswith("num_batches_tracked")]
    for tensor, right in zip(theirs, module.state_dict().values(), strict=True):
        tensor.copy_(right.reshape(tensor.shape))
    x = images(module)
    assert close(module(x), other(x))
    assert not torch.equal(other(x), other(x + 1))


@pytest.mark.parametrize("name", NETWORKS)
def test_checkpoints_copies_and_text(name: str) -> None:
    module = drawn(written(name), training=False)
    table = ir.parameter_table(module.program)
    assert list(module.state_dict()) == list(table)
    x = images(module)
    with torch.no_grad():
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert torch.equal(other(x), module(x))
    network = written(name)
    again = network_from(read_text(network_yaml(network)))
    assert again == network
    assert archspec.digest(again) == archspec.digest(expand(network)) == module.program.digest
    jsonschema.validate(network.model_dump(mode="json", exclude_unset=True), json_schema("network"))


@pytest.mark.parametrize("name", NETWORKS)
def test_costs_are_what_is_counted(name: str) -> None:
    check_costs(written(name))


def check_costs(network: Network) -> None:
    module = archspec.compile(network, seed=0).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(images(module)[:1].float())
    cost = archspec.cost(module.program)
    assert cost.macs == counter.get_total_flops() // 2
    assert cost.params == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", ["bottleneck", "gates"])
def test_torch_compile_takes_the_whole_network(name: str) -> None:
    module = drawn(written(name), training=True)
    x = images(module)
    torch._dynamo.reset()
    whole = torch.compile(copy.deepcopy(module), backend="aot_eager", fullgraph=True)
    assert torch.allclose(whole(x), module(x), rtol=1e-9)
    with torch.no_grad():
        assert torch.allclose(whole.eval()(x), module.eval()(x), rtol=1e-6)


@pytest.mark.parametrize("case", range(len(step_roster())))
def test_every_step_is_its_oracle(case: int) -> None:
    op = step_roster()[case]
    check_kernel(KERNELS[type(op)], op)


@pytest.mark.parametrize(("kind", "kernel", "defect"), STEPS, ids=[f"{row[0].__name__}: {row[2]}" for row in STEPS])
def test_a_wrong_step_is_rejected(kind: type[ir.Op], kernel: Any, defect: str) -> None:
    cases = [op for op in step_roster() if isinstance(op, kind) and (kind is not ir.Norm or op.centring)]
    assert cases
    for op in cases:
        check_kernel(lambda *given: kernel(*given, defect=""), op)
    caught = 0
    for op in cases:
        try:
            check_kernel(lambda *given: kernel(*given, defect=defect), op)
        except ConformanceError:
            caught += 1
    assert caught


@pytest.mark.parametrize(("name", "defect"), JOINS)
def test_a_wrong_join_is_rejected(name: str, defect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    defect(monkeypatch)
    with pytest.raises(AssertionError):
        test_a_network_is_what_the_oracle_says(name, True)
