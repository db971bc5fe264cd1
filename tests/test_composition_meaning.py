"""Steps that branch: equal meanings have equal digests, what cannot stand says why and where, hostile files are refused."""

import time
from typing import Any

import pytest
from compositions import conv

from archspec import ir
from archspec.errors import SpecError
from archspec.resolve import resolve, verify
from archspec.schema.load import network_from
from archspec.schema.source import read_text

START = """\
archspec: 1
name: probe
input: {size: [12, 20], channels: 12}
classes: 5
stages:
  - {width: 12, depth: 1, block: only}
"""


def text(steps: str, more: str = "", start: str = START) -> str:
    lines = "".join(f"    - {step}\n" for step in steps.split("; "))
    return f"{start}blocks:\n  only:\n{lines}{more}"


def program(steps: str, more: str = "", start: str = START) -> ir.Program:
    return resolve(network_from(read_text(text(steps, more, start), "probe.yaml")))


LINEAR, NORM = "linear: {}", "norm: batch"
TWO = START.replace("{width: 12, depth: 1", "{width: [12, 6], depth: 1").replace(
    "block: only}", "block: only, downsample: [exchange: [[[]], [[linear: {width: 6}]]]]}\nhead: {steps: [exchange: [[[], null]]]}"
)
# In the network with one map, or with two (TWO), both spellings mean the same.
EQUAL: dict[str, tuple[str, str, str]] = {
    "a sequence is its steps": ("sequence: [linear: {}, sequence: [norm: batch]]", f"{LINEAR}; {NORM}", START),
    "a block is its steps": ("block: other", f"{LINEAR}; {NORM}", START),
    "an empty shortcut is x": (
        "residual: {branch: [linear: {}], shortcut: []}", "residual: [linear: {}]", START,
    ),
    "a shortcut that does nothing is x": (
        "residual: {branch: [linear: {}], shortcut: [shuffle: 1]}", "residual: [linear: {}]", START,
    ),
    "a sum of x and one branch is a residual": (
        "parallel: {branches: [[linear: {}], []], join: sum}", "residual: [linear: {}]", START,
    ),
    "the order of a sum": (
        "parallel: {branches: [[linear: {}], [norm: batch], []]}",
        "parallel: {branches: [[], [linear: {}], [norm: batch]]}", START,
    ),
    "a shortcut and a branch": (
        "residual: {branch: [linear: {}], shortcut: [norm: batch]}",
        "residual: {branch: [norm: batch], shortcut: [linear: {}]}", START,
    ),
    "the order of a product of equal shapes": (
        "gate: [linear: {}]", "parallel: {branches: [[linear: {}], []], join: product}", START,
    ),
    "a gate is a product with x": (
        "gate: [pool: mean, linear: {}]", "parallel: {branches: [[], [pool: mean, linear: {}]], join: product}", START,
    ),
    "one branch": ("parallel: {branches: [[linear: {}]], join: concat}", LINEAR, START),
    "one slice": ("split: {branches: [[linear: {}]], cascade: true}", LINEAR, START),
    "slices written out": (
        "split: {branches: [[], [linear: {}]]}", "split: {branches: [[], [linear: {}]], sizes: [6, 6]}", START,
    ),
    "slices put together again": ("split: {branches: [[], []], sizes: [3, 9]}; act: relu", "act: relu", START),
    "a cascade without anything to hand on to": (
        "split: {branches: [[linear: {}], []], cascade: true}", "split: {branches: [[linear: {}], []]}", START,
    ),
    "one map is one stream": ("streams: [[linear: {}]]", LINEAR, START),
    "one row of one map": ("exchange: [[[linear: {}]]]", LINEAR, START),
    "streams are an exchange of each with itself": (
        "streams: [[linear: {}], [norm: batch]]",
        "exchange: [[[linear: {}], null], [null, [norm: batch]]]", TWO,
    ),
    "an exchange of nothing": ("exchange: [[[], null], [null, []]]; streams: [[], [act: relu]]",
                               "streams: [[], [act: relu]]", TWO),
    "one group is not shuffled": ("shuffle: 1; shuffle: 12; act: relu", "act: relu", START),
    "a window of a pool that covers the map": (
        "gate: [pool: {max: {size: [12, 20], padding: none}}, linear: {}]", "gate: [pool: max, linear: {}]", START,
    ),
    "padding that no window reads": (
        "pool: {mean: {size: [2, 4], stride: [2, 4], padding: end, count_padding: false}}",
        "pool: {mean: {size: [2, 4], stride: [2, 4], padding: none}}", START,
    ),
    "a pool of one position": ("gate: [pool: mean, pool: max]", "gate: [pool: mean]", START),
    "the same size": ("gate: [linear: {}, resize: bilinear]", "gate: [linear: {}]", START),
    "a factor of one": ("resize: {scale: 1}; multiply: 1; act: relu", "act: relu", START),
    "from one position there is nothing in between": (
        "gate: [pool: mean, resize: bilinear]", "gate: [pool: mean, resize: nearest]", START,
    ),
    "the map of a network without class token": ("select: map; act: relu", "act: relu", START),
    "batch norm without centring": ("norm: {batch: {centring: false}}", NORM, START),
    "first where it is the block whose turn it is": ("act: relu", "act: relu", START.replace("block: only", "first: only, block: other")),
}  # fmt: skip
OTHER = "  other: [linear: {}, norm: batch]\n"


@pytest.mark.parametrize("case", EQUAL)
def test_equal_meanings_have_equal_digests(case: str) -> None:
    one, other, start = EQUAL[case]
    plain = START if "first" in start else start
    assert program(one, OTHER, start).digest == program(other, OTHER, plain).digest


DIFFERENT = {
    "which branch is first in a concatenation": (
        "parallel: {branches: [[linear: {}], []], join: concat}; linear: {width: 12}",
        "parallel: {branches: [[], [linear: {}]], join: concat}; linear: {width: 12}",
    ),
    "a cascade": (
        "split: {branches: [[linear: {}], [linear: {}]], cascade: true}",
        "split: {branches: [[linear: {}], [linear: {}]]}",
    ),
    "the other slice": ("split: {branches: [[linear: {}], []]}", "split: {branches: [[], [linear: {}]]}"),
    "a sum and a product": (
        "parallel: {branches: [[linear: {}], [norm: batch]]}",
        "parallel: {branches: [[linear: {}], [norm: batch]], join: product}",
    ),
    "nearest and bilinear": ("gate: [resize: {scale: 2, mode: nearest}, pool: mean]", "gate: [resize: {scale: 2, mode: bilinear}, pool: mean]"),
    "groups of a shuffle": ("shuffle: 3", "shuffle: 4"),
    "a constant": ("multiply: 0.5", "multiply: 0.25"),
    "centring": ("norm: {batch: {centring: true}}", NORM),
    "padding that counts": ("pool: {mean: {size: 3}}", "pool: {mean: {size: 3, count_padding: false}}"),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT)
def test_different_meanings_have_different_digests(case: str) -> None:
    one, other = DIFFERENT[case]
    assert program(one).digest != program(other).digest


# steps -> a part of the rule, of what was found, the path, and the place of the culprit.
ILLEGAL: dict[str, tuple[str, str, str, str]] = {
    "residual: [linear: {width: 7}]": (
        "must give the shape it takes", "takes 12x20x12, gives 12x20x7", "blocks.only.0.residual", "9:17",
    ),
    "residual: {branch: [linear: {width: 7}], shortcut: []}": (
        "branch and its shortcut", "the branch gives 12x20x7, the shortcut 12x20x12", "blocks.only.0.residual", "9:17",
    ),
    "gate: [linear: {width: 5}]": ("multiplied by", "12x20x12 times 12x20x5", "blocks.only.0.gate", "9:13"),
    "parallel: {branches: [[], [gather: 2]], join: concat}": (
        "one size", "12x20x12 and 6x10x48", "blocks.only.0.parallel", "9:17",
    ),
    "parallel: {branches: [[], []], join: tokens}": ("join: tokens", "12x20x12 and", "blocks.only.0.parallel", "9:17"),
    "split: {branches: [[], [], [], [], []]}": (
        "make up all channels", "5 equal slices of 12", "blocks.only.0.split.branches", "9:25",
    ),
    "split: {branches: [[], []], sizes: [3, 4]}": (
        "make up all channels", "3 + 4 = 7 of 12 channels", "blocks.only.0.split.sizes", "9:42",
    ),
    "split: {branches: [[], [act: relu]], sizes: [3, 9], cascade: true}": (
        "cascade", "takes 12x20x9, branch 0 gives 12x20x3", "blocks.only.0.split.branches.1", "9:30",
    ),
    "streams: [[], []]": ("one list of steps for each map", "2 lists for 1 maps", "blocks.only.0.streams", "9:16"),
    "exchange: [[[], []]]": ("one entry for each incoming map", "rows of 2 for 1 maps", "blocks.only.0.exchange", "9:17"),
    "exchange: [[[], null]]": ("one entry for each incoming map", "rows of 2", "blocks.only.0.exchange", "9:17"),
    "exchange: [[[]], [[]]]; linear: {}": ("takes one map", "2 maps (12x20x12, 12x20x12)", "blocks.only.1", "10:7"),
    "shuffle: 5": ("shuffle must divide", "5 for 12 channels", "blocks.only.0", "9:7"),
    "select: class_token": ("needs a class_token step", "no class token", "blocks.only.0", "9:7"),
    "resize: nearest": ("what the step around it took", "resize: nearest", "blocks.only.0", "9:7"),
    "sequence: [resize: bilinear]": ("what the step around it took", "bilinear", "blocks.only.0.sequence.0", "9:18"),
    "pool: {max: {size: 13, padding: none}}": ("must fit into the map", "13 on 12", "blocks.only.0", "9:7"),
    "class_token: true; pool: {max: {size: 3}}": ("no place on the map", "a pool", "blocks.only.1", "10:7"),
    "linear: {width: 9}": ("the first block of a stage must end", "9 channels", "stages.0.width", "6:13"),
}  # fmt: skip


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
    "residual: {branch: [linear: {}], shortcuts: []}": ("unknown key", "blocks.only.0.residual.shortcuts", ("shortcut",)),
    "residual: {branch: [linaer: {}], shortcut: []}": ("must be {connect", "blocks.only.0.residual.branch.0.linaer", ("linear",)),
    "parallel: {branches: [[], []], join: som}": ("must be sum, product, concat or tokens", "blocks.only.0.parallel.join", ("sum",)),
    "gate: [pool: maen]": ("must be mean or max", "blocks.only.0.gate.0.pool", ("mean",)),
    "pool: {max: {size: 3, count_padding: true}}": ("unknown key", "blocks.only.0.pool.max.count_padding", ()),
    "split: {branches: [[], []], sizes: [12]}": ("one size for each branch", "blocks.only.0.split.sizes", ()),
    "exchange: [[[]], [[], []]]": ("one entry for each incoming map", "blocks.only.0.exchange.1", ()),
    "exchange: [[null]]": ("comes from somewhere", "blocks.only.0.exchange.0", ()),
    "gate: [block: othr]": ("is defined under blocks", "blocks.only.0.gate.0.block", ("other",)),
    "multiply: .nan": ("finite", "blocks.only.0.multiply", ()),
    "norm: {layer: {centring: true}}": ("unknown key", "blocks.only.0.norm.layer.centring", ()),
}  # fmt: skip


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


def paths(found: ir.Program) -> dict[str, str]:
    return {op.path: type(op).__name__ for op in ir.walk(found.ops)}


def test_paths() -> None:
    steps = (
        f"residual: {{branch: [sequence: [norm: batch, block: other]], shortcut: [{conv(1)}]}}; "
        "parallel: {branches: [[], [act: relu, gate: [linear: {}]]], join: product}"
    )
    found = paths(program(steps, "  other: [linear: {}]\n"))
    assert [path for path in found if path.startswith("stages")] == [
        "stages.0.blocks.0.0",
        "stages.0.blocks.0.0.0.0",
        "stages.0.blocks.0.0.0.1.0",
        "stages.0.blocks.0.0.shortcut.0",
        "stages.0.blocks.0.1",
        "stages.0.blocks.0.1.1.0",
        "stages.0.blocks.0.1.1.1",
        "stages.0.blocks.0.1.1.1.0",
    ]
    exchanged = paths(program("exchange: [[[linear: {}], [linear: {width: 12}]], [null, [act: relu]]]", "", TWO))
    assert {"stages.0.blocks.0.0.0.0.0", "stages.0.blocks.0.0.0.1.0", "stages.0.blocks.0.0.1.1.0"} <= set(exchanged)


def test_every_residual_of_a_block_drops_paths() -> None:
    start = START.replace("classes: 5\n", "classes: 5\ndrop_path: 0.2\n").replace("depth: 1", "depth: 2")
    start = start.replace("stages:", "stem: [residual: [linear: {}]]\nstages:")
    steps = (
        "residual: [residual: [linear: {}], linear: {}]; "
        "residual: {branch: [linear: {}, drop_path: 0.5], shortcut: [norm: batch]}; "
        "residual: {branch: [sequence: [linear: {}]], shortcut: [norm: batch]}"
    )
    drops = {op.path: op.rate for op in ir.walk(program(steps, "", start).ops) if isinstance(op, ir.DropPath)}
    block = "stages.0.blocks.1"
    assert drops == {
        "stages.0.blocks.0.1.1": 0.5,
        f"{block}.0.0.drop_path": 0.2,
        f"{block}.0.drop_path": 0.2,
        f"{block}.1.1": 0.5,
        f"{block}.2.drop_path": 0.2,
    }


def test_programs_made_by_hand_are_verified() -> None:
    map_, half = ir.Feature(4, 4, 8), ir.Feature(4, 4, 4)
    act = ir.Activation("a", half, half, "relu")
    good = ir.Branch(ir.Channels(0, 4), (act,), half)
    wrong: tuple[tuple[tuple[ir.Branch, ...], ir.Shape, str], ...] = (
        ((good, ir.Branch(ir.Channels(4, 8), (), half)), half, "give what they are joined to"),
        ((good, ir.Branch(ir.Channels(4, 12), (), map_)), map_, "takes what there is"),
        ((good, ir.Branch(ir.Stream(0), (), half)), map_, "takes what there is"),
        ((good, ir.Branch(ir.Channels(2, 8), (act,), half)), map_, "takes the shape that the op before gives"),
        ((good, ir.Branch(ir.Channels(4, 8), (), map_)), map_, "gives what its last op gives"),
    )
    for branches, target, rule in wrong:
        op = ir.Branches("b", map_, target, branches, "concat")
        with pytest.raises(SpecError, match=rule):
            verify(ir.Program("hand", map_, 2, (op,)))
    verify(ir.Program("hand", map_, 2, (ir.Branches("b", map_, map_, (good, good), "concat"),)))


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
