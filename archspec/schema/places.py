"""A model, data and the `loc` of a pydantic error go in; the path in the data and what may be there come out.

pydantic mixes two kinds of element in `loc`: keys and indices of the data, and names of union members (tags,
class names, `constrained-int`, `function-before[...]`; pydantic issue 7500). Walking the annotations and the
data together tells them apart, and finds the models whose field names are valid at that place.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, Tag
from typing_extensions import TypeAliasType

from archspec.schema.located import exists

Step = str | int

_WRAPPED = re.compile(r"function-\w+\[[^\[\]]*\(\), (.*)\]")
_HEAD = re.compile(r"(?:constrained-)?(\w+)")


@dataclass(frozen=True)
class Option:
    """One thing that may stand at a place; `tag` is the name a discriminated union gives it."""

    annotation: Any
    tag: str | None = None

    @property
    def model(self) -> type[BaseModel] | None:
        is_model = isinstance(self.annotation, type) and issubclass(self.annotation, BaseModel)
        return self.annotation if is_model else None

    @property
    def literals(self) -> tuple[Any, ...]:
        return get_args(self.annotation) if get_origin(self.annotation) is Literal else ()

    @property
    def length(self) -> int | None:
        """The length of a list that has a fixed one."""
        entries = get_args(self.annotation)
        return len(entries) if get_origin(self.annotation) is tuple and Ellipsis not in entries else None

    @property
    def name(self) -> str:
        """What pydantic calls it in `loc` when it is a member of a plain union."""
        origin = get_origin(self.annotation)
        named = self.annotation if origin is None else origin
        return "literal" if origin is Literal else getattr(named, "__name__", "")


class Turn(NamedTuple):
    """One element of `loc`, `depth` steps into the data: a key there, or a member of a plain union."""

    step: Step
    picks_member: bool
    depth: int


@dataclass(frozen=True)
class Place:
    """Where an error is, what may stand there, what the mapping around it may be, and how `loc` led there."""

    path: tuple[Step, ...]
    options: tuple[Option, ...]
    parents: tuple[Option, ...] = ()
    route: tuple[Turn, ...] = ()
    at_key: bool = False

    def key(self, step: Step) -> "Place":
        """The place of a value in this mapping or list."""
        below = tuple(option for parent in self.options for option in _child(parent, step))
        route = (*self.route, Turn(step, False, len(self.path)))
        return replace(self, path=(*self.path, step), options=below, parents=self.options, route=route)

    def member(self, label: Step) -> "Place":
        """The same place, where of several options one is meant."""
        tagged = [option for option in self.options if option.tag == label]
        named = tagged or [option for option in self.options if option.name == _member_name(str(label))]
        # A tag is used up: below it, the same word is a key.
        chosen = tuple(replace(option, tag=None) for option in named) or self.options
        picks_member = not tagged and len(self.options) > 1
        return replace(self, options=chosen, route=(*self.route, Turn(label, picks_member, len(self.path))))


def find_place(model: type[BaseModel], data: Any, loc: Sequence[Step], missing: bool = False) -> Place:
    """The place of an error; `missing` says that the last element of `loc` is a key that the data lacks."""
    place = Place((), options_of(model))
    for position, step in enumerate(loc):
        last = position == len(loc) - 1
        if last and step == "[key]":
            return replace(place, at_key=True)
        is_tag = any(option.tag == step for option in place.options)
        if not is_tag and exists(data, step):
            place, data = place.key(step), data[step]
        elif last and missing:
            place, data = place.key(step), None
        else:
            place = place.member(step)
    return place


def options_of(annotation: Any, tag: str | None = None) -> tuple[Option, ...]:
    """What an annotation allows: unions are opened, None left out, aliases and Annotated looked through."""
    origin = get_origin(annotation)
    if isinstance(annotation, TypeAliasType):
        return options_of(annotation.__value__, tag)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        tags = [extra.tag for extra in metadata if isinstance(extra, Tag)]
        return options_of(inner, tags[0] if tags else tag)
    if origin in (Union, UnionType):
        return tuple(option for member in get_args(annotation) for option in options_of(member, tag))
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return options_of(annotation.model_fields["root"].annotation, tag)
    return () if annotation is NoneType else (Option(annotation, tag),)


def key_names(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys that a model is written with."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


def required_names(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys that a model must be written with."""
    return tuple(field.alias or name for name, field in model.model_fields.items() if field.is_required())


def names_at(options: Iterable[Option]) -> tuple[str, ...]:
    """The keys of a mapping where one of these options stands; empty when no model is among them."""
    names = [name for option in options if option.model for name in key_names(option.model)]
    return tuple(dict.fromkeys(names))


def _child(option: Option, step: Step) -> tuple[Option, ...]:
    if option.model:
        fields = dict(zip(key_names(option.model), option.model.model_fields.values(), strict=True))
        return options_of(fields[str(step)].annotation) if step in fields else ()
    origin, arguments = get_origin(option.annotation), get_args(option.annotation)
    if not isinstance(origin, type) or not arguments:
        return ()
    if issubclass(origin, Mapping):
        return options_of(arguments[-1])
    if issubclass(origin, tuple) and arguments[-1] is not Ellipsis:
        return options_of(arguments[step]) if isinstance(step, int) and step < len(arguments) else ()
    return options_of(arguments[0])


def _member_name(label: str) -> str:
    """`function-after[check(), Sliding]` is Sliding; `constrained-int` is int; `tuple[int, ...]` is tuple."""
    while wrapped := _WRAPPED.fullmatch(label):
        label = wrapped.group(1)
    head = _HEAD.match(label)
    return head.group(1) if head else label
