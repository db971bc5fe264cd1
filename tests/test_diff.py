"""The difference of two networks: known edits, costs that add up, alignments that are cheapest, the command."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from typer.testing import CliRunner

import archspec
from archspec.cli.app import app
from archspec.relations.align import Item, align, cost, pattern_cost, stage_pairs, whole_cost
from archspec.relations.difference import difference, distance
from archspec.relations.facts import stage_facts
from archspec.relations.index import named
from archspec.relations.signature import Pattern, Stage, Step, signature
from archspec.resolve import resolve
from archspec.schema.load import load, network_from, network_yaml
from archspec.schema.source import read_text

ROOT = Path(__file__).parent.parent


def between(before: str, after: str) -> "archspec.relations.data.Difference":  # type: ignore[name-defined]
    return difference(resolve(load(before)), resolve(load(after)))


def axes(before: str, after: str) -> set[tuple[str, str, str]]:
    return {(e.axis, e.before, e.after) for e in between(before, after).edits if e.of_axes}


def test_swin_and_its_depth_wise_convolution_differ_in_the_four_axes_that_the_paper_names() -> None:
    found = between("swin_tiny", "dw_conv_tiny")
    assert found.axis_edits == 4
    assert axes("swin_tiny", "dw_conv_tiny") == {
        ("space", "window 7x7", "sliding 7x7"),
        ("space", "window 7x7, shifted 3x3", "sliding 7x7"),
        ("space", "full", "sliding 7x7"),
        ("sharing over positions", "none", "offsets"),
        ("sharing over channels", "groups of 32 channels", "none"),
        ("weights", "attention (bias, relative bias, value, output)", "static"),
    }


def test_dynamic_depth_wise_convolution_is_one_axis_edit_and_nothing_else_away() -> None:
    found = between("dw_conv_tiny", "d_dw_conv_tiny")
    assert (found.axis_edits, found.other_edits) == (1, 0)
    (edit,) = found.edits
    assert (edit.axis, edit.before) == ("weights", "static")
    assert edit.after.startswith("pooled (1/4 of the channels")
    assert edit.stages == ("stage 1", "stage 2", "stage 3", "stage 4")


@pytest.mark.parametrize(
    ("before", "after", "of_axes", "others"),
    [
        ("swin_tiny", "swin_small", 0, {"depth", "drop path"}),
        ("swin_tiny", "swin_base", 0, {"depth", "width", "drop path"}),
        ("swin_tiny", "swin_tiny_group_width_16", 1, set()),
        ("swin_tiny", "swin_tiny_no_bias", 1, set()),
        ("dw_conv_tiny", "dw_conv_tiny_384_12x12", 1, {"image", "drop path"}),
        ("resnet_50", "resnet_101", 0, {"depth"}),
    ],
)
def test_known_differences(before: str, after: str, of_axes: int, others: set[str]) -> None:
    found = between(before, after)
    assert found.axis_edits == of_axes, [str(edit) for edit in found.edits]
    assert {edit.axis for edit in found.edits if not edit.of_axes} == others


def test_a_network_differs_from_itself_in_nothing_whatever_its_name() -> None:
    text = network_yaml(load("swin_nano")).replace("name: swin_nano", "name: mine")
    mine = resolve(network_from(read_text(text, "mine")))
    found = difference(resolve(load("swin_nano")), mine)
    assert found.equal
    assert found.edits == ()
    assert {(s.before and s.before.params) == (s.after and s.after.params) for s in found.stages} == {True}


def test_only_equal_networks_are_at_no_distance() -> None:
    """What the digest tells apart and signatures do not would be a difference that diff hides."""
    known = [each.signature for each in named().values()]
    for before, after in combinations(known, 2):
        alike = replace(before, name="", digest="") == replace(after, name="", digest="")
        assert alike == (before.digest == after.digest), f"{before.name} and {after.name}"


@pytest.mark.parametrize("name", ["swin_tiny", "hrnet_w18", "volo_d1", "resnet_50", "layer_mlp", "mixer_b16"])
def test_costs_of_the_regions_add_up_to_the_networks(name: str) -> None:
    program = resolve(load(name))
    regions, total = stage_facts(program), archspec.cost(name)
    assert sum(region.params for region in regions) == total.params
    assert sum(region.macs for region in regions) == total.macs
    assert sum(region.activation_bytes for region in regions) == total.activation_bytes
    assert [region.name for region in regions] == [
        "stem",
        *(f"stage {number + 1}" for number in range(len(load(name).stages))),
        "head",
    ]


def test_distance_is_the_count_of_the_edits() -> None:
    names = ("swin_tiny", "dw_conv_tiny", "resnet_50", "mixer_b16", "volo_d1")
    for before, after in combinations(names, 2):
        found = between(before, after)
        signatures = signature(resolve(load(before))), signature(resolve(load(after)))
        assert distance(*signatures) == (found.axis_edits, found.other_edits)
        assert found.axis_edits > 0


def _random_chain(random_: random.Random, length: int) -> Pattern:
    def step() -> Step:
        if random_.random() < 0.5:
            return Step("norm", (("kind", random_.choice(["layer", "batch"])),))
        values = {"space": "sliding window full", "channels": "full separate", "weights": "static attention"}
        return Step("connect", tuple((axis, random_.choice(words.split())) for axis, words in values.items()))

    return tuple(step() for _ in range(length))


def _cheapest(before: Pattern, after: Pattern) -> int:
    """Every alignment, tried: what `align` must not be worse than."""
    if not before or not after:
        return sum(map(whole_cost, (*before, *after)))
    return min(
        cost(before[0], after[0]) + _cheapest(before[1:], after[1:]),
        whole_cost(before[0]) + _cheapest(before[1:], after),
        whole_cost(after[0]) + _cheapest(before, after[1:]),
    )


def _price(pair: tuple[Item | None, Item | None]) -> int:
    old, new = pair
    if old is not None and new is not None:
        return cost(old, new)
    return whole_cost(old if old is not None else new)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(20))
def test_an_alignment_is_the_cheapest_of_all(seed: int) -> None:
    random_ = random.Random(seed)
    before, after = (_random_chain(random_, random_.randint(0, 5)) for _ in range(2))
    pairs = align(before, after)
    assert tuple(old for old, _ in pairs if old is not None) == before
    assert tuple(new for _, new in pairs if new is not None) == after
    assert sum(map(_price, pairs)) == pattern_cost(before, after) == _cheapest(before, after)


def test_of_more_stages_each_is_compared_and_the_unlike_ones_are_extra() -> None:
    def stage(*kinds: str) -> Stage:
        return Stage("4x4x8", (8,), (), (tuple(Step("norm", (("kind", kind),)) for kind in kinds),), (0,))

    a, b, c = stage("layer"), stage("layer", "batch"), stage("affine")
    pairs = stage_pairs([a, c], [a, b, c, c])
    assert [(pair.before, pair.after) for pair in pairs] == [(a, a), (a, b), (c, c), (c, c)]
    assert [pair.extra for pair in pairs] == ["", "after", "", "after"]
    back = stage_pairs([a, b, c, c], [a, c])
    assert [pair.extra for pair in back] == ["", "before", "", "before"]


def test_the_command_prints_costs_and_its_exit_code_tells() -> None:
    runner = CliRunner()
    result = runner.invoke(app, ["diff", "swin_tiny", "dw_conv_tiny"])
    assert result.exit_code == 0
    assert "4 axis edits" in result.stdout
    assert "-14.5 %" in result.stdout, "parameters of the whole"
    assert runner.invoke(app, ["diff", "swin_tiny", "dw_conv_tiny", "--exit-code"]).exit_code == 1
    same = runner.invoke(app, ["diff", "swin_nano", "swin_nano", "--exit-code"])
    assert (same.exit_code, "one network" in same.stdout) == (0, True)
    data = json.loads(runner.invoke(app, ["diff", "mixer_b16", "hrnet_w18", "--json"]).stdout)
    assert data["axis_edits"] == len({(e["place"], e["axis"]) for e in data["edits"] if e["of_axes"]})
    more = len(load("hrnet_w18").stages) - len(load("mixer_b16").stages)
    assert [pair["before"] is None for pair in data["stages"]].count(True) == more > 0


def test_neither_command_imports_torch() -> None:
    for words in (["explain", "swin_nano"], ["diff", "swin_nano", "dw_conv_nano"], ["graph"]):
        code = (
            "import sys; from archspec.cli.app import app\n"
            f"try: app({words!r})\n"
            "except SystemExit as end: assert not end.code, end.code\n"
            "heavy = {'torch', 'timm', 'optuna', 'plotly', 'sqlalchemy'} & set(sys.modules)\n"
            "sys.exit(f'imported {heavy}' if heavy else 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
