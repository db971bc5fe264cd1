"""Kernels that are wrong on purpose: the suite must reject every one, and say where and by how much."""

import math
from collections.abc import Mapping
from functools import partial

import pytest
import torch
from canaries import PATTERNS as OWN_PATTERNS
from canaries import Pattern
from canaries_spaces import PATTERNS as SPACE_PATTERNS
from torch import Tensor

from archspec import reference
from archspec.ir import Connect, Op, Sliding
from archspec.schema.legality import Combination
from archspec.testing import (
    TOLERANCES,
    ConformanceError,
    Kernel,
    Layer,
    check_kernel,
    check_memory,
    memory_roster,
    roster,
    step_roster,
)

LEAST_CASES = 5


def contract(op: Op, parameters: Mapping[str, Tensor], x: Tensor, training: bool, defect: str = "") -> Tensor:
    """The oracle itself, which has the right values, with what else a kernel may do wrong."""
    if defect == "input detached":
        return reference.apply(op, parameters, x.detach() + 0 * x, training)
    if defect == "no gradient at all":
        return reference.apply(op, parameters, x, training).detach()
    if defect == "writes into x":
        y = reference.apply(op, parameters, x, training)
        with torch.no_grad():
            x += 1
        return y
    if defect == "another dtype":
        return reference.apply(op, parameters, x, training).to(torch.float16)
    if defect == "not a number":
        return reference.apply(op, parameters, x, training) * torch.nan
    if defect == "another layout":
        return reference.apply(op, parameters, x, training).transpose(1, 2)
    return reference.apply(op, parameters, x, training)


CONTRACT = Pattern(
    contract,
    lambda op: op.space == Sliding((3, 3), (1, 1), (1, 1), (1, 1)) and op.channels == "separate",
    (
        "input detached",
        "no gradient at all",
        "writes into x",
        "another dtype",
        "not a number",
        "another layout",
    ),
)

PATTERNS = OWN_PATTERNS | SPACE_PATTERNS
ALL = PATTERNS | {"contract": CONTRACT}
CANARIES = [(name, defect) for name, pattern in ALL.items() for defect in pattern.defects]


def rejects(kernel: Kernel, op: Op, dtype: torch.dtype) -> bool:
    try:
        check_kernel(kernel, op, dtype)
    except ConformanceError:
        return True
    return False


@pytest.mark.parametrize(("name", "defect"), CANARIES)
def test_canaries_are_rejected(name: str, defect: str) -> None:
    """In every dtype. That each is accepted without its defect is a test of test_conformance.py."""
    pattern = ALL[name]
    wrong = partial(pattern.kernel, defect=defect)
    passes = set(TOLERANCES)
    for case in roster():
        # What float64 does not show, no other dtype will.
        if pattern.accepts(case.op) and rejects(wrong, case.op, torch.float64):
            passes -= {dtype for dtype in TOLERANCES if rejects(wrong, case.op, dtype)}
        if not passes:
            return
    pytest.fail(f"accepted in {passes}")


def test_the_oracle_is_accepted() -> None:
    for case in roster():
        if CONTRACT.accepts(case.op):
            check_kernel(contract, case.op, torch.float32)


def test_the_canaries_meet_the_roster() -> None:
    for name, pattern in PATTERNS.items():
        assert sum(pattern.accepts(case.op) for case in roster()) >= LEAST_CASES, name


def unfolded(op: Connect, parameters: dict[str, Tensor], x: Tensor, training: bool) -> Tensor:
    """A depth-wise convolution by unfolding: right, and what no kernel may do."""
    assert isinstance(op.space, Sliding)
    height, width = op.space.size
    taps = torch.nn.functional.unfold(x.permute(0, 3, 1, 2), op.space.size, padding=op.space.before)
    taps = taps.reshape(len(x), x.shape[3], height * width, -1)
    weight = parameters["weight"].reshape(-1, height * width)
    weight = weight.repeat_interleave(x.shape[3] // len(weight), dim=0)
    y = torch.einsum("bckn,ck->bnc", taps, weight).reshape(len(x), *x.shape[1:])
    return y + parameters["bias"]


def saved_by_tap(op: Connect, parameters: dict[str, Tensor], x: Tensor, training: bool) -> Tensor:
    """The same tap by tap, small at every moment, with a copy of x kept for each."""
    assert isinstance(op.space, Sliding)
    height, width = op.space.size
    top, left = op.space.before
    padded = torch.nn.functional.pad(x, (0, 0, left, left, top, top))
    weight = parameters["weight"].reshape(-1, height * width)
    weight = weight.repeat_interleave(x.shape[3] // len(weight), dim=0)
    y = torch.zeros_like(x)
    for tap in range(height * width):
        row, column = divmod(tap, width)
        there = padded[:, row : row + x.shape[1], column : column + x.shape[2]]
        y = y + there.clone() * weight[:, tap]
    return y + parameters["bias"]


@pytest.mark.parametrize("wrong", [unfolded, saved_by_tap])
def test_unfolding_is_rejected(wrong: Kernel) -> None:
    combination = Combination("sliding", "separate", "offsets", "groups", "static")
    (op,) = (case.op for case in memory_roster() if case.combination == combination)
    check_kernel(wrong, op)
    with pytest.raises(ConformanceError, match=r"unfolded x has \d+"):
        check_memory(wrong, op)


def test_memory_needs_an_op_where_unfolding_shows() -> None:
    op = Layer(
        {
            "connectivity": {"space": "full", "channels": "separate"},
            "sharing": {"positions": "none"},
            "weights": "static",
        },
        roster()[0].op.source,
    ).connections[0]
    with pytest.raises(ValueError, match="about as large"):
        check_memory(reference.apply, op)


def test_an_error_says_where_and_by_how_much() -> None:
    op = next(case.op for case in roster() if isinstance(case.op.space, Sliding))

    def wrong(op: Op, parameters: dict[str, Tensor], x: Tensor, training: bool) -> Tensor:
        y = reference.apply(op, parameters, x, training)
        bump = torch.zeros_like(y)
        bump[2, 1, 3, 5] = 0.5
        return y + bump

    with pytest.raises(ConformanceError) as caught:
        check_kernel(wrong, op, torch.float32)
    message = str(caught.value)
    for part in (
        f"{op.path}: connect",
        "torch.float32",
        "output",
        "(2, 1, 3, 5)",
        "absolute 0.5",
        "relative",
        "seed 0",
    ):
        assert part in message, part


def test_drop_path_must_drop_and_rescale() -> None:
    op = next(op for op in step_roster() if type(op).__name__ == "DropPath")

    def keeps_everything(op: Op, parameters: dict[str, Tensor], x: Tensor, training: bool) -> Tensor:
        return x * 1

    def does_not_rescale(op: Op, parameters: dict[str, Tensor], x: Tensor, training: bool) -> Tensor:
        return reference.apply(op, parameters, x, training) * (0.7 if training else 1.0)

    def drops_elements(op: Op, parameters: dict[str, Tensor], x: Tensor, training: bool) -> Tensor:
        return torch.nn.functional.dropout(x, 0.3, training)

    check_kernel(reference.apply, op)
    for wrong in (keeps_everything, does_not_rescale, drops_elements):
        with pytest.raises(ConformanceError):
            check_kernel(wrong, op)


def test_tolerances_are_stated_with_their_reasons() -> None:
    assert list(TOLERANCES) == [torch.float64, torch.float32, torch.bfloat16]
    for tolerance in TOLERANCES.values():
        assert tolerance.reason
        assert math.isfinite(tolerance.bound)
