"""Search spaces whose holes stand inside nested steps, in blocks that stand among steps, and in `first`."""

import random
from pathlib import Path

import pytest

import archspec
from archspec.errors import SpecError
from archspec.schema.load import network_from
from archspec.schema.source import read_text
from archspec.search.space import SearchSpace, count, find, load_space, point, points, sample
from archspec.search.space import yaml as space_yaml

NESTED = """\
space: 1
name: nested
network:
  input: {size: 8, channels: 3}
  classes: 4
  stem: [block: start]
  stages:
    - {width: 8, depth: {choose: [1, 3]}, first: down, block: [plain, cascade]}
    - {width: {choose: [8, 12]}, depth: 2, first: {choose: [down, wide]}, block: plain}
  head: {steps: [linear: {width: 6}, block: act], pool: {choose: [mean, max]}}
  blocks:
    start: [linear: {width: 8}]
    act: [act: {choose: [relu, gelu], name: act, per: stage}]
    conv:
      - connect:
          connectivity: {space: {sliding: {choose: [3, 5], name: taps, per: stage}}, channels: separate}
          sharing: {positions: offsets}
          weights: static
      - block: act
    down:
      - linear: {width: stage}
      - pool: {mean: {size: 2, stride: 2}}
    wide:
      - parallel:
          branches: [[linear: {width: stage}], [linear: {width: stage}, block: conv]]
          join: {choose: [sum, product]}
    plain:
      - residual:
          branch: [block: {choose: [conv, act], name: inner, per: stage}, linear: {}]
          shortcut: {choose: [[], [norm: batch]]}
    cascade:
      - split: {cascade: true, branches: [[], [block: conv]]}
"""


def space_of(tmp_path: Path, text: str) -> SearchSpace:
    path = tmp_path / "nested.yaml"
    path.write_text(text)
    return load_space(path)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> SearchSpace:
    return space_of(tmp_path_factory.mktemp("space"), NESTED)


def test_genes_of_nested_holes(space: SearchSpace) -> None:
    names = {gene.name: (gene.choices, gene.axis) for gene in space.genes}
    assert names["stages.0.taps"] == ((3, 5), "connectivity")
    assert names["stages.1.first"] == (("down", "wide"), "pattern")
    assert names["stages.1.inner"] == (("conv", "act"), "pattern")
    assert names["blocks.wide.join"] == (("sum", "product"), "pattern")
    assert names["blocks.plain.shortcut"] == (("[]", "norm(batch)"), "pattern")
    # The head's activation is drawn for the network, those of blocks for each stage.
    assert {"act", "stages.0.act", "stages.1.act"} <= set(names)


def by_hand(space: SearchSpace) -> int:
    """Points, from what each stage reads."""
    # Per stage: `plain` draws inner, and taps only with conv; with act or conv alike it reads act.
    plain = 2 * 2 + 2
    # Depth 1 is `down` alone; depth 3 is down, cascade (taps, act) and plain (its inner on top of those).
    deep = 2 * 2 * 2
    shortcut = 2
    # Stage 1: `down` and plain, or `wide` (join, taps, act) and plain.
    down, wide = plain, 2 * (2 * 2) * 2
    second = 2 * (down + wide)
    head = 2 * 2
    return head * shortcut * (1 + deep) * second


def test_the_count_is_that_of_the_points(space: SearchSpace) -> None:
    assert count(space) == by_hand(space)
    listed = {tuple(sorted(each.items())) for each in points(space)}
    assert len(listed) == count(space)


def test_points_are_networks_that_read_back_and_are_found(space: SearchSpace) -> None:
    rng = random.Random(0)
    for _ in range(6):
        chosen = point(space, sample(space, rng))
        again = network_from(read_text(space_yaml(space, chosen.assignment)))
        assert archspec.digest(again) == chosen.program.digest
        found = find(space, chosen.program)
        assert found is not None
        assert point(space, found).program.digest == chosen.program.digest


def test_the_first_block_keeps_its_place(space: SearchSpace) -> None:
    deep = next(each for each in points(space) if each["stages.0.depth"] == 3)
    assert deep["stages.1.inner"] == deep["stages.0.inner"]
    network = point(space, deep).network
    assert network.stages[0].blocks_in_order == ("down", "cascade", "plain")
    assert network.stages[0].first == "down"
    assert network.stages[1].blocks_in_order[1].startswith("plain")


MISTAKES = {
    "the block is not there": (("[block: conv]]}", "[block: cnov]]}"), "is defined under blocks", 32),
    "a circle": (("    start: [linear: {width: 8}]", "    start: [linear: {width: 8}, block: start]"), "lead back", 12),
    "an option that is none": (("choose: [sum, product]", "choose: [sum, prodcut]"), "must be sum, product", 26),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found_where_they_are(mistake: str, tmp_path: Path) -> None:
    change, rule, line = MISTAKES[mistake]
    assert change[0] in NESTED
    with pytest.raises(SpecError) as error:
        space_of(tmp_path, NESTED.replace(*change))
    problem = error.value.problems[0]
    assert rule in problem.rule
    assert problem.location is not None
    assert problem.location.line == line


def test_blocks_that_double_are_refused_at_once(tmp_path: Path) -> None:
    doubling = "".join(f"    a{n}: [block: a{n + 1}, block: a{n + 1}]\n" for n in range(40)) + "    a40: [act: relu]\n"
    with pytest.raises(SpecError, match="holds at most"):
        space_of(tmp_path, NESTED + doubling)
