"""Validation: every mistake of a file with its rule, line and column, dotted path and nearest names."""

from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import BaseModel, Discriminator, Field, RootModel, Tag, field_validator, model_validator

from archspec.errors import Location, Problem, SpecError
from archspec.schema.base import FROM_LIST, Strict
from archspec.schema.problems import MAXIMUM_PROBLEMS
from archspec.schema.source import read_text
from archspec.schema.validation import rule_error, validate


def key_of(value: Any) -> str | None:
    if isinstance(value, dict) and value:
        return f"<{next(iter(value))}>"
    return f"<{value}>" if isinstance(value, str) else None


class Options(Strict):
    size: Annotated[int, Field(ge=1, le=99)]
    stride: int = 1

    @model_validator(mode="after")
    def _stride_fits(self) -> Self:
        if self.stride > self.size:
            raise rule_error("the stride {stride} is at most the size", str(self.stride), ["1"], ["stride"])
        return self


class Sliding(Strict):
    sliding: Annotated[int, Field(ge=1)] | Annotated[tuple[int, int], FROM_LIST] | Options


class Window(Strict):
    window: int


Space = Annotated[
    Annotated[Literal["full"], Tag("<full>")]
    | Annotated[Sliding, Tag("<sliding>")]
    | Annotated[Window, Tag("<window>")],
    Discriminator(key_of),
]


class Names(RootModel[Annotated[tuple[Annotated[str, Field(pattern="^[a-z]+$")], ...], FROM_LIST]]):
    pass


class Layer(Strict):
    space: Space
    width: int | Literal["stage"] | None = None
    act: Literal["relu", "gelu"] = "relu"
    rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    names: Names | None = None

    @field_validator("rate")
    @classmethod
    def _not_half(cls, value: float) -> float:
        if value == 0.5:
            raise ValueError("one half is not a rate")
        return value


Layers = Annotated[tuple[Layer, ...], FROM_LIST, Field(min_length=1, max_length=200)]


class Net(Strict):
    archspec: Literal[1]
    head: Layer | None = None
    blocks: dict[Annotated[str, Field(pattern="^[a-z]+$")], Layers]


def problems_of(text: str, model: type[BaseModel] = Net, **more: Any) -> tuple[Problem, ...]:
    with pytest.raises(SpecError) as caught:
        validate(model, read_text(text, "net.yaml"), **more)
    return caught.value.problems


def problem_of(layer: str) -> Problem:
    """The one problem of a network with this layer; columns count from the layer's first character."""
    (problem,) = problems_of(f"archspec: 1\nblocks:\n  a:\n    - \n      {layer}\n")
    assert problem.location is not None
    path = problem.path.removeprefix("blocks.a.0.")
    place = Location("", problem.location.line - 4, problem.location.column - 6)
    return Problem(problem.rule, problem.found, path, place, problem.nearest)


def test_a_legal_file_becomes_its_model() -> None:
    net = validate(Net, read_text("archspec: 1\nblocks: {a: [{space: full}, {space: {sliding: {size: 7}}}]}\n"))
    assert isinstance(net, Net)
    assert net.blocks["a"][1].space == Sliding(sliding=Options(size=7))


def test_three_misspelt_things_are_three_problems_at_their_places() -> None:
    text = """\
archspec: 1
head: {space: full, act: rleu}
blocks:
  first:
    - {space: {sliding: 7}, widht: 3}
  second:
    - space:
        slidng: 7
"""
    act, width, space = problems_of(text)
    assert act == Problem("must be relu or gelu", "rleu", "head.act", Location("net.yaml", 2, 26), ("relu", "gelu"))
    assert width == Problem(
        "unknown key; the keys here are space, width, act, rate and names",
        "widht",
        "blocks.first.0.widht",
        Location("net.yaml", 5, 29),
        ("width",),
    )
    assert space == Problem(
        "must be full, {sliding: …} or {window: …}",
        "slidng",
        "blocks.second.0.space.slidng",
        Location("net.yaml", 8, 9),
        ("sliding",),
    )


@pytest.mark.parametrize(
    ("layer", "rule", "found", "path", "column", "nearest"),
    [
        # Columns of `{space: {sliding: 7}}`: 9 is the value of space, 10 its key, 19 the value of sliding.
        ("{space: {sliding: 0}}", "must be at least 1", "0", "space.sliding", 19, ()),
        ("{space: {sliding: [7, a]}}", "must be a whole number", "a", "space.sliding.1", 23, ()),
        ("{space: {sliding: [7]}}", "must be a list of 2", "[7]", "space.sliding", 19, ()),
        (
            "{space: {sliding: {siz: 7}}}",
            "the keys here are size and stride",
            "siz",
            "space.sliding.siz",
            20,
            ("size",),
        ),
        ("{space: {sliding: {}}}", "the key `size` is missing", "{}", "space.sliding.size", 19, ()),
        ("{space: {sliding: {size: 100}}}", "must be at most 99", "100", "space.sliding.size", 26, ()),
        (
            "{space: {sliding: x}}",
            "number, or a list of 2, or a mapping with the keys",
            "x",
            "space.sliding",
            19,
            (),
        ),
        ("{space: {sliding: true}}", "must be a whole number, or", "true", "space.sliding", 19, ()),
        ("{space: {window: {size: 7}}}", "must be a whole number", "{size: 7}", "space.window", 18, ()),
        ("{space: {full: 1}}", "must be full", "{full: 1}", "space", 9, ()),
        ("{space: sliding}", "must be a mapping with the key sliding", "sliding", "space", 9, ()),
        ("{space: windw}", "must be full, {sliding: …} or {window: …}", "windw", "space", 9, ("window",)),
        ("{space: [1]}", "must be full, {sliding: …} or {window: …}", "[1]", "space", 9, ()),
        ("{space: {}}", "must be full, {sliding: …} or {window: …}", "{}", "space", 9, ()),
        (
            "{space: {window: 1, sliding: 2}}",
            "the only key here is window",
            "sliding",
            "space.sliding",
            21,
            (),
        ),
        ("{space: full, width: stge}", "must be stage, or a whole number", "stge", "width", 22, ("stage",)),
        ("{space: full, width: 1.5}", "must be a whole number, or stage", "1.5", "width", 22, ()),
        ("{space: full, width: '7'}", "must be stage, or a whole number", '"7"', "width", 22, ()),
        ("{space: full, act: 7}", "must be relu or gelu", "7", "act", 20, ()),
        ("{space: full, rate: 1}", "must be less than 1.0", "1", "rate", 21, ()),
        ("{space: full, rate: no}", "must be a number", '"no"', "rate", 21, ()),
        ("{space: full, rate: 0.5}", "one half is not a rate", "0.5", "rate", 21, ()),
        ("{space: full, names: [a, B]}", "must match the pattern", "B", "names.1", 26, ()),
        ("{act: gelu}", "the key `space` is missing", "{act: gelu}", "space", 1, ()),
        ("{spce: full}", "unknown key", "spce", "spce", 2, ("space",)),
        (
            "{space: {sliding: {size: 2, stride: 3}}}",
            "stride {stride} is at most",
            "3",
            "space.sliding.stride",
            37,
            ("1",),
        ),
    ],
)
def test_each_rule(layer: str, rule: str, found: str, path: str, column: int, nearest: tuple[str, ...]) -> None:
    problem = problem_of(layer)
    assert rule in problem.rule
    assert (problem.found, problem.path, problem.nearest) == (found, path, nearest)
    assert problem.location == Location("", 1, column)


@pytest.mark.parametrize(
    ("text", "rule", "path", "line", "column"),
    [
        ("archspec: 2\nblocks: {a: [{space: full}]}\n", "must be 1", "archspec", 1, 11),
        ("blocks: {a: [{space: full}]}\n", "`archspec` is missing", "archspec", 1, 1),
        ("archspec: 1\nblocks:\n  A: [{space: full}]\n", "must match the pattern", "blocks.A", 3, 3),
        ("archspec: 1\nblocks: {a: []}\n", "a length of at least 1", "blocks.a", 2, 13),
        ("archspec: 1\nblocks: {a: 5}\n", "must be a list", "blocks.a", 2, 13),
        ("archspec: 1\nblocks: [5]\n", "must be a mapping", "blocks", 2, 9),
        (
            "archspec: 1\nblocks: {a: [5]}\n",
            "must be a mapping with the keys space, width",
            "blocks.a.0",
            2,
            14,
        ),
    ],
)
def test_rules_of_the_whole_file(text: str, rule: str, path: str, line: int, column: int) -> None:
    (problem,) = problems_of(text)
    assert rule in problem.rule
    assert problem.path == path
    assert problem.location == Location("net.yaml", line, column)


def test_a_missing_key_is_reported_beside_a_misspelt_one_that_is_not_it() -> None:
    rules = [problem.rule for problem in problems_of("archspec: 1\nblocks: {a: [{colour: 1}]}\n")]
    assert len(rules) == 2
    assert "the key `space` is missing" in rules


def test_problems_of_the_caller_are_merged_sorted_and_not_repeated() -> None:
    own = Problem("own rule", "x", "archspec", Location("net.yaml", 1, 3))
    text = "archspec: 1\nblocks: {a: [{space: full, act: x}]}\n"
    (again,) = problems_of(text)
    problems = problems_of(text, extra_problems=[again, own])
    assert [problem.rule for problem in problems] == ["own rule", again.rule]
    legal = text.replace("act: x", "act: relu")
    assert problems_of(legal, extra_problems=[own]) == (own,)


def test_data_without_places_is_validated_too() -> None:
    with pytest.raises(SpecError) as caught:
        validate(Net, {"archspec": 1, "blocks": {"a": [{"space": {"slidng": 7}}]}})
    (problem,) = caught.value.problems
    assert problem.location is None
    assert problem.path == "blocks.a.0.space.slidng"


def test_a_rule_without_what_was_found_shows_the_value() -> None:
    class Pair(Strict):
        low: int
        high: int

        @model_validator(mode="after")
        def _ordered(self) -> Self:
            if self.low > self.high:
                raise rule_error("low {found} is at most high {0} {}")
            return self

    (problem,) = problems_of("low: 3\nhigh: 2\n", Pair)
    assert problem.rule == "low {found} is at most high {0} {}"
    assert problem.found == "{low: 3, high: 2}"


def test_braces_in_a_rule_stay_in_pydantics_own_message() -> None:
    assert rule_error("a {found} {path} {rule}", "b", ["c"], ["d"]).message() == "a {found} {path} {rule}"


def test_thousands_of_mistakes_are_counted_not_printed() -> None:
    problems = problems_of("archspec: 1\nblocks: {a: [{space: full}]}\n" + "".join(f"x{n}: 1\n" for n in range(3000)))
    assert len(problems) == MAXIMUM_PROBLEMS + 1
    assert "2,900 more problems" in problems[-1].rule
    assert problems[0].location == Location("net.yaml", 3, 1)
