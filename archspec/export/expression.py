"""Constructor calls as data, and as Python source in the formatting that ruff gives it.

A network is a tree of calls; `Block` marks the steps of a named block, which becomes a class.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

WIDTH = 88
"""Of a line: ruff's default."""


@dataclass(frozen=True)
class Leaf:
    """A number, a tuple of numbers, a word or a truth value; `hint` names it where it becomes an argument."""

    value: Any
    hint: str = "value"


@dataclass(frozen=True)
class Text:
    """Source that stands for a value, such as the name of an argument."""

    source: str


@dataclass(frozen=True)
class Call:
    """A class and its arguments: (keyword or None, value)."""

    name: str
    arguments: tuple[tuple[str | None, "Expression"], ...] = ()

    def __iter__(self) -> Iterator["Expression"]:
        return (value for _, value in self.arguments)

    def argument(self, keyword: str) -> "Expression | None":
        return next((value for name, value in self.arguments if name == keyword), None)


@dataclass(frozen=True)
class Block:
    """The steps of a named block, one after the other."""

    name: str
    steps: tuple["Expression", ...]


Expression = Leaf | Text | Call | Block


def call(name: str, *positional: Expression, **keywords: Expression | None) -> Call:
    """A call; keywords that are None are left out."""
    named = ((keyword, value) for keyword, value in keywords.items() if value is not None)
    return Call(name, (*((None, value) for value in positional), *named))


def rewritten(expression: Expression, children: tuple[Expression, ...]) -> Expression:
    """The same call or block with other children."""
    if isinstance(expression, Call):
        names = (name for name, _ in expression.arguments)
        return replace(expression, arguments=tuple(zip(names, children, strict=True)))
    return replace(expression, steps=children) if isinstance(expression, Block) else expression


def children(expression: Expression) -> tuple[Expression, ...]:
    if isinstance(expression, Block):
        return expression.steps
    return tuple(expression) if isinstance(expression, Call) else ()


def walk(expression: Expression) -> Iterator[Expression]:
    """An expression and all inside it."""
    yield expression
    for child in children(expression):
        yield from walk(child)


def one_line(expression: Expression) -> str:
    """The source of an expression in one line."""
    if isinstance(expression, Leaf):
        return constant(expression.value)
    if isinstance(expression, Text):
        return expression.source
    if isinstance(expression, Block):
        raise ValueError(f"block {expression.name} has become no class")
    return f"{expression.name}({', '.join(_keyword(name) + one_line(value) for name, value in expression.arguments)})"


def constant(value: Any) -> str:
    if isinstance(value, tuple):
        inner = ", ".join(constant(part) for part in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _keyword(name: str | None) -> str:
    return "" if name is None else f"{name}="


def lines(expression: Expression, indent: int, before: str = "", after: str = "") -> Iterator[str]:
    """The source of an expression, in one line where it fits, or with an argument a line and a comma at the end."""
    whole = " " * indent + before + one_line(expression) + after
    if len(whole) <= WIDTH or not isinstance(expression, Call) or not expression.arguments:
        yield whole
        return
    yield " " * indent + before + expression.name + "("
    for name, value in expression.arguments:
        yield from lines(value, indent + 4, _keyword(name), ",")
    yield " " * indent + ")" + after
