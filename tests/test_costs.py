"""Costs equal what is counted: multiply-adds by torch's counter, activation memory by what autograd keeps."""

from collections.abc import Iterator

import pytest
import torch
from compositions import NETWORKS
from torch.utils.flop_counter import FlopCounterMode

import archspec
from archspec.costs import op_costs
from archspec.ir import Connect, Program, walk
from archspec.resolve import resolve
from archspec.schema.load import network_from
from archspec.schema.source import read_text


def counted_macs(name: str) -> int:
    program = resolve(archspec.load(name))
    module = archspec.compile(program, device="meta").eval()
    image = program.image
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.empty(1, image.channels, image.height, image.width, device="meta"))
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("name", ["swin_nano", "mixer_nano", "dw_conv_nano", "resmlp_12", "deit_small", "swin_tiny"])
def test_macs_are_what_torch_counts(name: str) -> None:
    assert archspec.cost(name).macs == counted_macs(name)


def saved_bytes(program: Program, batch: int) -> int:
    """Bytes of distinct storages that autograd keeps for the backward pass, parameters and images left out."""
    module = archspec.compile(program, seed=0).train()
    image = program.image
    own = {tensor.untyped_storage().data_ptr() for tensor in module.state_dict().values()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tensor.is_floating_point():
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    held = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: held.append(pack(tensor)) or tensor, lambda t: t):
        module(torch.randn(batch, image.channels, image.height, image.width))
    return sum(kept.values())


def kept_ratio(program: Program) -> float:
    per_image = (saved_bytes(program, 9) - saved_bytes(program, 3)) / 6
    return per_image / archspec.cost(program).activation_bytes


@pytest.mark.parametrize("name", ["swin_nano", "mixer_nano", "dw_conv_nano", "d_dw_conv_nano", "i_dynamic_nano"])
def test_activation_bytes_are_close_to_what_autograd_keeps(name: str) -> None:
    # Kernels keep copies of their own (packed windows, masks); batch statistics and weights do not grow with the batch.
    ratio = kept_ratio(resolve(archspec.load(name)))
    assert 0.8 < ratio < 1.45, ratio


@pytest.mark.parametrize("name", NETWORKS)
def test_activation_bytes_of_branches_are_close_to_what_autograd_keeps(name: str) -> None:
    ratio = kept_ratio(resolve(network_from(read_text(NETWORKS[name]))))
    assert 0.85 < ratio < 1.25, ratio


def memory(steps: str) -> tuple[float, float]:
    """Kept and alive, in maps, of a network whose maps all have one size but for the last linear layer."""
    text = (
        "archspec: 1\nname: probe\ninput: {size: 8, channels: 4}\nclasses: 4\n"
        f"stages: [{{width: 4, depth: 1, block: only}}]\nhead: {{pool: none, classifier: false, steps: [{steps}]}}\n"
        "blocks: {only: [drop_path: 0]}\n"
    )
    cost = archspec.cost(network_from(read_text(text)))
    return cost.activation_bytes / 1024, cost.inference_activation_bytes / 1024


LEAST = "pool: mean"


@pytest.mark.parametrize(
    ("steps", "kept", "alive"),
    [
        ("norm: batch", 1, 2),  # x; x and y
        ("norm: batch, act: relu, norm: batch", 2, 2),  # what relu gives is what the second norm takes
        ("residual: [norm: batch, norm: batch]", 2, 3),  # x waits while the second norm takes one and gives one
        ("parallel: {branches: [[norm: batch], [norm: batch], [norm: batch]]}", 1, 4),  # x once; x, the sum, two more
        ("parallel: {branches: [[norm: batch], [norm: batch]], join: product}", 3, 4),  # and both factors
        ("gate: [act: gelu, act: sigmoid]", 2, 3),  # x once, for gelu and the product, and the gate; x, two inside
        ("split: {branches: [[norm: batch], []]}, norm: batch", 1.5, 2.5),  # half of x, then what was joined
        ("split: {branches: [[norm: batch], [norm: batch]]}", 1, 3),  # two halves of x; x, two halves, joined
    ],
)
def test_memory_of_branches(steps: str, kept: float, alive: float) -> None:
    assert memory(f"{steps}, {LEAST}") == (kept, alive)


def test_the_rows_add_up_to_the_total() -> None:
    for name in archspec.names():
        program = resolve(archspec.load(name))
        rows = list(op_costs(program))
        total = archspec.cost(program)
        assert sum(row.macs for row in rows) == total.macs
        assert sum(row.params for row in rows) == total.params
        # A network of one layer may hold more at once than it keeps.
        if len(rows) > 30:
            assert total.inference_activation_bytes < total.activation_bytes


def connections(name: str) -> Iterator[Connect]:
    return (op for op in walk(resolve(archspec.load(name)).ops) if isinstance(op, Connect))


def test_closed_forms_of_a_block() -> None:
    # Depth-wise block of arXiv 2106.04263: N(10 C^2 + 49 C) multiply-adds (ground truth of the project, section 5).
    program = resolve(archspec.load("dw_conv_tiny"))
    block = [row for row in op_costs(program) if row.path.startswith("stages.0.blocks.0.")]
    positions, width = 56 * 56, 96
    assert sum(row.macs for row in block) == positions * (10 * width**2 + 49 * width)
    assert sum(row.params for row in block) == 10 * width**2 + 63 * width


def test_cost_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import archspec, sys; archspec.cost('swin_tiny'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
