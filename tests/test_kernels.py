"""What the conformance suite does not see: windows, tables, what is counted, the plan and its text."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import archspec
from archspec.costs import op_macs
from archspec.ir import Connect, Feature, Sliding, Window, walk
from archspec.kernels import tables
from archspec.kernels.windows import cut, cut_surrounded, join, paste, split, surround
from archspec.lower import RULES, accepting, choose, plan
from archspec.module import load_kernel
from archspec.resolve import resolve
from archspec.schema.load import load
from archspec.testing import Case, check_kernel, roster
from archspec.testing.samples import draw


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("case", roster()[::9], ids=lambda case: case.name)
def test_what_a_kernel_computes_is_what_it_costs(case: Case) -> None:
    rules = list(accepting(case.op))
    sample = draw(case.op, 0, 1)
    for rule in rules:
        kernel = load_kernel(rule.kernel)  # first: a counter knows the operators that there were when it was made
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            kernel(case.op, sample.parameters, sample.x, False)
        assert counter.get_total_flops() == 2 * op_macs(case.op), rule.name


# ------------------------------------------------------------------ windows and their tables


def test_windows_are_cut_and_pasted() -> None:
    x = normal(2, 6, 10, 3)
    windows = cut(x, (3, 5))
    assert windows.shape == (2, 4, 15, 3)
    assert torch.equal(windows[1, 3, 7], x[1, 4, 7])  # window (1, 1), slot (1, 2)
    assert torch.equal(paste(windows, (3, 5), (6, 10)), x)


def test_interlaced_windows_are_cut_and_pasted() -> None:
    x = normal(2, 6, 10, 3)
    windows = cut(x, (3, 5), interlaced=True)
    assert windows.shape == (2, 4, 15, 3)
    assert torch.equal(windows[1, 3, 7], x[1, 1 + 2 * 1, 1 + 2 * 2])  # window (1, 1), slot (1, 2)
    assert torch.equal(paste(windows, (3, 5), (6, 10), interlaced=True), x)


@pytest.mark.parametrize("halo", [(1, 2), (4, 0), (7, 5)])
def test_windows_with_a_halo_overlap(halo: tuple[int, int]) -> None:
    space, source = Window((3, 5), (0, 0), False, False, halo), Feature(7, 11, 2)
    x = normal(2, 7, 11, 2).requires_grad_()
    around = surround(space, source, x)
    windows = cut_surrounded(space, around)
    (high, wide), there = space.reach, torch.nn.functional.pad(x, (0, 0, halo[1], 4 + halo[1], halo[0], 2 + halo[0]))
    assert torch.equal(around, there)
    assert torch.equal(windows[:, 4], there[:, 3 : 3 + high, 5 : 5 + wide].flatten(1, 2))  # window (1, 1)
    assert torch.autograd.gradcheck(lambda x: cut_surrounded(space, surround(space, source, x)), x)


@pytest.mark.parametrize("case", [case for case in roster() if isinstance(case.op.space, Window)][::7])
def test_what_is_split_is_joined(case: object) -> None:
    op = case.op  # type: ignore[attr-defined]
    x = normal(2, op.source.height, op.source.width, op.source.channels)
    assert torch.equal(join(op, split(op, x)), x)


def test_tables_are_made_once_and_outlive_inference_mode() -> None:
    space, source = Window((3, 5), (1, 2), False), Feature(7, 11, 4)
    device = torch.device("cpu")
    tables._kept.clear()
    with torch.inference_mode():
        mask = tables.wrap_mask(space, source, device)
    assert mask is not None
    assert not mask.is_inference()
    assert tables.wrap_mask(space, source, device) is mask
    assert tables.wrap_mask(Window((3, 5), (2, 2), False), source, device) is not mask
    assert tables.wrap_mask(Window((3, 5), (0, 0), False), source, device) is None


def test_tables_are_not_kept_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_KEPT", 3)
    tables._kept.clear()
    for width in range(1, 9):
        tables.offset_index((2, width), torch.device("cpu"))
        assert len(tables._kept) <= 3


def test_imitated_tensors_are_not_kept() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    tables._kept.clear()
    with FakeTensorMode():
        tables.offset_index((3, 4), torch.device("cpu"))
    assert not tables._kept
    assert type(tables.offset_index((3, 4), torch.device("cpu"))) is Tensor


def test_a_row_with_nothing_to_read_is_finite() -> None:
    """Masked windows on a map that fills little of the last ones: their outputs are dropped, gradients stay finite."""
    for case in roster():
        if isinstance(case.op.space, Window) and case.op.space.masked:
            check_kernel(load_kernel(choose(case.op).rule.kernel), case.op, torch.float32, seed=3)
            return
    pytest.fail("the roster has a masked window")


# ------------------------------------------------------------------ the plan


def test_the_plan_needs_no_torch() -> None:
    code = (
        "import sys; from archspec.lower import plan; from archspec.resolve import resolve;"
        "from archspec.schema.load import load; print(len(plan(resolve(load('swin_tiny'))).choices));"
        "sys.exit('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 40


def test_every_kernel_named_by_a_rule_exists_and_names_are_unique() -> None:
    assert all(callable(load_kernel(rule.kernel)) for rule in RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)


EXPECTED = {
    "swin_tiny": {"attention.in_windows", "convolution.sliding", "linear.linear"},
    "dw_conv_tiny": {"convolution.sliding_by_channel", "convolution.sliding", "linear.linear"},
    "d_dw_conv_tiny": {"dynamic.sliding", "convolution.sliding", "linear.linear"},
    "i_dynamic_tiny": {"local.sliding", "convolution.sliding", "linear.linear"},
    "static_swin_tiny": {"mixing.static", "convolution.sliding", "linear.linear"},
    "mixer_b16": {"mixing.tokens", "patches.patches", "linear.linear"},
    "deit_small": {"attention.over_map", "patches.patches", "linear.linear"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_named_networks_get_their_fast_kernels(name: str) -> None:
    lowered = plan(resolve(load(name)))
    assert set(lowered.kernels().values()) == EXPECTED[name]
    connections = [op.path for op in walk(lowered.program.ops) if isinstance(op, Connect)]
    assert list(lowered.kernels()) == connections


def test_the_plan_says_why_faster_rules_refused() -> None:
    text = str(plan(resolve(load("i_dynamic_nano"))))
    taken = next(line for line in text.splitlines() if "local.sliding" in line)
    assert taken.startswith("stages.0.blocks.0.0.3: local taps (local.sliding): ")
    assert "    not depth-wise convolution: weights are local" in text
    for choice in plan(resolve(load("i_dynamic_nano"))).choices:
        tried = [rule for rule, _ in choice.refused] + [choice.rule]
        assert tried == list(RULES[: len(tried)])
        assert all(reason for _, reason in choice.refused)


def test_another_kernel_reads_the_same_checkpoint() -> None:
    """Patches as a convolution: the weights of one kernel are those of the other."""
    case = next(c for c in roster() if isinstance(c.op.space, Sliding) and choose(c.op).rule.name == "convolution")
    names = [row.name for row in case.op.parameters]
    assert names == ["weight", "bias"] or names == ["weight"]
    module = archspec.compile("mixer_nano", seed=0).eval()
    other = archspec.compile("mixer_nano", seed=1).eval()
    stem = other.get_submodule("stem.0")
    assert stem.kernel is not load_kernel("patches.patches")
    stem.kernel = load_kernel("patches.patches")
    other.load_state_dict(module.state_dict())
    image = normal(2, 3, 32, 32, dtype=torch.float32)
    assert torch.allclose(other(image), module(image), rtol=1e-4, atol=1e-5)
