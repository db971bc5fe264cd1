"""Operators of our own: gradients, schema, blocks, half precision, and what the flop counter is told."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from archspec.kernels import inside, taps
from archspec.kernels.depthwise import Geometry, depthwise
from archspec.kernels.products import contract
from archspec.kernels.softmax_taps import softmax_taps

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


def existing(dtype: torch.dtype = torch.float64) -> Tensor:
    """Which of four taps exist, (K, R, 1, S, 1, 1): for some rows and columns one does not."""
    return (normal(4, 4, 1, 3, 1, 1, seed=5) > -0.5).to(dtype)


@pytest.mark.parametrize("function", [taps.predicted_taps, softmax_taps])
def test_gradients_of_predicted_taps_are_numerically_right(function: Callable[..., Tensor]) -> None:
    assert torch.autograd.gradcheck(lambda *t: function(*t, TAPS, [1, 1], existing()), predicted_inputs())
    assert torch.autograd.gradcheck(lambda *t: function(*t, [], [1, 1]), predicted_slots())
    assert torch.autograd.gradcheck(lambda *t: taps.given_taps(*t, TAPS, [2, 1]), given_inputs())


def inside_inputs(kernels: int) -> tuple[Tensor, Tensor]:
    """x (B, L, T, U, C), kernels (B or 1, C, Th, Tw): windows of 4 by 3 positions that give 2 by 3."""
    x, kernel = normal(2, 3, 4, 3, 5), normal(kernels, 5, 5, 5, seed=1)
    return x.requires_grad_(), kernel.requires_grad_()


def mixing_inputs(groups: int) -> tuple[Tensor, Tensor]:
    """x (L, T, U, C), weight (C', C/g, Th, Tw)."""
    x, weight = normal(3, 4, 3, 6), normal(4, 6 // groups, 5, 5, seed=1)
    return x.requires_grad_(), weight.requires_grad_()


@pytest.mark.parametrize("count", [1, 2])
def test_gradients_inside_windows_are_numerically_right(count: int) -> None:
    assert torch.autograd.gradcheck(lambda *t: inside.inside_by_channel(*t, 2, 3, 12), inside_inputs(count))
    assert torch.autograd.gradcheck(lambda *t: inside.inside_mixing(*t, 2, 3, count, 12), mixing_inputs(count))


def predicted_slots() -> tuple[Tensor, Tensor, Tensor]:
    """Four slots of a window: x (K, M, windows, B, G)."""
    _, _, weight = predicted_inputs()
    return normal(4, 2, 3, 3, 4).requires_grad_(), normal(4, 3, 3, 7, seed=1).requires_grad_(), weight


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # of a tensor that opcheck itself looks at
def test_taps_are_proper_operators() -> None:
    """torch's own check of schema, fake tensors and autograd: what torch.compile relies on."""
    torch.library.opcheck(taps.predicted_taps, (*predicted_inputs(), TAPS, [1, 1]))
    torch.library.opcheck(softmax_taps, (*predicted_inputs(), TAPS, [1, 1], existing()))
    torch.library.opcheck(taps.given_taps, (*given_inputs(), TAPS, [2, 1]))
    torch.library.opcheck(inside.inside_by_channel, (*inside_inputs(2), 2, 3, 12))
    torch.library.opcheck(inside.inside_mixing, (*mixing_inputs(2), 2, 3, 2, 12))


@pytest.mark.parametrize("block", [1, 40, 1 << 20])
def test_blocks_of_rows_do_not_show(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for size in (1 << 30, block):
        monkeypatch.setattr(taps, "BLOCK", size)
        for function, inputs, stride in (
            (taps.predicted_taps, predicted_inputs(), [1, 1]),
            (softmax_taps, predicted_inputs(), [1, 1]),
            (taps.given_taps, given_inputs(), [2, 1]),
        ):
            y = function(*inputs, TAPS, stride)
            results.append([y, *torch.autograd.grad(y, inputs, normal(*y.shape, seed=9))])
    for whole, parts in zip(results[:3], results[3:], strict=True):
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
    # The last hidden unit is the bias, and a bias is not counted.
    assert counter.get_total_flops() == 2 * positions * kernels * (hidden - 1 + x.shape[1])
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(y, (x, h, weight), torch.ones_like(y))
    assert counter.get_total_flops() == 2 * positions * kernels * (3 * (hidden - 1) + 2 * x.shape[1])
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


def test_a_product_with_one_thing_to_sum_is_counted() -> None:
    left, right = normal(3, 4, 1), normal(2, 3, 1, 5)
    with FlopCounterMode(display=False) as counter:
        y = contract("gij,bgjm->bigm", left, right)
    assert torch.equal(y, torch.einsum("gij,bgjm->bigm", left, right))
    assert counter.get_total_flops() == 2 * 3 * 4 * 2 * 5
