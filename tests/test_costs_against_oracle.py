"""Analytic counts equal what is counted one by one on the oracle's matrix, for every legal combination."""

import math

import pytest

from archspec.costs import aggregation_macs
from archspec.ir import Connect, Cross, Full, Outlook, Point, Sliding, Static, Window
from archspec.reference import support_count, tie_count
from archspec.testing import roster

OPS = [case.op for case in roster()]


def has_missing_entries(op: Connect) -> bool:
    """Whether some entries that are counted and allocated do not exist: beyond a border, wrapped, padded, or past
    the offsets of this map; and of a cross, its crossing counts twice."""
    if isinstance(op.space, Sliding | Cross):
        return True
    if isinstance(op.space, Window):
        padded = op.space.surrounded(op.source) != (op.source.height, op.source.width)
        return padded or op.space.shift != (0, 0)
    return isinstance(op.space, Full) and op.space.largest is not None


def is_diagonal(op: Connect) -> bool:
    """Whether y is an elementwise product of x: nothing is added, so no multiply-add is counted."""
    return isinstance(op.space, Point) and op.channels == "separate"


def test_an_elementwise_product_is_no_multiply_add() -> None:
    products = [op for op in OPS if is_diagonal(op)]
    assert len(products) > 10
    assert all(support_count(op) == op.target.elements and aggregation_macs(op) == 0 for op in products)


@pytest.mark.parametrize("exact", [True, False], ids=["every entry exists", "some entries do not"])
def test_multiply_adds_are_the_entries_of_w(exact: bool) -> None:
    ops = [op for op in OPS if has_missing_entries(op) != exact and not is_diagonal(op)]
    assert len(ops) > 50
    for op in ops:
        entries, counted = support_count(op), aggregation_macs(op)
        assert (entries == counted) if exact else (entries <= counted), op


def test_borders_are_all_that_a_sliding_window_counts_too_much() -> None:
    """Taps beyond the border, found without the oracle: per axis, the taps of each output that fall outside."""
    for op in OPS:
        if not isinstance(op.space, Sliding) or isinstance(op.weights, Outlook):
            continue
        inside = [
            sum(
                0 <= stride * place - before + dilation * tap < extent
                for place in range(outgoing)
                for tap in range(size)
            )
            for extent, outgoing, size, dilation, stride, before in zip(
                (op.source.height, op.source.width),
                (op.target.height, op.target.width),
                op.space.size,
                op.space.dilation,
                op.space.stride,
                op.space.before,
                strict=True,
            )
        ]
        channels = op.target.channels * (op.source.channels // op.channel_groups)
        assert support_count(op) == math.prod(inside) * channels


def test_static_parameters_are_the_ties_on_the_support() -> None:
    exact = 0
    for op in OPS:
        if not isinstance(op.weights, Static):
            continue
        allocated = math.prod(op.weight_shape)
        if has_missing_entries(op):
            assert tie_count(op) <= allocated
        else:
            exact += 1
            assert tie_count(op) == allocated, op
    assert exact > 40
