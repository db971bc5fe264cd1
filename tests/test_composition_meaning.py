"""Steps that branch: equal meanings have equal digests; paths, drop path, and programs made by hand."""

import pytest
from compositions import OTHER, START, TWO, conv, program

from archspec import ir
from archspec.errors import SpecError
from archspec.resolve import verify

LINEAR, NORM = "linear: {}", "norm: batch"
# In the network with one map, or with two (TWO), both spellings mean the same.
EQUAL: dict[str, tuple[str, str, str]] = {
    "a sequence is its steps": ("sequence: [linear: {}, sequence: [norm: batch]]", f"{LINEAR}; {NORM}", START),
    "a block is its steps": ("block: other", f"{LINEAR}; {NORM}", START),
    "an empty shortcut is x": (
        "residual: {branch: [linear: {}], shortcut: []}",
        "residual: [linear: {}]",
        START,
    ),
    "a shortcut that does nothing is x": (
        "residual: {branch: [linear: {}], shortcut: [shuffle: 1]}",
        "residual: [linear: {}]",
        START,
    ),
    "a sum of x and one branch is a residual": (
        "parallel: {branches: [[linear: {}], []], join: sum}",
        "residual: [linear: {}]",
        START,
    ),
    "the order of a sum": (
        "parallel: {branches: [[linear: {}], [norm: batch], []]}",
        "parallel: {branches: [[], [linear: {}], [norm: batch]]}",
        START,
    ),
    "a shortcut and a branch": (
        "residual: {branch: [linear: {}], shortcut: [norm: batch]}",
        "residual: {branch: [norm: batch], shortcut: [linear: {}]}",
        START,
    ),
    "the order of a product of equal shapes": (
        "gate: [linear: {}]",
        "parallel: {branches: [[linear: {}], []], join: product}",
        START,
    ),
    "a gate is a product with x": (
        "gate: [pool: mean, linear: {}]",
        "parallel: {branches: [[], [pool: mean, linear: {}]], join: product}",
        START,
    ),
    "one branch": ("parallel: {branches: [[linear: {}]], join: concat}", LINEAR, START),
    "one slice": ("split: {branches: [[linear: {}]], cascade: true}", LINEAR, START),
    "slices written out": (
        "split: {branches: [[], [linear: {}]]}",
        "split: {branches: [[], [linear: {}]], sizes: [6, 6]}",
        START,
    ),
    "slices put together again": ("split: {branches: [[], []], sizes: [3, 9]}; act: relu", "act: relu", START),
    "a cascade without anything to hand on to": (
        "split: {branches: [[linear: {}], []], cascade: true}",
        "split: {branches: [[linear: {}], []]}",
        START,
    ),
    "one map is one stream": ("streams: [[linear: {}]]", LINEAR, START),
    "one row of one map": ("exchange: [[[linear: {}]]]", LINEAR, START),
    "streams are an exchange of each with itself": (
        "streams: [[linear: {}], [norm: batch]]",
        "exchange: [[[linear: {}], null], [null, [norm: batch]]]",
        TWO,
    ),
    "an exchange of nothing": (
        "exchange: [[[], null], [null, []]]; streams: [[], [act: relu]]",
        "streams: [[], [act: relu]]",
        TWO,
    ),
    "one group is not shuffled": ("shuffle: 1; shuffle: 12; act: relu", "act: relu", START),
    "a window of a pool that covers the map": (
        "gate: [pool: {max: {size: [12, 20], padding: none}}, linear: {}]",
        "gate: [pool: max, linear: {}]",
        START,
    ),
    "padding that no window reads": (
        "pool: {mean: {size: [2, 4], stride: [2, 4], padding: end, count_padding: false}}",
        "pool: {mean: {size: [2, 4], stride: [2, 4], padding: none}}",
        START,
    ),
    "a pool of one position": ("gate: [pool: mean, pool: max]", "gate: [pool: mean]", START),
    "the same size": ("gate: [linear: {}, resize: bilinear]", "gate: [linear: {}]", START),
    "a factor of one": ("resize: {scale: 1}; multiply: 1; act: relu", "act: relu", START),
    "from one position there is nothing in between": (
        "gate: [pool: mean, resize: bilinear]",
        "gate: [pool: mean, resize: nearest]",
        START,
    ),
    "the map of a network without class token": ("select: map; act: relu", "act: relu", START),
    "batch norm without centring": ("norm: {batch: {centring: false}}", NORM, START),
    "first where it is the block whose turn it is": (
        "act: relu",
        "act: relu",
        START.replace("block: only", "first: only, block: other"),
    ),
}


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
    "nearest and bilinear": (
        "gate: [resize: {scale: 2, mode: nearest}, pool: mean]",
        "gate: [resize: {scale: 2, mode: bilinear}, pool: mean]",
    ),
    "groups of a shuffle": ("shuffle: 3", "shuffle: 4"),
    "a constant": ("multiply: 0.5", "multiply: 0.25"),
    "centring": ("norm: {batch: {centring: true}}", NORM),
    "padding that counts": ("pool: {mean: {size: 3}}", "pool: {mean: {size: 3, count_padding: false}}"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_different_meanings_have_different_digests(case: str) -> None:
    one, other = DIFFERENT[case]
    assert program(one).digest != program(other).digest


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
