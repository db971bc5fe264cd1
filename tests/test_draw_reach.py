"""What ops and networks read: against the oracle's supports, against Jacobians, and against counts made by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from archspec import ir, reference
from archspec.compiler import build
from archspec.draw.blocks import field_reaches
from archspec.draw.fields import fields_data
from archspec.draw.reach import Product, counts, identity, pairs, reach, read_at, united
from archspec.ir import Connect, Feature
from archspec.reference.connectivity import existing
from archspec.resolve import resolve
from archspec.schema.load import load, names
from archspec.testing.roster import roster

# Class attention gives no position of a map.
CASES = {case.name: case.op for case in roster() if not case.op.token_asks}
NETWORKS = tuple(name for name in names() if name.endswith("_nano"))


def on_map(op: Connect) -> np.ndarray:
    """The oracle's support between positions of maps, without tokens and padding."""
    support = reference.support(op)[:, existing(op)]
    return support[op.target.class_tokens :, op.source.class_tokens :].numpy()


@pytest.mark.parametrize("name", CASES)
def test_an_op_reads_what_the_oracle_says(name: str) -> None:
    op = CASES[name]
    if isinstance(op.space, ir.Reduced):
        # The matrix is over the smaller map; each of its positions reads its patch, and each of y reads all.
        assert on_map(op).all()
        return
    assert np.array_equal(pairs(reach(op)), on_map(op))


def random_network(name: str) -> torch.nn.Module:
    """In float64, and nothing is as an initialisation would have it: what is zero there must show."""
    module = build(resolve(load(name)), seed=1).double().eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 20
    return module


def jacobian_support(y: Tensor, image: Tensor, row: int, column: int) -> np.ndarray:
    """Which pixels the features y (1, H, W, C) of one position change with."""
    weights = torch.randn(y.shape[-1], generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((y[0, row, column] * weights).sum(), image, retain_graph=True)
    return (gradient[0] != 0).any(0).numpy()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_depends_on_what_its_jacobian_says(name: str) -> None:
    module = random_network(name)
    found: dict[str, Tensor] = {}
    expected = field_reaches(resolve(load(name)), through_weights=True)
    for path in expected:
        module.get_submodule(path).register_forward_hook(lambda _, __, y, path=path: found.update({path: y}))
    generator = torch.Generator().manual_seed(4)
    image = torch.randn(1, 3, 32, 32, generator=generator, dtype=torch.float64).requires_grad_()
    module(image)
    assert found.keys() == expected.keys()
    for path, y in found.items():
        height, width = y.shape[1:3]
        for row, column in {(0, 0), (height // 2, width // 2), (height // 2 - 1, width - 1), (height // 3, 1)}:
            measured = jacobian_support(y, image, row, column)
            assert np.array_equal(read_at(expected[path], row, column), measured), (path, row, column)


def test_with_static_weights_both_readings_are_one() -> None:
    assert fields_data(resolve(load("dw_conv_nano"))).static
    assert not fields_data(resolve(load("d_dw_conv_nano"))).static


# --- counted by hand


def test_growth_of_a_depthwise_network() -> None:
    """Patches of 2, then a 7x7 kernel: (2 * 7)^2 pixels inside, (2 * 4)^2 in a corner."""
    data = fields_data(resolve(load("dw_conv_nano")))
    stem, first = data.fields[:2]
    assert (stem.path, stem.stage, stem.map, stem.reads.least, stem.reads.most) == ("stem", -1, (16, 16), 4, 4)
    assert first.path == "stages.0.blocks.0"
    sides = sum(min(i, 3) + 1 + min(15 - i, 3) for i in range(16))
    assert (first.reads.least, first.reads.most) == (8 * 8, 14 * 14)
    assert first.reads.mean == pytest.approx((2 * sides / 16) ** 2)
    assert first.overlays["corner"].sum() == 8 * 8
    assert first.overlays["corner"][:8, :8].all()


def test_growth_of_windows() -> None:
    """Windows of 4 on patches of 2, then windows of 4 on 8x8, then the same moved by 2, whose corner stands alone."""
    data = fields_data(resolve(load("swin_nano")))
    stem, first, second, third = data.fields[:4]
    assert [field.stage for field in data.stages] == [-1, 0, 1, 2]
    assert (stem.reads.most, first.reads.least, first.reads.most) == (4, 64, 64)
    # 4x4 positions of 4 pixels a side: 16x16 of 32x32.
    assert (second.reads.least, second.reads.most) == (256, 256)
    # A moved window in the middle touches all four; one at a corner is one window's part.
    assert (third.reads.least, third.reads.most) == (256, 1024)


def test_a_union_is_counted_once() -> None:
    row = Product(np.ones((3, 3), bool), np.eye(3, dtype=bool))
    column = Product(np.eye(3, dtype=bool), np.ones((3, 3), bool))
    assert (counts((row, column)) == 5).all()
    assert pairs((row, column)).sum() == 9 * 5
    assert len(united(row, column, *identity(Feature(3, 3, 1)))) == 2


def test_a_union_of_dozens_of_products_is_counted() -> None:
    """As 40 blocks of a row kernel beside a column kernel have it: a wide and flat one to a narrow and tall one."""

    def band(reach_: int) -> np.ndarray:
        return np.abs(np.subtract.outer(np.arange(41), np.arange(41))) <= reach_

    diamond = tuple(Product(band(size), band(40 - size)) for size in range(41))
    assert counts(diamond)[20, 20] == sum(1 for r in range(-20, 21) for c in range(-20, 21) if abs(r) + abs(c) <= 40)
    few = diamond[::10]
    assert (counts(few).ravel() == pairs(few).sum(1)).all()
