"""Search spaces: what holes mean, exact counts, uniform draws, networks, and the spaces that archspec ships."""

import pickle
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from small_space import HEAD

from archspec.errors import SpecError
from archspec.resolve import resolve
from archspec.schema.load import load, network_from
from archspec.schema.source import read_text
from archspec.search.space import (
    SearchSpace,
    active,
    canonical,
    count,
    feasible_share,
    find,
    load_space,
    named_points,
    neighbours,
    network,
    point,
    points,
    sample,
    yaml,
)

SPACES = Path(__file__).parents[1] / "search_spaces"
NANO = ("d_dw_conv_nano", "dw_conv_nano", "i_dynamic_nano", "mixer_nano", "swin_nano")
TINY = (
    "d_dw_conv_tiny",
    "dw_conv_tiny",
    "i_dynamic_tiny",
    "static_swin_tiny",
    "static_swin_tiny_shared",
    "swin_tiny",
)


@pytest.fixture(scope="module")
def nano() -> SearchSpace:
    return load_space(SPACES / "connectivity_nano.yaml")


# ------------------------------------------------------------------ drawing


def test_draws_are_uniform_over_points_not_over_choices(space_of: Any) -> None:
    space = space_of(
        HEAD
        + """
network:
  stages:
    - {width: 32, depth: {choose: [1, 3]}, block: dw}
  blocks:
    dw: [{residual: [{mlp: {ratio: {choose: [1, 2, 4], per: block}}}]}]
"""
    )
    assert count(space) == 3 + 27
    rng = random.Random(5)
    drawn = Counter(tuple(sample(space, rng).values()) for _ in range(6000))
    assert len(drawn) == 30
    # 200 expected each; chi-square of 29 degrees of freedom is above 58.3 once in a thousand.
    assert sum((times - 200) ** 2 / 200 for times in drawn.values()) < 58.3
    again = random.Random(5)
    assert [sample(space, again) for _ in range(20)] == [
        sample(space, r) for r in [random.Random(5)] for _ in range(20)
    ]


def test_neighbours_differ_in_one_active_gene(nano: SearchSpace) -> None:
    start = sample(nano, random.Random(1))
    here = active(nano, start)
    found = list(neighbours(nano, start))
    assert len({tuple(values.items()) for values in found}) == len(found)
    for values in found:
        assert values == canonical(nano, values) != start
        changed = [name for name in here & active(nano, values) if values[name] != start[name]]
        assert len(changed) == 1


# ------------------------------------------------------------------ the networks of points


def test_a_point_is_a_network_that_reads_back(nano: SearchSpace) -> None:
    rng = random.Random(3)
    for _ in range(40):
        made = point(nano, sample(nano, rng))
        again = network_from(read_text(yaml(nano, made.assignment)))
        assert again == made.network
        assert resolve(again).digest == made.program.digest
        assert made.network.name == f"connectivity_nano_{made.program.digest[:8]}" == made.program.name
        used = {name for stage in made.network.stages for name in stage.blocks_in_order}
        assert used == set(made.network.blocks)


def test_kept_parts_change_nothing(nano: SearchSpace) -> None:
    rng = random.Random(4)
    for assignment in [sample(nano, rng) for _ in range(20)]:
        nano.kept.clear()
        fresh = point(nano, assignment)
        assert point(nano, assignment).program == fresh.program
        assert point(nano, assignment).network == fresh.network


def test_a_space_travels_to_another_process(nano: SearchSpace) -> None:
    assignment = sample(nano, random.Random(8))
    assert point(pickle.loads(pickle.dumps(nano)), assignment).program == point(nano, assignment).program


def test_blocks_that_differ_get_names_and_equal_ones_are_one(space_of: Any) -> None:
    space = space_of(
        HEAD
        + """
network:
  stages:
    - {width: 32, depth: 1, block: dw}
    - {width: 64, depth: 1, block: dw}
    - {width: 128, depth: 3, block: [dw, other]}
  blocks:
    dw: [{residual: [{mlp: {ratio: {choose: [1, 2], name: r, per: stage}}}]}]
    other: [{residual: [{mlp: {ratio: {choose: [1, 2, 3], per: block}}}]}]
"""
    )
    same = network(space, {"stages.0.r": 2, "stages.1.r": 2, "stages.2.r": 2})
    assert [stage.block for stage in same.stages] == ["dw", "dw", ("dw", "other")]
    assert list(same.blocks) == ["dw", "other"]
    mixed = network(space, {"stages.0.r": 2, "stages.2.r": 2})
    assert [stage.block for stage in mixed.stages] == ["dw_stage0", "dw_stage1", ("dw_stage0", "other")]
    assert list(mixed.blocks) == ["dw_stage0", "dw_stage1", "other"]


def test_blocks_of_one_stage_that_differ_are_listed_in_order(space_of: Any) -> None:
    space = space_of(
        HEAD
        + """
network:
  stages: [{width: 32, depth: 4, block: dw}]
  blocks:
    dw: [{residual: [{mlp: {ratio: {choose: [1, 2], per: block}}}]}]
"""
    )
    genes = [f"stages.0.blocks.{place}.dw.mlp.ratio" for place in range(4)]
    assert [gene.name for gene in space.genes] == genes
    made = network(space, dict(zip(genes, (1, 2, 1, 2), strict=True)))
    assert made.stages[0].block == ("dw_stage0_block0", "dw_stage0_block1")
    made = network(space, dict(zip(genes, (1, 1, 1, 2), strict=True)))
    assert made.stages[0].block == (*["dw_stage0_block0"] * 3, "dw_stage0_block3")


def test_names_labels_kinds_and_axes_of_genes(nano: SearchSpace) -> None:
    genes = {gene.name: gene for gene in nano.genes}
    assert genes["stages.0.block"].choices[:3] == ("attention+attention_shifted", "static+static_shifted", "depthwise")
    assert genes["stages.1.depthwise.weights"].choices == ("static", "pooled(reduction=8)")
    assert genes["stages.1.depthwise.sharing.channels"].choices == ("none", "groups(8)", "all")
    assert {name: (genes[name].kind, genes[name].axis) for name in genes if name.startswith("stages.2.")} == {
        "stages.2.width": ("ordinal", "width"),
        "stages.2.depth": ("ordinal", "depth"),
        "stages.2.block": ("categorical", "pattern"),
        "stages.2.window": ("ordinal", "connectivity"),
        "stages.2.sharing": ("categorical", "sharing"),
        "stages.2.depthwise.sliding": ("ordinal", "connectivity"),
        "stages.2.depthwise.sharing.channels": ("categorical", "sharing"),
        "stages.2.depthwise.weights": ("categorical", "weights"),
        "stages.2.inhomogeneous.sliding": ("ordinal", "connectivity"),
        "stages.2.inhomogeneous.sharing.channels.groups": ("ordinal", "sharing"),
        "stages.2.mixer.rank.size": ("ordinal", "width"),
    }
    depth = genes["stages.1.depth"]
    assert (depth.low, depth.high, depth.step, depth.log) == (1, 3, 1, False)


def test_an_assignment_that_is_none_of_the_space_is_refused(nano: SearchSpace) -> None:
    with pytest.raises(SpecError, match=r"nearest: stages\.0\.width") as caught:
        canonical(nano, {"stages.0.widht": 32, "stages.1.width": 33})
    assert len(caught.value.problems) == 2


def test_a_point_that_is_no_network_is_an_error_at_its_place_in_the_file(space_of: Any) -> None:
    space = space_of(
        "space: 1\nname: small\nbase: swin_nano\nnetwork:\n  stages:\n"
        "    - {width: {choose: [24, 32]}, depth: 2, block: [plain, shifted]}\n"
        "  blocks:\n    plain:\n      - residual:\n          - connect:\n"
        "              connectivity: {space: {window: 4}, channels: separate}\n"
        "              sharing: {positions: none, channels: {group_width: {choose: [16, 8]}}}\n"
        "              weights: attention\n"
    )
    with pytest.raises(SpecError) as caught:
        point(space, {"stages.0.width": 24, "blocks.plain.sharing.channels.group_width": 16})
    places = {(Path(p.location.file).name, p.location.line) for p in caught.value.problems if p.location}
    assert ("small.yaml", 10) in places
    seen = feasible_share(space)
    assert (seen.exact, seen.points, seen.feasible) == (True, 4, 2)
    assert [(rule.text, rule.share) for rule in seen.illegal] == [
        ("group_width must divide the number of channels", 0.5)
    ]


# ------------------------------------------------------------------ membership


def test_the_shipped_spaces_hold_the_named_points(nano: SearchSpace) -> None:
    found = named_points(nano)
    assert tuple(found) == NANO
    for name, assignment in found.items():
        assert point(nano, assignment).program.digest == resolve(load(name)).digest
    tiny = load_space(SPACES / "connectivity_tiny.yaml")
    assert tuple(name for name in TINY if find(tiny, resolve(load(name))) is not None) == TINY
    outside = ("swin_small", "deit_small", "swin_nano", "resmlp_12")
    assert all(find(tiny, resolve(load(name))) is None for name in outside)


def test_every_point_is_found_again_and_others_are_not(nano: SearchSpace) -> None:
    rng = random.Random(9)
    for _ in range(12):
        made = point(nano, sample(nano, rng))
        found = find(nano, made.program)
        assert found is not None
        assert point(nano, found).program.digest == made.program.digest
        wider = made.network.model_copy(update={"classes": 21})
        assert find(nano, resolve(wider)) is None


def test_drop_path_that_depends_on_the_whole_depth_does_not_hide_a_point(space_of: Any) -> None:
    space = space_of(
        HEAD
        + """
network:
  drop_path: {choose: [0.0, 0.1, 0.3]}
  stages:
    - {width: 32, depth: {range: [1, 3]}, block: dw}
    - {width: 64, depth: {range: [1, 3]}, block: dw}
"""
    )
    for values in points(space):
        assert find(space, point(space, values).program) == values


def test_named_points_may_take_the_input_and_classes_of_a_study() -> None:
    fields = {"classes": 10, "input": {"size": 64, "channels": 3}}
    space = load_space(SPACES / "connectivity_nano.yaml", network=fields)
    made = network(space, {})
    assert (made.classes, made.input.size) == (10, 64)
    assert named_points(space) == {}
    assert tuple(named_points(space, adapted=fields)) == NANO
