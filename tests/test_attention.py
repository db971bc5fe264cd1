"""Attention over every space and outlook: options together, what is counted, operators of our own, wrong kernels."""

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from canaries import Pattern
from canaries_attention import PATTERNS as ATTENTION_PATTERNS
from canaries_outlook import PATTERNS as OUTLOOK_PATTERNS
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from archspec.costs import op_macs
from archspec.ir import Attention, Connect, Feature, Outlook
from archspec.kernels import attend_taps, outlook_sum
from archspec.kernels.circular import circular
from archspec.kernels.dot_taps import dot_taps
from archspec.lower import accepting
from archspec.module import load_kernel
from archspec.testing import TOLERANCES, ConformanceError, Kernel, Layer, check_kernel, roster
from archspec.testing.samples import draw

SHIFTS = [0, 0, 0, 2, 1, 1, 2, 0]  # four taps: (down, across) of each
PATTERNS = ATTENTION_PATTERNS | OUTLOOK_PATTERNS
CANARIES = [(name, defect) for name, pattern in PATTERNS.items() for defect in pattern.defects]
SMALL = Feature(5, 7, 12)
SPACES: tuple[tuple[Any, Feature], ...] = (
    ("full", SMALL),
    ({"full": {"largest": [6, 9]}}, SMALL),
    ("full", Feature(1, 9, 12)),
    ({"window": {"size": [3, 4], "shift": [1, 2]}}, SMALL),
    ({"window": {"size": [3, 4], "padding": "masked"}}, SMALL),
    ({"grid": {"size": [3, 4], "padding": "masked"}}, SMALL),
    ({"halo": {"size": [3, 4], "halo": [1, 2], "padding": "masked"}}, SMALL),
    ({"halo": {"size": 3, "halo": [2, 0]}}, SMALL),
    ({"sliding": {"size": [3, 5], "dilation": [2, 1]}}, SMALL),
    ({"sliding": 4}, SMALL),
    ("cross", SMALL),
    ({"pooled": {"ratio": [2, 3], "by": "mean"}}, SMALL),
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def layer(space: Any, source: Feature, heads: Any, weights: dict[str, Any]) -> Connect:
    """Channels are separate and weights are predicted at each position, as attention and outlook want it."""
    written = {
        "connectivity": {"space": space, "channels": "separate"},
        "sharing": {"positions": "none", "channels": heads},
        "weights": weights,
    }
    return Layer(written, source).connections[0]


def kernels_of(op: Connect) -> list[Kernel]:
    return [load_kernel(rule.kernel) for rule in accepting(op)]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# ------------------------------------------------------------------ options, together


def drawn_options(seed: int, space: Any) -> dict[str, Any]:
    choose = random.Random(seed).choice
    name = space if isinstance(space, str) else next(iter(space))
    options: dict[str, Any] = {
        "bias": choose((True, False)),
        "value": choose((True, False)),
        "output": choose((True, False)),
        "normalise": choose(("softmax", "none")),
        "mix_heads": choose((True, False)),
    }
    if name != "pooled":
        options |= {"relative_bias": choose((True, False)), "centre": choose((True, False))}
        options["pre_convolution"] = {"size": 3, "channels": choose(("shared", "separate", "full"))}
    if name not in ("pooled", "cross"):
        options["post_convolution"] = choose((0, 3, 5))
    return options


@pytest.mark.parametrize("number", range(len(SPACES)))
@pytest.mark.parametrize("heads", [{"groups": 3}, "none"])
def test_options_work_together(number: int, heads: Any) -> None:
    """Every kernel that accepts the layer against the oracle, with few heads and with one for each channel."""
    space, source = SPACES[number]
    for seed in range(number * 4, number * 4 + 4):
        op = layer(space, source, heads, {"attention": drawn_options(seed, space)})
        assert kernels_of(op)
        for kernel in kernels_of(op):
            check_kernel(kernel, op, seed=seed)


def of_roster() -> list[Connect]:
    return [case.op for case in roster() if isinstance(case.op.weights, Attention | Outlook)]


def test_what_is_counted_is_what_it_costs() -> None:
    """The flop counter sees two for each multiply-add of the cost, whatever kernel runs."""
    for op in of_roster()[::2]:
        sample = draw(op, 0, batch=2)
        for kernel in kernels_of(op):
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                kernel(op, sample.parameters, sample.x, False)
            assert counter.get_total_flops() == 2 * 2 * op_macs(op), op.facts()


@pytest.mark.parametrize(
    ("space", "weights"),
    [
        ({"halo": {"size": [3, 4], "halo": 1}}, {"attention": {"post_convolution": 3, "centre": True}}),
        ({"sliding": 3}, {"attention": {"relative_bias": True, "output": True}}),
        ({"sliding": 3}, {"attention": {"mix_heads": True}}),
        ("cross", {"attention": {"relative_bias": True, "centre": True}}),
        ({"pooled": 2}, {"attention": {"output": True}}),
        ({"sliding": 3}, {"outlook": {"stride": 2}}),
    ],
)
def test_compiled_and_under_autocast(space: Any, weights: dict[str, Any]) -> None:
    """As one graph, with gradients; the ahead-of-time backend needs no compiler on the machine."""
    op = layer(space, SMALL, {"groups": 3}, weights)
    sample, kernel = draw(op, 0).to(torch.float32), kernels_of(op)[0]

    def run(function: Kernel) -> list[Tensor]:
        given = sample.copy(True)
        y = function(op, given.parameters, given.x, True)
        inputs = [given.x, *given.parameters.values()]
        return [y.detach().float(), *torch.autograd.grad(y, inputs, sample.upstream.to(y.dtype))]

    torch._dynamo.reset()
    plain, whole = run(kernel), run(torch.compile(kernel, backend="aot_eager", fullgraph=True))
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(plain, whole, strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        half = run(kernel)
    largest = max(float(value.square().mean().sqrt()) for value in plain)
    assert all(float((a - b).square().mean().sqrt()) < 0.08 * largest for a, b in zip(plain, half, strict=True))


# ------------------------------------------------------------------ operators of our own


def taps_inputs() -> tuple[Tensor, ...]:
    """q (R, M, S, B, G), key and value (R', M, S', B, G)."""
    sizes = ((4, 2, 3, 3, 2), (6, 2, 5, 3, 2), (6, 2, 5, 3, 2))
    return tuple(normal(*size, seed=seed).requires_grad_() for seed, size in enumerate(sizes))


def added_inputs(rows: int, columns: int, batch: int) -> tuple[Tensor, Tensor]:
    """What is added, (K, R or 1, 1, S or 1, B or 1, G), and a mask that leaves the first tap."""
    mask = torch.where(normal(4, 4, 1, 3, 1, 1, seed=8) > 1, -30000.0, 0.0).double()
    mask[0] = 0.0
    return normal(4, rows, 1, columns, batch, 2, seed=7).requires_grad_(), mask


Case = tuple[Callable[..., Tensor], tuple[Tensor, ...], tuple[Any, ...]]


def operators() -> list[Case]:
    """Each operator with its tensors and what else it takes."""
    a, v = normal(2, 3, 2, 2, 9, 9).requires_grad_(), normal(2, 5, 4, 6, seed=1).requires_grad_()
    return [
        (attend_taps.attend_taps, (*taps_inputs(), *added_inputs(1, 1, 1)), (SHIFTS,)),
        (attend_taps.attend_taps, (*taps_inputs(), *added_inputs(4, 3, 3)), (SHIFTS,)),
        (dot_taps, taps_inputs()[:2], (SHIFTS,)),
        (circular, (normal(2, 3, 4, 5, 2).requires_grad_(), normal(3, 3, 3, 1, 1, 1, seed=1).requires_grad_()), (2,)),
        (circular, (normal(2, 3, 2).requires_grad_(), normal(5, 5, 2, seed=1).requires_grad_()), (0,)),
        (outlook_sum.outlook_sum, (a, v), ([3, 3], [2, 2])),
    ]


@pytest.mark.parametrize("number", range(6))
def test_gradients_are_numerically_right(number: int) -> None:
    function, tensors, rest = operators()[number]
    assert torch.autograd.gradcheck(lambda *given: function(*given, *rest), tensors)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # of a tensor that opcheck itself looks at
@pytest.mark.parametrize("number", range(6))
def test_they_are_proper_operators(number: int) -> None:
    """torch's own check of schema, fake tensors and autograd: what torch.compile relies on."""
    function, tensors, rest = operators()[number]
    torch.library.opcheck(function, (*tensors, *rest))


@pytest.mark.parametrize("block", [1, 100])
def test_blocks_of_rows_do_not_show(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for size in (1 << 30, block):
        for module in (attend_taps, outlook_sum):
            monkeypatch.setattr(module, "BLOCK", size)
        for function, tensors, rest in operators():
            y = function(*tensors, *rest)
            trained = [tensor for tensor in tensors if tensor.requires_grad]
            results.append([y, *torch.autograd.grad(y, trained, normal(*y.shape, seed=9))])
    count = len(results) // 2
    for whole, parts in zip(results[:count], results[count:], strict=True):
        assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(whole, parts, strict=True))


# Products of a query, or of what it corresponds to, at each tap: forward, and then in the backward pass.
COUNTS = (4 * 144 * 2, 4 * 144 * 2, 4 * 144, 9 * 240, 25 * 12, 3 * 2 * 2 * 2 * 81 * 3)
FACTORS = (2.5, 2.5, 2, 2, 2, 2)


@pytest.mark.parametrize("number", range(6))
def test_the_flop_counter_knows_them(number: int) -> None:
    function, tensors, rest = operators()[number]
    trained = [tensor for tensor in tensors if tensor.requires_grad]
    with FlopCounterMode(display=False) as counter:
        y = function(*tensors, *rest)
    assert counter.get_total_flops() == 2 * COUNTS[number]
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(y, trained, torch.ones_like(y))
    assert counter.get_total_flops() == 2 * COUNTS[number] * FACTORS[number]


# ------------------------------------------------------------------ wrong kernels


@pytest.mark.parametrize(("name", "defect"), CANARIES)
def test_canaries_are_rejected(name: str, defect: str) -> None:
    """In every dtype."""
    pattern, passes = PATTERNS[name], set(TOLERANCES)
    wrong = partial(pattern.kernel, defect=defect)
    for op in of_roster():
        # What float64 does not show, no other dtype will.
        if pattern.accepts(op) and rejects(wrong, op, torch.float64):
            passes -= {dtype for dtype in TOLERANCES if rejects(wrong, op, dtype)}
        if not passes:
            return
    pytest.fail(f"accepted in {passes}")


def rejects(kernel: Kernel, op: Connect, dtype: torch.dtype) -> bool:
    try:
        check_kernel(kernel, op, dtype)
    except ConformanceError:
        return True
    return False


@pytest.mark.parametrize("name", PATTERNS)
def test_canaries_without_a_defect_are_accepted(name: str) -> None:
    pattern: Pattern = PATTERNS[name]
    accepted = [op for op in of_roster() if pattern.accepts(op)]
    assert len(accepted) >= 4
    for op in accepted[::3]:
        check_kernel(pattern.kernel, op, torch.float32)
