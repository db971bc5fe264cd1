"""Constraints: the bounds that a text means, how far a cost lies outside them, and errors at the word at fault."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archspec.costs import Cost
from archspec.errors import Location, SpecError
from archspec.search.space.constraints import QUANTITIES, parse_constraint


def cost_of(**quantities: int) -> Cost:
    return Cost(**{name: quantities.get(name, 1) for name in QUANTITIES})


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("params <= 30M", None, 30_000_000),
        ("params<=0.3M", None, 300_000),
        ("macs in [3.5G, 4.5G]", 3_500_000_000, 4_500_000_000),
        ("  macs  in[ 5M ,12M ]  ", 5_000_000, 12_000_000),
        ("paper_flops > 1K", 1_001, None),
        ("paper_flops >= 1.5", 2, None),
        ("macs < 10", None, 9),
        ("macs < 10.5", None, 10),
        ("macs == 7T", 7 * 10**12, 7 * 10**12),
        ("activation_bytes <= 1.5GiB", None, 3 * 2**29),
        ("inference_activation_bytes >= 512KiB", 2**19, None),
        ("activation_bytes <= 2M", None, 2_000_000),
        ("params <= 0.1234567M", None, 123_456),
    ],
)
def test_a_text_means_a_closed_interval_of_whole_numbers(text: str, low: int | None, high: int | None) -> None:
    constraint = parse_constraint(text)
    assert (constraint.low, constraint.high) == (low, high)
    assert str(constraint) == text


@pytest.mark.parametrize(
    ("text", "column", "found", "near"),
    [
        ("parms <= 30M", 10, "parms", "params"),
        ("params <= 30X", 20, "30X", ""),
        ("params <= 30m", 20, "30m", "M"),
        ("params =< 30M", 17, "=", "<="),
        ("params 30M", 17, "30M", "<="),
        ("macs in [1M 2M]", 22, "2M", ","),
        ("macs in [1M, 2M", 25, "nothing", "]"),
        ("macs in [2M, 1M]", 10, "macs in [2M, 1M]", ""),
        ("macs == 1.5", 10, "macs == 1.5", ""),
        ("macs <= 1M params <= 2M", 21, "params", ""),
        ("params <= 1MiB", 20, "1MiB", ""),
        ("params <= -1", 20, "-", ""),
        ("params <= __import__('os')", 20, "__import__", ""),
        ("params <= 1e9", 20, "1e9", ""),
        ("", 10, "nothing", "params"),
    ],
)
def test_an_error_names_the_word_at_fault_and_its_column(text: str, column: int, found: str, near: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_constraint(text, Location("space.yaml", 4, 10), "constraints.0")
    (problem,) = caught.value.problems
    assert problem.location == Location("space.yaml", 4, column)
    assert (problem.found, problem.path) == (found, "constraints.0")
    assert not near or near in problem.nearest


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        constraint = parse_constraint(text)
    except SpecError:
        return
    assert constraint.low is not None or constraint.high is not None


@given(
    st.sampled_from(["<=", "<", ">=", ">", "=="]),
    st.integers(0, 10**12),
    st.integers(0, 10**12),
)
def test_a_cost_is_feasible_exactly_where_the_comparison_holds(sign: str, bound: int, value: int) -> None:
    constraint = parse_constraint(f"macs {sign} {bound}")
    holds = {"<=": value <= bound, "<": value < bound, ">=": value >= bound, ">": value > bound, "==": value == bound}
    assert (constraint.violation(cost_of(macs=value)) <= 0) == holds[sign]


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 2000))
def test_an_interval_is_feasible_exactly_inside(low: int, length: int, value: int) -> None:
    constraint = parse_constraint(f"params in [{low}, {low + length}]")
    assert (constraint.violation(cost_of(params=value)) <= 0) == (low <= value <= low + length)


def test_the_violation_is_relative_to_the_bound() -> None:
    assert parse_constraint("params <= 100").violation(cost_of(params=110)) == pytest.approx(0.1)
    assert parse_constraint("params >= 100").violation(cost_of(params=75)) == pytest.approx(0.25)
    assert parse_constraint("params in [100, 200]").violation(cost_of(params=150)) == pytest.approx(-0.25)
    assert parse_constraint("params <= 0").violation(cost_of(params=5)) == 5


def test_one_multiply_add_too_many_is_infeasible_however_large_the_bound() -> None:
    assert parse_constraint("macs <= 1000T").violation(cost_of(macs=10**15 + 1)) > 0
