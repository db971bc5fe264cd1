"""Search spaces: what holes mean, exact counts, uniform draws, networks, and the spaces that archspec ships."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from brute_space import Brute
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

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
from archspec.search.space.filling import Filler
from archspec.search.space.holes import HoleReader
from archspec.search.space.layout import lay_out

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

HEAD = """
space: 1
name: small
base: dw_conv_nano
"""


@pytest.fixture(scope="module")
def nano() -> SearchSpace:
    return load_space(SPACES / "connectivity_nano.yaml")


@pytest.fixture
def space_of(tmp_path: Path) -> Any:
    def made(text: str, name: str = "small.yaml") -> SearchSpace:
        (tmp_path / name).write_text(text)
        return load_space(tmp_path / name)

    return made


def problems_of(make: Any) -> list[tuple[int, str, str]]:
    """(line, found, path) of each problem."""
    with pytest.raises(SpecError) as caught:
        make()
    return [(p.location.line if p.location else 0, p.found, p.path) for p in caught.value.problems]


def bare_space(data: dict[str, Any]) -> SearchSpace:
    """A space over data that need not be a legal network."""
    reader = HoleReader()
    template = reader.read(data)
    layout, problems = lay_out(template, reader.holes)
    if reader.problems or problems:
        raise SpecError([*reader.problems, *problems])
    return SearchSpace("bare", None, Path("bare"), layout.genes, (), template, Filler(template, layout))


# ------------------------------------------------------------------ counting against brute force


@st.composite
def networks_with_holes(draw: Any) -> dict[str, Any]:
    """Small networks with holes shared by name, nested, conditional, and per network, stage or block."""
    levels = [draw(st.sampled_from(["network", "stage", "block"])) for _ in range(draw(st.integers(1, 4)))]
    sizes = [draw(st.integers(1, 3)) for _ in levels]
    nested = [draw(st.booleans()) for _ in levels]

    def hole(number: int) -> dict[str, Any]:
        options: list[Any] = [f"{number}{letter}" for letter in "abc"[: sizes[number]]]
        deeper = [n for n in range(number + 1, len(levels)) if levels[n] == levels[number]]
        if nested[number] and deeper:
            options[-1] = {"x": hole(deeper[0])}
        return {"choose": options, "name": f"n{number}", "per": levels[number]}

    def conditional(number: int) -> dict[str, Any]:
        made = hole(number)
        reach = ["network", "stage", "block"][: ["network", "stage", "block"].index(levels[number]) + 1]
        earlier = [n for n in range(number) if levels[n] in reach]
        if earlier and draw(st.booleans()):
            other = draw(st.sampled_from(earlier))
            made |= {"when": {f"n{other}": [f"{other}a"]}, "else": None}
        return made

    def follower(number: int) -> dict[str, Any]:
        return {"follow": f"n{number}", "choose": [{"y": n} for n in range(sizes[number])]}

    def block() -> list[Any]:
        used = draw(st.lists(st.integers(0, len(levels) - 1), max_size=3))
        content: list[Any] = [conditional(number) for number in used]
        if used and draw(st.booleans()):
            content.append(follower(used[0]))
        return content

    patterns: list[Any] = ["p", "q", ["p", "q"], ["q", "q", "p"]]
    stages = []
    for number in range(draw(st.integers(1, 2))):
        depth = {"choose": [1, 2, 3][: draw(st.integers(1, 3))], "name": f"d{number}", "per": "stage"}
        chosen = draw(st.lists(st.sampled_from(patterns), min_size=1, max_size=3, unique_by=str))
        pattern = {"choose": chosen, "name": "pattern", "per": "stage"}
        width: Any = {"choose": [8, 16], "name": "width"} if draw(st.booleans()) else 8
        stages.append({"width": width, "depth": depth, "block": pattern})
    return {"stages": stages, "blocks": {"p": block(), "q": block()}}


@settings(max_examples=120, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], deadline=None)
@given(networks_with_holes(), st.integers(0, 2**32))
def test_counts_draws_and_fills_agree_with_brute_force(data: dict[str, Any], seed: int) -> None:
    try:
        space = bare_space(data)
    except SpecError:  # a hole that mentions one out of reach, or is never reached
        assume(False)
    genes = {gene.name: gene.choices for gene in space.genes}
    sizes = 1
    for choices in genes.values():
        sizes *= len(choices)
    assume(sizes <= 1500)
    brute = Brute(data, genes)
    expected = brute.points()
    assert count(space) == len(expected)
    listed = list(points(space))
    as_points = [frozenset((gene, values[gene]) for gene in active(space, values)) for values in listed]
    assert len(as_points) == len(set(as_points))
    assert set(as_points) == expected
    rng = random.Random(seed)
    for values in [sample(space, rng), *(rng.choice(listed) for _ in range(3))]:
        assert values in listed
        assert canonical(space, values) == values
        assert active(space, values) == brute.active(values)
        parts = space.filler.parts(values.__getitem__)
        filled = [[made.stage.data["width"], *(block.data for block in made.blocks)] for made in parts.stages]
        assert filled == brute.filled(values, brute.active(values))[1]
    for values in brute.assignments():
        assert canonical(space, values) in listed


def test_the_brute_force_itself_is_met_by_every_kind_of_hole() -> None:
    text = """
    stages:
      - {width: 8, depth: {choose: [1, 2], name: d}, block: {choose: [p, [p, q]], name: pattern, per: stage}}
      - {width: 8, depth: 2, block: {choose: [p, q], name: pattern, per: stage}}
    blocks:
      p: [{choose: [a, {x: {choose: [1, 2, 3], name: inner}}], name: outer}]
      q: [{choose: [a, b], name: mine, per: block, when: {d: [2]}, else: z}]
    """
    data = read_text(text)
    space = bare_space(data)
    # outer and inner: 4 ways where p is used (always: stage 0 starts with p). Pattern of stage 1 q: two places of q,
    # each with `mine` where d is 2. Stage 0 with [p, q] and depth 2: one more `mine`.
    depth_1 = 2 * 2  # patterns, nothing of q is drawn
    depth_2 = (1 + 2) * (1 + 4)
    assert count(space) == 4 * (depth_1 + depth_2)
    assert len(Brute(data, {gene.name: gene.choices for gene in space.genes}).points()) == 4 * (depth_1 + depth_2)


def test_shared_holes_of_many_stages_are_counted_without_listing() -> None:
    stage = {"width": 8, "depth": {"range": [1, 12]}, "block": {"choose": ["p", "q", ["p", "q"]]}}
    hole = {"choose": list(range(10)), "name": "k"}
    data = {"stages": [stage] * 10, "blocks": {"p": [hole], "q": [{**hole, "name": "m", "per": "block"}]}}
    assert count(bare_space(data)) == count_of_ten_stages()


def count_of_ten_stages() -> int:
    """By hand: `k` counts ten where any stage uses p. A stage of q alone has 10 ways for each of its places."""
    only_q = sum(10**depth for depth in range(1, 13))
    both = sum(10 ** (depth // 2) for depth in range(1, 13))
    all_ways = 12 + only_q + both
    return 10 * (all_ways**10 - only_q**10) + only_q**10


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


# ------------------------------------------------------------------ shares


def test_the_share_of_a_small_space_is_exact(space_of: Any) -> None:
    space = space_of(
        HEAD
        + """
network:
  stages: [{width: {range: [16, 64], step: 16}, depth: {range: [1, 2]}, block: dw}]
constraints: [params <= 20K, macs >= 1K]
"""
    )
    seen = feasible_share(space)
    by_hand = [point(space, values).cost for values in points(space)]
    assert seen.exact
    assert seen.points == len(by_hand) == 8
    assert seen.feasible == sum(cost.params <= 20_000 for cost in by_hand)
    assert 0 < seen.feasible < 8
    assert seen.interval == (seen.share, seen.share)
    assert seen.standard_error == 0
    assert seen.tightest == "params <= 20K"
    assert seen.costs["params"][0] == min(cost.params for cost in by_hand)
    assert seen.costs["params"][-1] == max(cost.params for cost in by_hand)


def test_the_share_of_a_large_space_has_an_error_that_covers_the_truth(space_of: Any) -> None:
    text = HEAD + "network:\n  stages:\n"
    for _ in range(2):
        text += "    - {width: {range: [8, 48], step: 8}, depth: {range: [1, 3]}, block: dw}\n"
    space = space_of(text + "constraints: [params <= 20K]\n")
    assert count(space) == 18**2
    truth = feasible_share(space).share
    assert truth == sum(point(space, values).cost.params <= 20_000 for values in points(space)) / 18**2
    seen = feasible_share(space, samples=300, seed=2, exact_up_to=100)
    assert not seen.exact
    assert seen.points == 300
    assert 0 < seen.standard_error < 0.03
    assert seen.interval[0] < truth < seen.interval[1]
    assert feasible_share(space, samples=300, seed=2, exact_up_to=100) == seen


def test_a_space_without_feasible_points_says_what_is_tightest(space_of: Any) -> None:
    space = space_of(HEAD + "constraints: [params <= 1K, macs <= 100G]\n")
    seen = feasible_share(space)
    assert (count(space), seen.share, seen.tightest) == (1, 0.0, "params <= 1K")


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


# ------------------------------------------------------------------ files, bases, errors


def test_a_base_space_is_merged_and_its_constraints_inherited(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(
        HEAD.replace("small", "parent")
        + "network:\n  classes: 7\n  head: {norm: layer, bias: false}\n"
        + "  stages: [{width: {choose: [16, 32]}, depth: 1, block: dw}]\nconstraints: [params <= 1M]\n"
    )
    child = "space: 1\nname: child\nbase: parent\nnetwork:\n  head: {bias: {choose: [true, false]}}\n"
    (tmp_path / "child.yaml").write_text(child)
    space = load_space(tmp_path / "child.yaml")
    assert [gene.name for gene in space.genes] == ["head.bias", "stages.0.width"]
    assert [str(constraint) for constraint in space.constraints] == ["params <= 1M"]
    made = network(space, {"head.bias": True})
    assert (made.classes, made.head.bias, made.head.norm) == (7, True, "layer")
    (tmp_path / "child.yaml").write_text(child + "constraints: []\n")
    assert load_space("child", beside=tmp_path).constraints == ()


def test_bases_that_go_in_a_circle_are_refused_and_named(tmp_path: Path) -> None:
    for name, base in (("a", "b"), ("b", "c.yaml"), ("c", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"space: 1\nname: {name}\nbase: {base}\n")
    with pytest.raises(SpecError, match=r"a\.yaml -> b\.yaml -> c\.yaml -> a\.yaml") as caught:
        load_space(tmp_path / "a.yaml")
    assert any(problem.location and problem.location.line == 3 for problem in caught.value.problems)


def test_every_mistake_of_a_file_is_reported_at_its_line(space_of: Any) -> None:
    text = """space: 1
name: bad
descripton: typo
base: swin_nano
network:
  clases: 10
  stages:
    - {width: {choose: [24, 32], nam: w}, depth: {range: [1, 2]}, block: {choose: [dw, swn, [plain, shifted]]}}
    - {width: {chose: [24, 32]}, depth: {range: [3, 2]}, block: dw}
    - {width: {choose: [24, 32], per: block}, depth: {choose: [2]}, block: dw}
  blocks:
    dw:
      - residual:
          - linear: {bias: false}
          - connect:
              connectivity: {space: {sliding: {choose: [3, 5, {sze: 7}], per: stge}}, channels: separate}
              sharing: {positions: offsets}
              weights: {choose: [static, {pooled: {reductin: {choose: [4, 8]}}}]}
    unused:
      - residual: [{norm: {choose: [batch, layr]}}]
constraints:
  - parms <= 0.3M
  - macs in [5M, 12Q]
"""
    found = problems_of(lambda: space_of(text))
    lines = Counter(line for line, _, _ in found)
    assert set(lines) == {3, 6, 8, 9, 10, 16, 18, 20, 22, 23}
    assert {word for _, word, _ in found} >= {"descripton", "clases", "nam", "swn", "chose", "sze", "stge", "reductin"}
    assert (18, "reductin", "network.blocks.dw.0.residual.1.connect.weights.pooled.reductin") in found


@pytest.mark.parametrize(
    ("hole", "found"),
    [
        ("{choose: []}", "0 options"),
        ("{choose: 32}", "32"),
        ("{choose: [16, 16]}", "16"),
        ("{range: [1]}", "[1]"),
        ("{range: [1, 10], step: 2}", "1 to 10 in steps of 2"),
        ("{range: [1, 8], log: yes}", "yes"),
        ("{range: [1, 8], log: true, step: 1}", "step and log"),
        ("{range: [1, 5000]}", "5,000"),
        ("{choose: [16, 32], when: {stages.0.depht: 1}, else: 16}", "stages.0.depht"),
        ("{choose: [16, 32], when: {depth: 9}, else: 16}", "9"),
        ("{choose: [16, 32], when: {depth: 1}}", "no else"),
        ("{choose: [16, 32], else: 16}", "no when"),
        ("{choose: [16, 32], when: {depth: 1}, else: {choose: [1, 2]}}", "{choose: [1, 2]}"),
        ("{choose: [16, 32], when: {width: 16}, else: 16}", "stages.0.width -> stages.0.width"),
        ("{choose: [16, 32, 64], follow: depth}", "3"),
        ("{choose: [16, 32], name: 'a b'}", "a b"),
        ("{choose: [16, 32], follow: depth, name: w}", "w"),
        ("{choose: [16, sixteen]}", "sixteen"),
        ("{choose: [0, 16]}", "0"),
        ("{range: [0, 16]}", "0"),
    ],
)
def test_a_hole_that_is_wrong_is_refused_where_it_stands(space_of: Any, hole: str, found: str) -> None:
    text = HEAD + f"network:\n  stages:\n    - {{width: {hole}, depth: {{range: [1, 2]}}, block: dw}}\n"
    problems = problems_of(lambda: space_of(text))
    assert {line for line, _, _ in problems} == {7}
    assert found in {word for _, word, _ in problems}


def test_holes_of_one_name_agree(space_of: Any) -> None:
    text = HEAD + (
        "network:\n  stages:\n"
        "    - {width: {choose: [16, 32], name: w}, depth: 1, block: dw}\n"
        "    - {width: {choose: [16, 64], name: w}, depth: 1, block: dw}\n"
    )
    assert [line for line, _, _ in problems_of(lambda: space_of(text))] == [8]
    space = space_of(text.replace("64", "32"))
    assert [(gene.name, gene.choices) for gene in space.genes] == [("w", (16, 32))]
    assert [stage.width for stage in network(space, {"w": 32}).stages] == [32, 32]


def test_options_that_are_legal_only_together_are_no_mistake(space_of: Any) -> None:
    space = space_of(
        HEAD
        + """
network:
  stages: [{width: 32, depth: 1, block: dw}]
  blocks:
    dw:
      - residual:
          - connect:
              connectivity: {space: {sliding: 3}, channels: separate}
              sharing: {positions: {choose: [offsets, none]}}
              weights: {choose: [static, local]}
"""
    )
    seen = feasible_share(space)
    assert (seen.points, seen.feasible) == (4, 3)
    assert "predicted at each position" in seen.illegal[0].text


def test_a_space_is_found_by_name_in_the_folder_of_spaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(SPACES.parent)
    assert load_space("connectivity_nano").name == "connectivity_nano"
    with pytest.raises(SpecError, match="nearest: connectivity_nano"):
        load_space("conectivity_nano")
    monkeypatch.chdir(tmp_path)
    assert load_space("connectivity_nano", beside=SPACES.parent / "studies").name == "connectivity_nano"


def test_the_digest_of_a_space_is_of_what_it_says(tmp_path: Path) -> None:
    text = (SPACES / "connectivity_nano.yaml").read_text()
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text("\n".join(line for line in text.splitlines() if not line.startswith("#")))
    (tmp_path / "c.yaml").write_text(text.replace("0.4M\n", "0.5M\n"))
    a, b, c = (load_space(tmp_path / f"{name}.yaml").digest for name in "abc")
    assert a == b != c
