"""What the conformance suite does not see: operators of our own, blocks, tables, the plan and its text."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import archspec
from archspec.ir import Connect, Feature, Sliding, Window, walk
from archspec.kernels import tables, taps
from archspec.kernels.depthwise import Geometry, depthwise
from archspec.kernels.windows import cut, join, paste, split
from archspec.lower import RULES, choose, plan
from archspec.module import load_kernel
from archspec.resolve import resolve
from archspec.schema.load import load
from archspec.testing import check_kernel, roster

TAPS = [0, 0, 0, 2, 1, 1, 2, 0]  # four taps: (down, across) of each


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# ------------------------------------------------------------------ operators of our own


def predicted_inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """x (R', M, S', B, G), h (R, S, B, D), weight (K, G, D)."""
    sizes = ((6, 2, 5, 3, 4), (4, 3, 3, 7), (4, 4, 7))
    x, h, weight = (normal(*size, seed=seed, dtype=dtype) for seed, size in enumerate(sizes))
    return x.requires_grad_(), h.requires_grad_(), weight.requires_grad_()


def given_inputs() -> tuple[Tensor, Tensor]:
    """x (R', M, S', 1, G), w (K, R, 1, S, 1, G), for a stride of (2, 1)."""
    x, w = normal(9, 6, 5, 1, 3), normal(4, 4, 1, 3, 1, 3, seed=1)
    return x.requires_grad_(), w.requires_grad_()


def test_gradients_of_taps_are_numerically_right() -> None:
    assert torch.autograd.gradcheck(lambda *t: taps.predicted_taps(*t, TAPS, [1, 1]), predicted_inputs())
    assert torch.autograd.gradcheck(lambda *t: taps.predicted_taps(*t, [], [1, 1]), predicted_slots())
    assert torch.autograd.gradcheck(lambda *t: taps.given_taps(*t, TAPS, [2, 1]), given_inputs())


def predicted_slots() -> tuple[Tensor, Tensor, Tensor]:
    """Four slots of a window: x (K, M, windows, B, G)."""
    _, _, weight = predicted_inputs()
    return normal(4, 2, 3, 3, 4).requires_grad_(), normal(4, 3, 3, 7, seed=1).requires_grad_(), weight


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # of a tensor that opcheck itself looks at
def test_taps_are_proper_operators() -> None:
    """torch's own check of schema, fake tensors and autograd: what torch.compile relies on."""
    torch.library.opcheck(taps.predicted_taps, (*predicted_inputs(), TAPS, [1, 1]))
    torch.library.opcheck(taps.given_taps, (*given_inputs(), TAPS, [2, 1]))


@pytest.mark.parametrize("block", [1, 40, 1 << 20])
def test_blocks_of_rows_do_not_show(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for size in (1 << 30, block):
        monkeypatch.setattr(taps, "BLOCK", size)
        for function, inputs, stride in (
            (taps.predicted_taps, predicted_inputs(), [1, 1]),
            (taps.given_taps, given_inputs(), [2, 1]),
        ):
            y = function(*inputs, TAPS, stride)
            results.append([y, *torch.autograd.grad(y, inputs, normal(*y.shape, seed=9))])
    for whole, parts in zip(results[:2], results[2:], strict=True):
        assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(whole, parts, strict=True))


def test_taps_sum_in_float32_for_half_precision() -> None:
    """1 + 1/256 repeated: summed in bfloat16 the small terms would be lost."""
    count = 512
    x = torch.ones(count, 1, 1, 1, 1, dtype=torch.bfloat16)
    weight = torch.full((count, 1, 1), 1 / 256, dtype=torch.bfloat16)
    y = taps.predicted_taps(x, torch.ones(1, 1, 1, 1, dtype=torch.bfloat16), weight, [], [1, 1])
    assert y.item() == 2.0


def test_the_flop_counter_knows_taps() -> None:
    x, h, weight = predicted_inputs()
    taps_count, kernels, hidden = weight.shape
    positions = h.shape[0] * h.shape[1] * h.shape[2] * taps_count
    with FlopCounterMode(display=False) as counter:
        y = taps.predicted_taps(x, h, weight, TAPS, [1, 1])
    assert counter.get_total_flops() == 2 * positions * kernels * (hidden + x.shape[1])
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(y, (x, h, weight), torch.ones_like(y))
    assert counter.get_total_flops() == 2 * positions * kernels * (3 * hidden + 2 * x.shape[1])
    given, w = given_inputs()
    with FlopCounterMode(display=False) as counter:
        y = taps.given_taps(given, w, TAPS, [2, 1])
    assert counter.get_total_flops() == 2 * w.numel() * given.shape[1]


GEOMETRIES = (
    Geometry((1, 1), (3, 2), (1, 1)),
    Geometry((2, 3), (1, 0), (1, 2)),
    Geometry((3, 2), (4, 4), (2, 1)),
    Geometry((4, 5), (0, 0), (1, 1)),
)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("kernels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_depthwise_is_a_grouped_convolution(geometry: Geometry, kernels: int, dtype: torch.dtype) -> None:
    """Output and gradients, image by image, against F.conv2d and its own gradients, with strides that leave rows."""
    x = normal(3, 17, 19, 6, dtype=dtype).requires_grad_()
    weight = normal(kernels, 6, 4, 3, seed=1, dtype=dtype).requires_grad_()
    bias = normal(6, seed=2, dtype=dtype).requires_grad_()
    y = depthwise(x, weight, bias, geometry)
    expected = torch.cat(
        [
            F.conv2d(image.permute(2, 0, 1)[None], weight[number % kernels][:, None], bias, *geometry, groups=6)
            for number, image in enumerate(x)
        ]
    ).permute(0, 2, 3, 1)
    assert y.is_contiguous()
    upstream = normal(*y.shape, seed=3, dtype=dtype)
    inputs = (x, weight, bias)
    pairs = zip(
        [y, *torch.autograd.grad(y, inputs, upstream)],
        [expected, *torch.autograd.grad(expected, inputs, upstream)],
        strict=True,
    )
    bound = 1e-12 if dtype == torch.float64 else 1e-4
    assert all((found - right).abs().max() <= bound * right.abs().max() for found, right in pairs)


def test_depthwise_gives_only_the_gradients_asked_for() -> None:
    x, weight = normal(2, 5, 6, 4), normal(1, 4, 3, 3, seed=1).requires_grad_()
    y = depthwise(x, weight, None, Geometry((1, 1), (1, 1), (1, 1)))
    (gradient,) = torch.autograd.grad(y.sum(), weight)
    assert gradient.shape == weight.shape


# ------------------------------------------------------------------ windows and their tables


def test_windows_are_cut_and_pasted() -> None:
    x = normal(2, 6, 10, 3)
    windows = cut(x, (3, 5))
    assert windows.shape == (2, 4, 15, 3)
    assert torch.equal(windows[1, 3, 7], x[1, 4, 7])  # window (1, 1), slot (1, 2)
    assert torch.equal(paste(windows, (3, 5), (6, 10)), x)


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
    assert int(run.stdout) > 50


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
