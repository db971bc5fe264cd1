"""Normal form: equal meanings have equal digests, different meanings different ones; what cannot stand says why."""

from typing import Any

import pytest

from archspec import ir
from archspec.errors import SpecError
from archspec.resolve import resolve, verify
from archspec.schema.network import Network

SEPARATE_OFFSETS = {"positions": "offsets"}


def network(*steps: Any, size: Any = (12, 20), width: int = 24, **changes: Any) -> Network:
    data = {
        "archspec": 1,
        "name": "probe",
        "input": {"size": list(size), "channels": 3},
        "classes": 5,
        "stem": {"patch": 2},
        "stages": [{"width": width, "depth": 1, "block": "only"}],
        "blocks": {"only": [{"residual": list(steps)}]},
    }
    return Network.model_validate(data | changes)


def connect(space: Any, channels: Any, sharing: Any, weights: Any = "static", **rest: Any) -> dict[str, Any]:
    axes = {"connectivity": {"space": space, "channels": channels}, "sharing": sharing, "weights": weights}
    return {"connect": axes | rest}


def digest(*steps: Any, **changes: Any) -> str:
    return resolve(network(*steps, **changes)).digest


ATTENTION = {"attention": {"relative_bias": True}}
HEADS = {"positions": "none", "channels": {"groups": 3}}
# The map is 6 x 10 positions of 24 channels.
EQUAL = {
    "a window that covers the map is full": (
        connect({"window": 10}, "separate", HEADS, ATTENTION),
        connect("full", "separate", HEADS, ATTENTION),
    ),
    "a window larger than the map in one direction is clipped there": (
        connect({"window": [6, 5]}, "separate", HEADS, ATTENTION),
        connect({"window": [99, 5]}, "separate", HEADS, ATTENTION),
    ),
    "a shift of a window as large as the map moves nothing": (
        connect({"window": {"size": [6, 5], "shift": [3, 0]}}, "separate", HEADS, ATTENTION),
        connect({"window": [6, 5]}, "separate", HEADS, ATTENTION),
    ),
    "a shift by a whole window moves nothing": (
        connect({"window": {"size": [3, 5], "shift": [3, 5]}}, "separate", HEADS, ATTENTION),
        connect({"window": [3, 5]}, "separate", HEADS, ATTENTION),
    ),
    "a kernel of one tap is point": (
        connect({"sliding": 1}, "separate", SEPARATE_OFFSETS),
        connect("point", "separate", SEPARATE_OFFSETS),
    ),
    "one tap is not dilated": (
        connect({"sliding": {"size": [1, 3], "dilation": [7, 1]}}, "separate", SEPARATE_OFFSETS),
        connect({"sliding": [1, 3]}, "separate", SEPARATE_OFFSETS),
    ),
    "one group is full": (
        connect({"sliding": 3}, {"groups": 1}, SEPARATE_OFFSETS),
        connect({"sliding": 3}, "full", SEPARATE_OFFSETS),
    ),
    "as many groups as channels are separate": (
        connect({"sliding": 3}, {"group_width": 1}, SEPARATE_OFFSETS),
        connect({"sliding": 3}, "separate", SEPARATE_OFFSETS),
    ),
    "groups by number and by width": (
        connect({"window": 5}, "separate", {"positions": "none", "channels": {"group_width": 8}}, ATTENTION),
        connect({"window": 5}, "separate", HEADS, ATTENTION),
    ),
    "sharing in one group is all": (
        connect({"sliding": 3}, "separate", {"positions": "offsets", "channels": {"groups": 1}}),
        connect({"sliding": 3}, "separate", {"positions": "offsets", "channels": "all"}),
    ),
    "sharing in groups of one is none": (
        connect({"sliding": 3}, "separate", {"positions": "offsets", "channels": {"group_width": 1}}),
        connect({"sliding": 3}, "separate", SEPARATE_OFFSETS),
    ),
    "one window shares with no other": (
        connect({"window": 99}, "separate", {"positions": "windows"}),
        connect("full", "separate", {"positions": "none"}),
    ),
    "an unused choice of padding": (
        connect({"window": {"size": [3, 5], "padding": "masked"}}, "separate", HEADS, ATTENTION),
        connect({"window": [3, 5]}, "separate", HEADS, ATTENTION),
    ),
    "defaults written out": (
        connect({"sliding": {"size": 3, "stride": 1, "dilation": [1, 1], "padding": "same"}}, "separate",
                {"positions": "offsets", "channels": "none"}, bias=True),
        connect({"sliding": [3, 3]}, "separate", SEPARATE_OFFSETS),
    ),
    "bare words": (
        connect("full", "separate", HEADS, "attention"),
        connect("full", "separate", HEADS, {"attention": {}}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EQUAL)
def test_equal_meanings_have_equal_digests(case: str) -> None:
    one, other = EQUAL[case]
    assert digest(one) == digest(other)


def test_an_mlp_is_two_linear_layers_with_an_activation_between() -> None:
    by_hand = ({"linear": {"width": 48}}, {"act": "gelu"}, {"linear": {"width": 24}})
    assert digest({"mlp": {"ratio": 2}}) == digest(*by_hand)


def test_names_sources_and_layout_are_no_part_of_the_meaning() -> None:
    step = {"linear": {}}
    renamed = {"blocks": {"other": [{"residual": [step]}]}, "stages": [{"block": ["other"], "depth": 1, "width": 24}]}
    assert digest(step) == digest(step, name="another", source="somewhere", **renamed)


DIFFERENT = [
    connect({"sliding": 3}, "separate", SEPARATE_OFFSETS),
    connect({"sliding": 3}, "separate", SEPARATE_OFFSETS, bias=False),
    connect({"sliding": [3, 5]}, "separate", SEPARATE_OFFSETS),
    connect({"sliding": [5, 3]}, "separate", SEPARATE_OFFSETS),
    connect({"sliding": {"size": 3, "dilation": 2}}, "separate", SEPARATE_OFFSETS),
    connect({"sliding": 3}, "separate", {"positions": "none"}),
    connect({"sliding": 3}, {"groups": 4}, SEPARATE_OFFSETS),
    connect({"sliding": 3}, {"groups": 4}, {"positions": "offsets", "channels": "all"}),
    connect({"sliding": 3}, "separate", SEPARATE_OFFSETS, "pooled"),
    connect({"sliding": 3}, "separate", SEPARATE_OFFSETS, {"pooled": {"reduction": 2}}),
    connect({"sliding": 3}, "separate", {"positions": "none"}, "local"),
    connect({"window": 5}, "separate", HEADS, ATTENTION),
    connect({"window": 5}, "separate", HEADS, "attention"),
    connect({"window": {"size": 5, "padding": "masked"}}, "separate", HEADS, ATTENTION),
    connect({"window": {"size": 5, "shift": 2}}, "separate", HEADS, ATTENTION),
    connect("full", "separate", HEADS, ATTENTION),
]


def test_different_meanings_have_different_digests() -> None:
    assert len({digest(step) for step in DIFFERENT}) == len(DIFFERENT)


ILLEGAL = {
    "divide the number of channels": connect(
        {"window": 5}, "separate", {"positions": "none", "channels": {"groups": 7}}, ATTENTION
    ),
    "whole number": {"mlp": {"ratio": 0.37}},
    "must give the shape it takes": {"linear": {"width": 25}},
    "must fit into the map": connect({"sliding": {"size": 9, "padding": "none"}}, "separate", SEPARATE_OFFSETS),
}  # fmt: skip


@pytest.mark.parametrize("rule", ILLEGAL)
def test_a_layer_that_cannot_stand_names_its_rule_and_place(rule: str) -> None:
    with pytest.raises(SpecError) as error:
        resolve(network(ILLEGAL[rule]))
    (problem,) = error.value.problems
    assert rule in problem.rule
    assert problem.path.startswith("blocks.only.0.residual")


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(SpecError) as error:
        resolve(
            network(
                ILLEGAL["whole number"], ILLEGAL["divide the number of channels"], stem={"patch": 2, "norm": "layer"}
            )
        )
    assert len(error.value.problems) == 2


def test_a_class_token_needs_point_or_full() -> None:
    stem = {"patch": 2, "class_token": True}
    resolve(network(connect("full", "separate", HEADS, "attention"), stem=stem))
    for step in (connect({"sliding": 3}, "separate", SEPARATE_OFFSETS), connect("full", "separate", HEADS, ATTENTION)):
        with pytest.raises(SpecError, match="class token has no place"):
            resolve(network(step, stem=stem))


def test_drop_path_rises_linearly_and_a_rate_of_zero_is_nothing() -> None:
    stages = [{"width": 24, "depth": 3, "block": "only"}]
    program = resolve(network({"linear": {}}, stages=stages, drop_path=0.2))
    rates = [op.rate for op in ir.walk(program.ops) if isinstance(op, ir.DropPath)]
    assert rates == [0.1, 0.2]


def test_verify_rejects_a_program_whose_shapes_do_not_chain() -> None:
    program = resolve(network({"linear": {}}))
    broken = ir.Program(program.name, program.image, program.classes, program.ops[1:])
    with pytest.raises(SpecError, match="takes the shape that the op before gives"):
        verify(broken)


def test_the_text_of_a_program_is_stable() -> None:
    text = str(resolve(network(connect({"sliding": 3}, "separate", SEPARATE_OFFSETS))))
    assert "connect sliding(3x3, dilation 1x1, stride 1x1, before 1x1) | channels separate" in text
    assert text == str(resolve(network(connect({"sliding": 3}, "separate", SEPARATE_OFFSETS))))
