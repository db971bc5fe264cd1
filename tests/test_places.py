"""Finding the place of an error: keys told from tags, and of a union the member that was meant."""

from typing import Annotated

import pytest
from pydantic import BaseModel, Discriminator, Field, Tag

from archspec.errors import Problem, SpecError
from archspec.schema.base import Strict
from archspec.schema.source import read_text
from archspec.schema.validation import validate


class Options(Strict):
    size: int


class Sliding(Strict):
    sliding: int | Options


class Window(Strict):
    window: int


def problems_of(text: str, model: type[BaseModel]) -> tuple[Problem, ...]:
    with pytest.raises(SpecError) as caught:
        validate(model, read_text(text))
    return caught.value.problems


def test_a_tag_may_be_the_same_word_as_the_key() -> None:
    class Canvas(Strict):
        shape: Annotated[
            Annotated[Sliding, Tag("sliding")] | Annotated[Window, Tag("window")],
            Discriminator(lambda value: next(iter(value))),
        ]

    (problem,) = problems_of("shape: {sliding: {siz: 1}}\n", Canvas)
    assert (problem.path, problem.nearest) == ("shape.sliding.siz", ("size",))
    (problem,) = problems_of("shape: {window: x}\n", Canvas)
    assert problem.path == "shape.window"


def test_of_two_models_the_one_that_fits_deeper_is_judged() -> None:
    class Size(Strict):
        height: int
        width: int

    class Box(Strict):
        box: Size

    class Dot(Strict):
        dot: int = 1

    class Drawing(Strict):
        shape: Box | Dot

    paths = [problem.path for problem in problems_of("shape: {box: {height: x, width: y}}\n", Drawing)]
    assert paths == ["shape.box.height", "shape.box.width"]


def test_aliases_of_fields_are_the_names_that_count() -> None:
    class Conditional(Strict):
        when: int
        otherwise: int = Field(alias="else")

    (problem,) = problems_of("when: 1\nelze: 2\n", Conditional)
    assert problem.nearest == ("else",)


def test_of_two_models_the_one_that_was_meant_is_judged() -> None:
    class Square(Strict):
        size: int
        colour: str

    class Disc(Strict):
        radius: int

    class Drawing(Strict):
        shape: Square | Disc

    (problem,) = problems_of("shape: {radius: x}\n", Drawing)
    assert (problem.path, problem.rule) == ("shape.radius", "must be a whole number")
    (problem,) = problems_of("shape: {size: 1, colr: red}\n", Drawing)
    assert (problem.path, problem.nearest) == ("shape.colr", ("colour",))
