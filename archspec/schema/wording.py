"""One fault found by pydantic goes in; a problem, with its rule in plain English, comes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archspec.errors import Location, Problem, nearest
from archspec.schema.located import locate, locate_key, value_at
from archspec.schema.places import Option, Place, names_at, required_names
from archspec.schema.problems import dotted, shortened
from archspec.schema.writing import one_line

# pydantic's name of an error -> the rule. The context of the error fills the braces.
RULES: dict[str, str] = {
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "none_required": "must be null",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_type": "must be text",
    "too_long": "must have a length of at most {max_length}",
    "too_short": "must have a length of at least {min_length}",
}
# They say that the value is of another kind altogether, so that another member of a union was meant.
KIND_ERRORS = frozenset(
    {
        "bool_type",
        "dict_type",
        "float_type",
        "int_type",
        "list_type",
        "model_type",
        "string_type",
        "tuple_type",
    }
)
TAG_ERRORS = frozenset({"union_tag_invalid", "union_tag_not_found"})
MAXIMUM_NAMES = 32
MAXIMUM_FOUND = 300


@dataclass(frozen=True)
class Fault:
    """One pydantic error at its place; where a value fits no member of a union, `parts` has one of each."""

    kind: str
    message: str
    context: Mapping[str, Any]
    value: Any
    place: Place
    parts: tuple["Fault", ...] = ()

    @property
    def is_of_another_kind(self) -> bool:
        if self.kind == "literal_error":
            return not any(type(choice) is type(self.value) for choice in self.choices)
        return self.kind in KIND_ERRORS

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values that may stand here, where they can be listed."""
        if self.parts:
            return tuple(choice for part in self.parts for choice in part.choices)
        listed = _words if self.kind in TAG_ERRORS else _literals
        return tuple(dict.fromkeys(choice for option in self.place.options for choice in listed(option)))

    @property
    def path(self) -> tuple[str | int, ...]:
        """The path in the data; an unknown tag is at the key that should have been one."""
        if self.kind in TAG_ERRORS and isinstance(self.value, Mapping) and self.value:
            return (*self.place.path, next(iter(self.value)))
        if self.kind == "missing" and isinstance(self.place.path[-1], int):
            return self.place.path[:-1]
        return (*self.place.path, *self.context.get("path", ()))

    @property
    def is_about_a_key(self) -> bool:
        tag_is_a_key = self.kind in TAG_ERRORS and len(self.path) > len(self.place.path)
        return self.kind == "extra_forbidden" or self.place.at_key or tag_is_a_key

    @property
    def rule(self) -> str:
        if self.parts:
            rules = dict.fromkeys(part.rule.removeprefix("must be ") for part in self.parts)
            return f"must be {', or '.join(rules)}"
        if self.kind in RULES:
            return RULES[self.kind].format_map(self.context)
        if self.kind in SPECIAL_RULES:
            return SPECIAL_RULES[self.kind](self)
        return str(self.context.get("rule") or self.message.replace("Input should be", "must be", 1))

    @property
    def found(self) -> str:
        if "found" in self.context:
            return shortened(str(self.context["found"]), MAXIMUM_FOUND)
        return shortened(one_line(self.path[-1] if self.is_about_a_key else self.value))

    @property
    def nearest(self) -> tuple[str, ...]:
        if "nearest" in self.context:
            return tuple(str(name) for name in self.context["nearest"])
        if self.kind == "extra_forbidden":
            return nearest(str(self.path[-1]), names_at(self.place.parents))
        word = self.path[-1] if self.is_about_a_key else self.value
        return nearest(word, map(str, self.choices)) if isinstance(word, str) else ()

    def location(self, data: Any) -> Location | None:
        return (locate_key if self.is_about_a_key else locate)(data, self.path)

    def problem(self, data: Any) -> Problem:
        return Problem(self.rule, self.found, dotted(self.path), self.location(data), self.nearest)


def none_of(parts: Sequence[Fault]) -> Fault:
    """The fault of a value that no member of a union takes, from the fault of each member."""
    return Fault("none_of", "", {}, parts[0].value, parts[0].place, tuple(parts))


def _unknown_key(fault: Fault) -> str:
    names = names_at(fault.place.parents)
    if len(names) == 1:
        return f"unknown key; the only key here is {names[0]}"
    return f"unknown key; the keys here are {_list_of(names, 'and')}" if names else "unknown key"


def _missing_key(fault: Fault) -> str:
    lengths = [length for option in fault.place.parents if (length := option.length) is not None]
    return f"must be a list of {lengths[0]}" if lengths else f"the key `{fault.path[-1]}` is missing"


def _list(fault: Fault) -> str:
    lengths = [length for option in fault.place.options if (length := option.length) is not None]
    return f"must be a list of {lengths[0]}" if lengths else "must be a list"


def _mapping(fault: Fault) -> str:
    names = names_at(fault.place.options)
    if not names:
        return "must be a mapping"
    return f"must be a mapping with the key{'s' if len(names) > 1 else ''} {_list_of(names, 'and')}"


def _literal(fault: Fault) -> str:
    return f"must be {_list_of([one_line(choice) for choice in fault.choices], 'or')}"


def _tag(fault: Fault) -> str:
    written = [
        word if option.literals else f"{{{word}: …}}" for option in fault.place.options for word in _words(option)
    ]
    return f"must be {_list_of(written, 'or')}" if written else fault.message


def _value_error(fault: Fault) -> str:
    return str(fault.context.get("error", fault.message))


SPECIAL_RULES = {
    "assertion_error": _value_error,
    "extra_forbidden": _unknown_key,
    "list_type": _list,
    "literal_error": _literal,
    "missing": _missing_key,
    "model_type": _mapping,
    "tuple_type": _list,
    "union_tag_invalid": _tag,
    "union_tag_not_found": _tag,
    "value_error": _value_error,
}


def _literals(option: Option) -> tuple[Any, ...]:
    return option.literals


def _words(option: Option) -> tuple[str, ...]:
    """How an option of a discriminated union is written: its literals, or the key that begins its mapping."""
    if option.literals:
        return tuple(map(str, option.literals))
    names = names_at([option])
    tag = (option.tag or "").strip("<>")
    if tag in names or not option.model:
        return (tag,) if tag in names else ()
    return required_names(option.model)[:1] or names[:1]


def _list_of(names: Sequence[str], joint: str) -> str:
    if len(names) > MAXIMUM_NAMES:
        return ", ".join(names[:MAXIMUM_NAMES]) + ", …"
    return f" {joint} ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def value_found(data: Any, path: Sequence[str | int], otherwise: Any) -> Any:
    """What the data holds at a path, or `otherwise` where a shorthand wrote something else there."""
    try:
        return value_at(data, path)
    except KeyError:
        return otherwise
