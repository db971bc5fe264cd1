"""Steps that branch: what cannot stand says why and where; hostile files are refused at once."""

import time
from typing import Any

import pytest
from compositions import OTHER, START, TWO, program, text

from archspec import ir
from archspec.errors import SpecError
from archspec.resolve import resolve
from archspec.schema.load import network_from
from archspec.schema.source import read_text

# steps -> a part of the rule, of what was found, the path, and the place of the culprit.
ILLEGAL: dict[str, tuple[str, str, str, str]] = {
    "residual: [linear: {width: 7}]": (
        "must give the shape it takes",
        "takes 12x20x12, gives 12x20x7",
        "blocks.only.0.residual",
        "9:17",
    ),
    "residual: {branch: [linear: {width: 7}], shortcut: []}": (
        "branch and its shortcut",
        "the branch gives 12x20x7, the shortcut 12x20x12",
        "blocks.only.0.residual",
        "9:17",
    ),
    "gate: [linear: {width: 5}]": ("multiplied by", "12x20x12 times 12x20x5", "blocks.only.0.gate", "9:13"),
    "parallel: {branches: [[], [gather: 2]], join: concat}": (
        "one size",
        "12x20x12 and 6x10x48",
        "blocks.only.0.parallel",
        "9:17",
    ),
    "parallel: {branches: [[], []], join: tokens}": ("join: tokens", "12x20x12 and", "blocks.only.0.parallel", "9:17"),
    "split: {branches: [[], [], [], [], []]}": (
        "make up all channels",
        "5 equal slices of 12",
        "blocks.only.0.split.branches",
        "9:25",
    ),
    "split: {branches: [[], []], sizes: [3, 4]}": (
        "make up all channels",
        "3 + 4 = 7 of 12 channels",
        "blocks.only.0.split.sizes",
        "9:42",
    ),
    "split: {branches: [[], [act: relu]], sizes: [3, 9], cascade: true}": (
        "cascade",
        "takes 12x20x9, branch 0 gives 12x20x3",
        "blocks.only.0.split.branches.1",
        "9:30",
    ),
    "streams: [[], []]": ("one list of steps for each map", "2 lists for 1 maps", "blocks.only.0.streams", "9:16"),
    "exchange: [[[], []]]": (
        "one entry for each incoming map",
        "rows of 2 for 1 maps",
        "blocks.only.0.exchange",
        "9:17",
    ),
    "exchange: [[[], null]]": ("one entry for each incoming map", "rows of 2", "blocks.only.0.exchange", "9:17"),
    "exchange: [[[]], [[]]]; linear: {}": ("takes one map", "2 maps (12x20x12, 12x20x12)", "blocks.only.1", "10:7"),
    "shuffle: 5": ("shuffle must divide", "5 for 12 channels", "blocks.only.0", "9:7"),
    "select: class_token": ("needs a class_token step", "no class token", "blocks.only.0", "9:7"),
    "resize: nearest": ("what the step around it took", "resize: nearest", "blocks.only.0", "9:7"),
    "sequence: [resize: bilinear]": ("what the step around it took", "bilinear", "blocks.only.0.sequence.0", "9:18"),
    "pool: {max: {size: 13, padding: none}}": ("must fit into the map", "13 on 12", "blocks.only.0", "9:7"),
    "class_token: true; pool: {max: {size: 3}}": ("no place on the map", "a pool", "blocks.only.1", "10:7"),
    "linear: {width: 9}": ("the first block of a stage must end", "9 channels", "stages.0.width", "6:13"),
}


@pytest.mark.parametrize("steps", ILLEGAL)
def test_what_cannot_stand_names_its_rule_and_place(steps: str) -> None:
    rule, found, path, place = ILLEGAL[steps]
    with pytest.raises(SpecError) as error:
        program(steps)
    problem = error.value.problems[0]
    assert rule in problem.rule
    assert found in problem.found
    assert problem.path == path
    assert str(problem.location) == f"probe.yaml:{place}"


# What the schema refuses: steps -> a part of the rule, the path, the nearest names.
MALFORMED: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "residule: []": ("must be {connect: …}", "blocks.only.0.residule", ("residual",)),
    "residual: []": ("length of at least 1", "blocks.only.0.residual", ()),
    "residual: {branch: [linear: {}], shortcuts: []}": (
        "unknown key",
        "blocks.only.0.residual.shortcuts",
        ("shortcut",),
    ),
    "residual: {branch: [linaer: {}], shortcut: []}": (
        "must be {connect",
        "blocks.only.0.residual.branch.0.linaer",
        ("linear",),
    ),
    "parallel: {branches: [[], []], join: som}": (
        "must be sum, product, concat or tokens",
        "blocks.only.0.parallel.join",
        ("sum",),
    ),
    "gate: [pool: maen]": ("must be mean or max", "blocks.only.0.gate.0.pool", ("mean",)),
    "pool: {max: {size: 3, count_padding: true}}": ("unknown key", "blocks.only.0.pool.max.count_padding", ()),
    "split: {branches: [[], []], sizes: [12]}": ("one size for each branch", "blocks.only.0.split.sizes", ()),
    "exchange: [[[]], [[], []]]": ("one entry for each incoming map", "blocks.only.0.exchange.1", ()),
    "exchange: [[null]]": ("comes from somewhere", "blocks.only.0.exchange.0", ()),
    "gate: [block: othr]": ("is defined under blocks", "blocks.only.0.gate.0.block", ("other",)),
    "multiply: .nan": ("finite", "blocks.only.0.multiply", ()),
    "norm: {layer: {centring: true}}": ("unknown key", "blocks.only.0.norm.layer.centring", ()),
}


@pytest.mark.parametrize("steps", MALFORMED)
def test_what_is_malformed_names_the_nearest(steps: str) -> None:
    rule, path, near = MALFORMED[steps]
    with pytest.raises(SpecError) as error:
        program(steps, OTHER)
    problem = error.value.problems[0]
    assert rule in problem.rule
    assert problem.path == path
    assert set(near) <= set(problem.nearest)
    assert problem.location is not None


def refused(content: str) -> SpecError:
    started = time.monotonic()
    with pytest.raises(SpecError) as error:
        resolve(network_from(read_text(content, "probe.yaml")))
    assert time.monotonic() - started < 5
    return error.value


def test_blocks_do_not_lead_back_to_themselves() -> None:
    error = refused(text("block: a", "  a: [residual: [block: b]]\n  b: [gate: [block: a]]\n"))
    (problem,) = error.problems
    assert problem.rule == "a block does not lead back to itself"
    assert problem.found == "a -> b -> a"
    assert str(problem.location) == "probe.yaml:11:21"
    assert refused(text("block: only")).problems[0].found == "only -> only"


def test_blocks_that_double_are_refused_at_once() -> None:
    doubling = "".join(f"  a{n}: [block: a{n + 1}, block: a{n + 1}]\n" for n in range(30)) + "  a30: [act: relu]\n"
    (problem,) = refused(text("block: a0", doubling)).problems
    assert "at most 65,536 steps" in problem.rule
    assert problem.location is not None
    # Also where nothing uses them.
    assert "at most 65,536 steps" in refused(text("act: relu", doubling)).problems[0].rule


def test_steps_nest_only_so_deep() -> None:
    chain = "".join(f"  a{n}: [gate: [block: a{n + 1}]]\n" for n in range(40)) + "  a40: [act: relu]\n"
    assert "nest at most 48 deep" in refused(text("block: a0", chain)).problems[0].rule
    deep: Any = [{"act": "relu"}]
    for _ in range(40):
        deep = [{"gate": deep}]
    assert resolve_data(deep).ops
    for _ in range(40):
        deep = [{"gate": deep}]
    with pytest.raises(ValueError, match="nest at most 48 deep"):
        resolve_data(deep)


def resolve_data(block: Any) -> ir.Program:
    from archspec.schema.network import Network

    data = {"archspec": 1, "name": "deep", "input": {"size": 4}, "classes": 2,
            "stages": [{"width": 3, "depth": 1, "block": "a"}], "blocks": {"a": block}}  # fmt: skip
    return resolve(Network.model_validate(data))


def test_what_follows_from_one_mistake_is_not_reported() -> None:
    start = START.replace("block: only", "block: only, downsample: [linear: {width: 9}]")
    with pytest.raises(SpecError) as error:
        program("residual: [linear: {}]", "", start)
    (problem,) = error.value.problems
    assert "the stem must end with the width" in problem.rule
    assert problem.nearest[0] == "width: 9"


def test_maps_must_be_as_many_as_the_widths() -> None:
    start = START.replace("width: 12", "width: [12, 6]")
    with pytest.raises(SpecError) as error:
        program("act: relu", "", start)
    assert "one for each map" in error.value.problems[0].rule
    with pytest.raises(SpecError) as error:
        program("streams: [[], []]", "", TWO.split("head:")[0])
    assert "the head takes one map" in error.value.problems[0].rule


HEADS = {
    "{pool: none}": ("with pool none the head must be given a map of one position", "head.pool"),
    "{pool: class_token}": ("needs a class_token step", "head.pool"),
    "{pool: max, classifier: false}": ("as many channels as there are classes", "head.classifier"),
    "{steps: [linear: {width: 0}]}": ("must be at least 1", "head.steps.0.linear.width"),
    "{steps: [shuffle: 5]}": ("shuffle must divide", "head.steps.0"),
}


@pytest.mark.parametrize("head", HEADS)
def test_heads_that_cannot_stand(head: str) -> None:
    rule, path = HEADS[head]
    with pytest.raises(SpecError) as error:
        program("act: relu", "", f"{START}head: {head}\n")
    assert rule in error.value.problems[0].rule
    assert error.value.problems[0].path == path
