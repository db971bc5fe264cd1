"""Calls of layers go in; the source of these layers comes out, without the options that nobody asks for.

An option is an argument of a constructor (or a field of a dataclass). Where all calls give it the same value, it is
taken out of the source (cutting.py), and out of the calls.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archspec.export.cutting import cut, decided, parameters, places
from archspec.export.definitions import Definition, closure, definitions, mentioned, without_unused_methods
from archspec.export.expression import Call, Expression, Leaf, Text, children, rewritten, walk
from archspec.export.tidy import tidy

SPACES = ("WholeMap", "Windows", "Neighbours", "Cross")


class _Something:
    """The value of an argument that is an expression: all that is known is that it is not None."""

    def __repr__(self) -> str:
        return "<something>"


SOMETHING = _Something()


@dataclass(frozen=True)
class Layers:
    """The source of the layers that calls need, and the calls as that source wants them."""

    definitions: tuple[Definition, ...]
    calls: tuple[Expression, ...]


def specialised(calls: Sequence[Expression]) -> Layers:
    """The layers of these calls, cut to what they ask for."""
    every = definitions()
    asked = [*_calls(calls), *_calls_of_bases(_calls(calls), every)]
    used = {each.name for each in asked} & set(every)
    classes = [name for name, found in every.items() if name in used and isinstance(found.tree, ast.ClassDef)]
    values = {name: _arguments(every[name], [each for each in asked if each.name == name]) for name in classes}
    for name in classes:
        every[name] = replace(every[name], source=decided(every[name], values[name]))
    spaces = [space for space in SPACES if space in used] or ["WholeMap"]
    every["Space"] = Definition("Space", f"Space = {' | '.join(spaces)}")
    kept = without_unused_methods(closure(every, used))
    dropped: dict[str, dict[str, int]] = {}
    made = []
    for definition in kept:
        if definition.name in classes:
            for base in _bases(definition, every):
                definition = _not_passed_on(definition, dropped[base])
            definition, dropped[definition.name] = cut(definition, values[definition.name])
        made.append(tidied(definition, spaces))
    every = {definition.name: definition for definition in made}
    final = sorted(closure(every, used), key=lambda each: each.name != "FAR_BELOW")
    return Layers(tuple(mentioned(final)), tuple(_without(each, dropped) for each in calls))


def tidied(definition: Definition, spaces: Sequence[str]) -> Definition:
    """As one would have written it."""
    source = definition.source
    if len(spaces) == 1:
        source = source.replace("space: Space", f"space: {spaces[0]}")
    return replace(definition, source=tidy(source))


def _calls(expressions: Iterable[Expression]) -> list[Call]:
    return [part for each in expressions for part in walk(each) if isinstance(part, Call)]


def _bases(definition: Definition, every: Mapping[str, Definition]) -> list[str]:
    """The layers that a layer is a kind of."""
    tree = definition.tree
    named = [ast.unparse(base) for base in tree.bases] if isinstance(tree, ast.ClassDef) else []
    return [name for name in named if name in every]


def _calls_of_bases(calls: Iterable[Call], every: Mapping[str, Definition]) -> Iterator[Call]:
    """What calls of layers ask of the layers that these are kinds of: the arguments that both have."""
    for one in calls:
        for base in _bases(every[one.name], every) if one.name in every else ():
            own, theirs = every[one.name].tree, every[base].tree
            assert isinstance(own, ast.ClassDef)
            assert isinstance(theirs, ast.ClassDef)
            shared = {name for name, _ in parameters(theirs)}
            given = {name: _value(one, own, name, default) for name, default in parameters(own)}
            values = ((name, value) for name, value in given.items() if name in shared)
            yield Call(
                base, tuple((n, Leaf(v) if isinstance(v, bool | int | float | str) else Text(n)) for n, v in values)
            )


def _not_passed_on(definition: Definition, gone: Iterable[str]) -> Definition:
    """Without the arguments, one a line, that a base no longer takes."""
    source = definition.source
    for name in gone:
        source = re.sub(rf"\n *{name}={name},(?=\n)", "", source)
    return replace(definition, source=source)


def _without(expression: Expression, dropped: Mapping[str, Mapping[str, int]]) -> Expression:
    """An expression without the arguments that are gone, by their names or their places."""
    expression = rewritten(expression, tuple(_without(child, dropped) for child in children(expression)))
    if not isinstance(expression, Call) or expression.name not in dropped:
        return expression
    gone = dropped[expression.name]
    left = []
    for place, (name, value) in enumerate(expression.arguments):
        if name not in gone and not (name is None and place in gone.values()):
            left.append((name, value))
    return replace(expression, arguments=tuple(left))


# ------------------------------------------------------------------ what calls say


def _arguments(definition: Definition, calls: list[Call]) -> dict[str, Any]:
    """The value of each argument that is the same in every call."""
    tree = definition.tree
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, Any] = {}
    for name, default in parameters(tree):
        values = [_value(each, tree, name, default) for each in calls]
        if all(type(value) is type(values[0]) and value == values[0] for value in values):
            found[name] = values[0]
    return {name: value for name, value in found.items() if value is not Ellipsis}


def _value(one: Call, tree: ast.ClassDef, name: str, default: Any) -> Any:
    """The value of an argument of a layer in a call; Ellipsis where it is not known."""
    given = one.argument(name)
    by_place = dict(zip(places(tree), (value for keyword, value in one.arguments if keyword is None), strict=False))
    if given is None:
        given = by_place.get(name)
    if given is None:
        return ast.literal_eval(default) if default is not None else Ellipsis
    if isinstance(given, Leaf):
        return given.value
    return Ellipsis if isinstance(given, Text) else SOMETHING
