"""Exact counts, draws and fills of search spaces, against a second, plainer reading of the language."""

import random
from pathlib import Path
from typing import Any

from brute_space import Brute
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from archspec.errors import SpecError
from archspec.schema.source import read_text
from archspec.search.space import SearchSpace, active, canonical, count, points, sample
from archspec.search.space.filling import Filler
from archspec.search.space.holes import HoleReader
from archspec.search.space.layout import lay_out


def bare_space(data: dict[str, Any]) -> SearchSpace:
    """A space over data that need not be a legal network."""
    reader = HoleReader()
    template = reader.read(data)
    layout, problems = lay_out(template, reader.holes)
    if reader.problems or problems:
        raise SpecError([*reader.problems, *problems])
    return SearchSpace("bare", None, Path("bare"), layout.genes, (), template, Filler(template, layout))


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
