"""The oracle against matrices written by hand, counts, its own Jacobian and finite differences.

Legend: B batch; H, W height and width; N positions; C channels; K window positions.
"""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, seed, settings
from torch import Tensor

from archspec import ir, reference
from archspec.ir import Connect, Feature, Full, Point, Predicted, Reduced, Sliding, Static, Window
from archspec.testing import Layer, draw
from archspec.testing.strategies import legal_layers

EXACT = {"rtol": 0, "atol": 1e-12}


def connection(space: Any, source: Feature, channels: Any = "separate", **more: Any) -> Connect:
    """A layer as written; sharing is over offsets unless said otherwise."""
    sharing = {"positions": more.pop("positions", "offsets"), "channels": more.pop("share", "none")}
    layer = {"connectivity": {"space": space, "channels": channels}, "sharing": sharing, "weights": "static"}
    (op,) = Layer(layer | more, source).connections
    return op


def matrix(op: Connect, *weights: float) -> list[list[float]]:
    """W of the only channel, with these weights in the order of `op.weight_shape`."""
    weight = torch.tensor(weights, dtype=torch.float64).reshape(op.weight_shape)
    x = torch.zeros(1, *reference.layout(op.source), dtype=torch.float64)
    found = reference.dense(op, {"weight": weight}, x)
    return found.reshape(op.target.positions, -1).tolist()  # type: ignore[no-any-return]


def line(width: int) -> Feature:
    return Feature(1, width, 1)


# ------------------------------------------------------------------ matrices written by hand


def test_point() -> None:
    op = connection("point", line(3), positions="none", bias=False)
    assert matrix(op, 1, 2, 3) == [[1, 0, 0], [0, 2, 0], [0, 0, 3]]


def test_sliding_is_a_band() -> None:
    op = connection({"sliding": [1, 3]}, line(4))
    assert matrix(op, 1, 2, 3) == [[2, 3, 0, 0], [1, 2, 3, 0], [0, 1, 2, 3], [0, 0, 1, 2]]


def test_an_even_size_reaches_further_right() -> None:
    op = connection({"sliding": [1, 4]}, line(4))
    assert matrix(op, 1, 2, 3, 4) == [[2, 3, 4, 0], [1, 2, 3, 4], [0, 1, 2, 3], [0, 0, 1, 2]]


def test_sliding_from_the_position_itself_with_stride_and_dilation() -> None:
    space = {"sliding": {"size": [1, 2], "stride": [1, 2], "dilation": [1, 3], "padding": "end"}}
    assert matrix(connection(space, line(6)), 1, 2) == [[1, 0, 0, 2, 0, 0], [0, 0, 1, 0, 0, 2], [0, 0, 0, 0, 1, 0]]


def test_windows_of_their_own_weights_with_padding() -> None:
    """Three positions in windows of two: the fourth is padding, whose column is kept and whose row is dropped."""
    op = connection({"window": [1, 2]}, line(3), positions="none", bias=False)
    assert matrix(op, 1, 2, 3, 4, 5, 6, 7, 8) == [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6]]


def test_a_shifted_grid_does_not_join_what_wraps() -> None:
    """Moved by one, the windows are {1, 2}, {3, 4} and {5, 0}; 5 and 0 stand on two sides of the wrap."""
    op = connection({"window": {"size": [1, 2], "shift": [0, 1]}}, line(6), positions="windows")
    assert matrix(op, 1, 2, 3, 4) == [
        [4, 0, 0, 0, 0, 0],
        [0, 1, 2, 0, 0, 0],
        [0, 3, 4, 0, 0, 0],
        [0, 0, 0, 1, 2, 0],
        [0, 0, 0, 3, 4, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_offsets_are_what_is_read_minus_what_reads() -> None:
    op = connection("full", line(3))
    assert matrix(op, 1, 2, 3, 4, 5) == [[3, 4, 5], [2, 3, 4], [1, 2, 3]]


def test_offsets_inside_windows() -> None:
    op = connection({"window": [1, 2]}, line(4))
    assert matrix(op, 1, 2, 3) == [[2, 3, 0, 0], [1, 2, 0, 0], [0, 0, 2, 3], [0, 0, 1, 2]]


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        ("none", [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8]]),
        ("all", [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 1, 2], [0, 0, 3, 4]]),
    ],
)
def test_groups_of_channels(share: str, expected: list[list[float]]) -> None:
    op = connection("point", Feature(1, 1, 4), {"groups": 2}, share=share)
    weight = torch.arange(1.0, 1 + math.prod(op.weight_shape)).reshape(op.weight_shape)
    assert reference.dense(op, {"weight": weight}, torch.zeros(1, 1, 1, 4))[0, :, 0].tolist() == expected


def test_kernels_serve_contiguous_channels() -> None:
    op = connection("point", Feature(1, 1, 6), share={"groups": 2})
    assert reference.dense(op, {"weight": torch.tensor([1.0, 2.0])}, torch.zeros(1, 1, 1, 6)).flatten().tolist() == [
        *(1.0, 1.0, 1.0),
        *(2.0, 2.0, 2.0),
    ]


# ------------------------------------------------------------------ what defines W


@seed(0)
@settings(max_examples=100, deadline=None, database=None)
@given(legal_layers())
def test_dense_is_what_apply_does(layer: Layer) -> None:
    """Of a static layer W is the Jacobian; of one with padding, at the positions that exist."""
    for op in layer.connections:
        if not isinstance(op.weights, Static) or isinstance(op.space, Reduced):
            continue  # W of a reduced map is multiplied with that map, not with x
        sample = draw(op, 0, batch=1)
        found = torch.autograd.functional.jacobian(
            lambda x, op=op, s=sample: reference.apply(op, s.parameters, x), sample.x
        )
        found = found.reshape(op.target.positions, op.target.channels, op.source.positions, op.source.channels)
        expected = reference.dense(op, sample.parameters, sample.x)
        if op.channels == "separate":
            expected = torch.diag_embed(expected.permute(1, 2, 0), dim1=1, dim2=3)
        torch.testing.assert_close(found, expected[:, :, exists(op)], **EXACT)


def exists(op: Connect) -> Tensor:
    """Of the positions that are read, those on the map: windows are padded at the end, halos on every side."""
    if not isinstance(op.space, Window):
        return torch.ones(op.neighbours if isinstance(op.space, Reduced) else op.source.positions, dtype=torch.bool)
    (down, across), (height, width) = op.space.halo, op.space.surrounded(op.source)
    rows, columns = torch.arange(height) - down, torch.arange(width) - across
    on_rows, on_columns = (rows >= 0) & (rows < op.source.height), (columns >= 0) & (columns < op.source.width)
    return (on_rows[:, None] & on_columns).flatten()


@seed(0)
@settings(max_examples=100, deadline=None, database=None)
@given(legal_layers())
def test_support_and_tie_say_what_dense_shows(layer: Layer) -> None:
    """Entries that exist are not zero, and two are equal exactly where their tie indices are."""
    for op in layer.connections:
        if not isinstance(op.weights, Static) or op.weights.normalise:
            continue
        sample = draw(op, 0, batch=1)
        weight = 1 + torch.arange(math.prod(op.weight_shape), dtype=torch.float64).reshape(op.weight_shape)
        found = reference.dense(op, {**sample.parameters, "weight": weight}, sample.x)
        if op.channels == "separate":
            found = torch.diag_embed(found.permute(1, 2, 0), dim1=1, dim2=3)
        found = found[:, :, exists(op)]
        assert int(found.count_nonzero()) == reference.support_count(op)
        assert len(found[found != 0].unique()) == reference.tie_count(op)


MAP = Feature(5, 7, 6)


@pytest.mark.parametrize(
    ("space", "positions", "expected"),
    [
        ("point", "none", 35),
        ("point", "offsets", 1),
        ({"sliding": [3, 5]}, "offsets", 15),
        ({"sliding": [3, 5]}, "none", (3 * 5 - 2) * (5 * 7 - 2 - 4)),
        ("full", "none", 35 * 35),
        ("full", "offsets", 9 * 13),
        ({"window": [5, 1]}, "none", 7 * 5 * 5),
        ({"window": [5, 1]}, "windows", 5 * 5),
        ({"window": [5, 1]}, "offsets", 9),
    ],
)
def test_distinct_weights_are_counted(space: Any, positions: str, expected: int) -> None:
    """K values for a sliding window, (2k - 1)^2 for the offsets of a window, less what no border leaves to read."""
    assert reference.tie_count(connection(space, MAP, positions=positions, share="all")) == expected
    assert reference.tie_count(connection(space, MAP, positions=positions, share={"groups": 2})) == 2 * expected
    assert reference.tie_count(connection(space, MAP, positions=positions)) == 6 * expected
    assert reference.tie_count(connection(space, MAP, "full", positions=positions)) == 36 * expected
    assert reference.tie_count(connection(space, MAP, {"groups": 2}, positions=positions)) == 18 * expected
    grouped = connection(space, MAP, {"groups": 2}, positions=positions, share="all")
    assert reference.tie_count(grouped) == 9 * expected


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("point", 35),
        ("full", 35 * 35),
        ({"sliding": 3}, (3 * 5 - 2) * (3 * 7 - 2)),
        ({"window": [3, 4]}, (3**2 + 2**2) * (4**2 + 3**2)),
    ],
)
def test_existing_entries_are_counted(space: Any, expected: int) -> None:
    """A border loses one tap a side; windows of 3 by 4 on 5 by 7 hold 3 and 2 rows, 4 and 3 columns."""
    assert reference.support_count(connection(space, MAP)) == 6 * expected
    assert reference.support_count(connection(space, MAP, "full")) == 36 * expected
    assert reference.support_count(connection(space, MAP, {"groups": 2})) == 18 * expected


# ------------------------------------------------------------------ the normal form keeps the meaning


def raw(space: ir.Space, positions: str, weights: ir.Weights, share: str = "groups") -> Connect:
    """An op as it would stand without the normal form."""
    feature = Feature(3, 5, 6)
    return Connect("op", feature, feature, space, "separate", 6, positions, share, 2, weights, "none")


WHOLE, ONE = Window((3, 5), (0, 0), False), Window((1, 1), (0, 0), False)
LOCAL, POOLED = Predicted("local", 3, True, "relu", True), Predicted("pooled", 3, True, "relu", False)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        (raw(WHOLE, "none", Static("normal")), raw(Full(), "none", Static("normal"))),
        (raw(WHOLE, "windows", Static("normal")), raw(Full(), "none", Static("normal"))),
        (raw(WHOLE, "offsets", Static("normal")), raw(Full(), "offsets", Static("normal"))),
        (raw(WHOLE, "windows", POOLED), raw(Full(), "none", POOLED)),
        (raw(WHOLE, "none", LOCAL), raw(Full(), "none", LOCAL)),
        (raw(WHOLE, "none", ir.Attention(True, True, True)), raw(Full(), "none", ir.Attention(True, True, True))),
        (raw(ONE, "windows", Static("normal")), raw(Point(), "offsets", Static("normal"))),
        (raw(ONE, "none", Static("normal")), raw(Point(), "none", Static("normal"))),
        (raw(ONE, "none", LOCAL), raw(Point(), "none", LOCAL)),
        (raw(Sliding((1, 1), (1, 1), (1, 1), (0, 0)), "offsets", POOLED), raw(Point(), "offsets", POOLED)),
    ],
)
def test_the_normal_form_means_the_same(written: Connect, normal: Connect) -> None:
    sample = draw(written, 10)
    shapes = {row.name: row.shape for row in normal.parameters}
    parameters = {name: value.reshape(shapes[name]) for name, value in sample.parameters.items()}
    found = reference.apply(written, sample.copy(False).parameters, sample.x, training=True)
    torch.testing.assert_close(found, reference.apply(normal, parameters, sample.x, training=True), **EXACT)


def test_gradients_are_those_of_finite_differences() -> None:
    op = connection(
        {"sliding": 3}, Feature(2, 3, 4), positions="none", share={"groups": 2}, weights={"local": {"act": "silu"}}
    )
    sample = draw(op, 11).copy(gradients=True)
    names = [row.name for row in op.parameters if row.trainable]

    def run(x: Tensor, *values: Tensor) -> Tensor:
        own = {name: value.clone() for name, value in sample.parameters.items()}
        return reference.apply(op, own | dict(zip(names, values, strict=True)), x, training=True)

    assert torch.autograd.gradcheck(run, (sample.x, *(sample.parameters[name] for name in names)))


def test_the_oracle_refuses_what_it_does_not_know() -> None:
    feature = Feature(2, 3, 4)
    with pytest.raises(ValueError, match="use run"):
        reference.apply(ir.Residual("r", feature, feature), {}, torch.zeros(1, 2, 3, 4))
