"""The space of the whole language: it has every value of the three axes, its nano points train, the zoo's lie in it."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import archspec
from archspec import ir
from archspec.schema.legality import all_combinations, broken_rules
from archspec.search.space import SearchSpace, count, load_space, named_points, point, sample
from archspec.search.space.networks import Point, network_yaml

FILE = Path(__file__).parents[1] / "search_spaces" / "connectivity_full.yaml"
SPACES = {ir.Point, ir.Full, ir.Cross, ir.Reduced, ir.Sliding, ir.Window}
NEAR = {"criss_cross_nano", "gmlp_nano", "halonet_nano", "interlaced_nano", "outlook_nano", "pvt_nano", "swin_nano"}


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load_space(FILE)


@pytest.fixture(scope="module")
def nano(space: SearchSpace) -> list[Point]:
    """Sixty points of the smaller scale."""
    rng = random.Random(0)
    return [point(space, {**sample(space, rng), "scale": "nano"}) for _ in range(60)]


def connections(points: list[Point]) -> Iterator[ir.Connect]:
    for each in points:
        yield from (op for op in ir.walk(each.program.ops) if isinstance(op, ir.Connect))


def test_it_has_every_space_and_every_source_of_weights(nano: list[Point]) -> None:
    found = list(connections(nano))
    assert {type(op.space) for op in found} == SPACES
    windows = [op.space for op in found if isinstance(op.space, ir.Window)]
    assert {any(w.halo) for w in windows} == {w.interlaced for w in windows} == {False, True}
    assert {_source(op.weights) for op in found} == {
        legal.weights for legal in all_combinations() if not broken_rules(legal)
    }


def _source(weights: ir.Weights) -> str:
    return weights.source if isinstance(weights, ir.Predicted) else type(weights).__name__.lower()


def test_it_is_counted_exactly_and_at_both_scales(space: SearchSpace) -> None:
    assert count(space) > 10**18
    sizes = {scale: point(space, {"scale": scale}).program.image.height for scale in ("nano", "tiny")}
    assert sizes == {"nano": 32, "tiny": 224}


def test_named_networks_lie_in_it(space: SearchSpace) -> None:
    assert set(named_points(space, among=sorted({*NEAR, "swin_base", "resnet_50"}))) == NEAR


@pytest.mark.parametrize("number", range(4))
def test_a_nano_point_trains(nano: list[Point], number: int) -> None:
    chosen = nano[number]
    torch.manual_seed(number)
    model = archspec.compile(chosen.network).train()
    assert sum(p.numel() for p in model.parameters()) == chosen.cost.params
    image = torch.randn(2, 3, 32, 32)
    model(image).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


def test_a_point_of_it_is_a_file_of_its_own(nano: list[Point], tmp_path: Path) -> None:
    for number, each in enumerate(nano[:10]):
        file = tmp_path / f"{number}.yaml"
        file.write_text(network_yaml(each.network))
        assert archspec.digest(file) == each.program.digest
