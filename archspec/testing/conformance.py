"""A kernel and an op go in; ConformanceError comes out when the kernel is not the op, in value or gradient.

A kernel is a pure function (op, parameters, x, training) -> y with the contract of `reference.apply`:
parameters are named relative to the op, x and y have the layout of its shapes, and while training it moves
batch statistics in place and nothing else.

Legend: B batch; H, W height and width; N positions; C channels.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from archspec import reference
from archspec.ir import DropPath, Op
from archspec.testing.samples import Sample, draw

Kernel = Callable[[Op, Mapping[str, Tensor], Tensor, bool], Tensor]
Outcome = dict[str, Tensor]


class ConformanceError(AssertionError):
    """A kernel differs from the oracle, or breaks the contract of kernels; says where and by how much."""


@dataclass(frozen=True)
class Tolerance:
    """How far a kernel may be from the oracle in one dtype, relative to the size of what is compared.

    `norm` is how both are measured: by the `largest` element, or by the root of the mean `square`.
    """

    bound: float
    norm: str
    reason: str

    def size(self, value: Tensor) -> float:
        if not value.numel():
            return 0.0
        return float(value.abs().max() if self.norm == "largest" else value.square().mean().sqrt())


# Measured over the roster and every kernel (CPU): at most 5e-15, 3e-6 and 4.5e-2.
TOLERANCES: dict[torch.dtype, Tolerance] = {
    torch.float64: Tolerance(
        1e-11, "largest", "the same sums in another order, 1e-16 a step; a batch norm over few samples amplifies"
    ),
    torch.float32: Tolerance(
        2e-5, "largest", "1e-7 a step, sums of some thousand terms; a batch norm over few samples amplifies"
    ),
    torch.bfloat16: Tolerance(
        8e-2, "square", "4e-3 a step, about ten steps; a relu may flip near zero, so no bound holds for each element"
    ),
}


def check_kernel(
    kernel: Kernel, op: Op, dtype: torch.dtype = torch.float64, seed: int = 0, device: str = "cpu"
) -> None:
    """Values and all gradients of a kernel against the oracle's (which always runs in float64).

    Both training and evaluation are compared, and batch statistics with their gradients where there are any.
    Raises ConformanceError.
    """
    if isinstance(op, DropPath):
        check_drop_path(kernel, op, dtype, seed, device)
        return
    for training, gradients in _modes(op):
        expected = _expected(op, seed, training, gradients)
        found = outcome(kernel, op, draw(op, seed).to(dtype, device), training, gradients)
        what = f"{_text(op)}\n    {dtype}, seed {seed}, {'training' if training else 'evaluation'}"
        compare(what, found, expected, TOLERANCES[dtype])


def _modes(op: Op) -> Iterator[tuple[bool, bool]]:
    """(training, gradients): evaluation has gradients of its own only where there are batch statistics."""
    yield True, True
    yield False, any(not row.trainable for row in op.parameters)


@lru_cache(maxsize=64)
def _expected(op: Op, seed: int, training: bool, gradients: bool) -> Outcome:
    if not gradients:
        # Only for ops without batch statistics (see _modes), to which training and evaluation are one.
        return {"output": _expected(op, seed, True, True)["output"]}
    return outcome(reference.apply, op, draw(op, seed), training, gradients)


def outcome(kernel: Kernel, op: Op, sample: Sample, training: bool, gradients: bool = True) -> Outcome:
    """Everything that a kernel does to a sample: output, gradients, batch statistics.

    Raises ConformanceError when the kernel writes into its inputs, gives another shape or dtype, or loses a
    gradient.
    """
    given = sample.copy(gradients)
    trained = [row.name for row in op.parameters if row.trainable] if gradients else []
    with torch.set_grad_enabled(gradients):
        y = kernel(op, given.parameters, given.x, training)
    shape = (len(sample.x), *_layout(op))
    if tuple(y.shape) != shape or y.dtype != sample.x.dtype:
        raise ConformanceError(
            f"{_text(op)}\n    gives {tuple(y.shape)} {y.dtype} where {shape} {sample.x.dtype} is due"
        )
    _check_untouched(op, given, sample, training)
    result = {"output": y.detach()}
    if gradients:
        if not y.requires_grad:
            raise ConformanceError(f"{_text(op)}\n    no gradient flows through the output")
        inputs = [given.x, *(given.parameters[name] for name in trained)]
        found = torch.autograd.grad(y, inputs, sample.upstream, allow_unused=True)
        for name, gradient in zip(["x", *trained], found, strict=True):
            if gradient is None:
                raise ConformanceError(f"{_text(op)}\n    no gradient reaches {name}")
            result[f"gradient of {name}"] = gradient
        _check_untouched(op, given, sample, training)
    moved = [row.name for row in op.parameters if not row.trainable]
    return {name: value.double().cpu() for name, value in result.items()} | {
        name: given.parameters[name].double().cpu() for name in moved
    }


def _check_untouched(op: Op, given: Sample, sample: Sample, training: bool) -> None:
    buffers = {row.name for row in op.parameters if not row.trainable}
    for name, value in {"x": given.x, **given.parameters}.items():
        before = sample.x if name == "x" else sample.parameters[name]
        if not (training and name in buffers) and not torch.equal(value.detach(), before):
            raise ConformanceError(f"{_text(op)}\n    the kernel writes into {name}")


def compare(what: str, found: Outcome, expected: Outcome, tolerance: Tolerance) -> None:
    """Raise ConformanceError at the first tensor that differs by more than the tolerance."""
    gradients = [tolerance.size(value) for name, value in expected.items() if name.startswith("gradient")]
    for name, right in expected.items():
        # A gradient may be zero because its terms cancel (a bias before a batch norm): what is left then is
        # rounding, whose size is that of the terms and not that of their sum.
        scale = max(tolerance.size(right), *gradients) if name.startswith("gradient") else tolerance.size(right)
        difference = found[name] - right
        if not bool(torch.isfinite(found[name]).all()) or tolerance.size(difference) > tolerance.bound * scale:
            raise ConformanceError(f"{what}\n    {name} {_worst(found[name], right, scale)}\n    {tolerance}")


def _worst(found: Tensor, expected: Tensor, scale: float) -> str:
    """Where two tensors differ most."""
    difference = torch.nan_to_num((found - expected).abs(), nan=torch.inf).flatten()
    number = int(difference.argmax())
    index = tuple(int(part) for part in torch.unravel_index(torch.tensor(number), found.shape))
    return (
        f"differs most at {index}: {float(found.flatten()[number]):.6g} instead of "
        f"{float(expected.flatten()[number]):.6g}; absolute {float(difference[number]):.3g}, "
        f"relative to {scale:.3g}: {float(difference[number]) / (scale or 1.0):.3g}"
    )


def check_drop_path(
    kernel: Kernel, op: DropPath, dtype: torch.dtype = torch.float64, seed: int = 0, device: str = "cpu"
) -> None:
    """Each sample is zero or divided by what is kept; evaluation changes nothing. Raises ConformanceError."""
    sample = draw(op, seed, batch=128).to(dtype, device)
    compare(_text(op), outcome(kernel, op, sample, False), outcome(_same, op, sample, False), TOLERANCES[dtype])
    torch.manual_seed(seed)
    found = outcome(kernel, op, sample, True)
    kept = found["output"].flatten(1).any(dim=1)
    share = float(kept.double().mean())
    deviation = (op.rate * (1 - op.rate) / len(kept)) ** 0.5
    if abs(share - (1 - op.rate)) > 5 * deviation:
        raise ConformanceError(f"{_text(op)}\n    keeps {share:.3f} of the samples instead of {1 - op.rate:.3f}")
    factor = kept.double().reshape(-1, 1, 1, 1) / (1 - op.rate)
    expected = {
        "output": sample.x.double().cpu() * factor,
        "gradient of x": sample.upstream.double().cpu() * factor,
    }
    compare(_text(op), found, expected, TOLERANCES[dtype])


def _same(op: Op, parameters: Mapping[str, Tensor], x: Tensor, training: bool) -> Tensor:
    return x * 1


def _layout(op: Op) -> tuple[int, int, int]:
    return reference.layout(op.target)


def _text(op: Op) -> str:
    return f"{op.path}: {type(op).__name__.lower()} {op.facts()} [{op.source} -> {op.target}]"
