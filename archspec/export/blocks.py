"""Expressions that hold blocks go in; a class for each block, and the expressions with its calls, come out.

Blocks of one name that construct the same things are one class; what differs between them are its arguments. An
argument that is always so many times another one, or a part of it, is written as that.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archspec.export.expression import Block, Call, Expression, Leaf, Text, children, lines, rewritten, walk


@dataclass(frozen=True)
class BlockClass:
    """A class whose constructor makes the steps of a block from its arguments: (name, type)."""

    name: str
    block: str
    arguments: tuple[tuple[str, str], ...]
    steps: tuple[Expression, ...]

    def source(self) -> str:
        """The source of the class."""
        found = [f"class {self.name}(nn.Sequential):", f'    """The block `{self.block}`."""', ""]
        found += signature(self.arguments)
        steps = Call("super().__init__", tuple((None, step) for step in self.steps))
        return "\n".join([*found, *lines(steps, 8)])


def signature(arguments: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The head of a constructor."""
    written = [f"{name}: {kind}" for name, kind in arguments]
    whole = f"    def __init__({', '.join(['self', *written])}) -> None:"
    if len(whole) <= 88:
        yield whole
        return
    yield "    def __init__("
    yield "        self,"
    yield from (f"        {each}," for each in written)
    yield "    ) -> None:"


def class_name(name: str) -> str:
    """A name of a spec as the name of a class: swin_tiny is SwinTiny."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))


def extracted(expressions: Sequence[Expression], taken: Iterable[str]) -> tuple[list[BlockClass], list[Expression]]:
    """The classes of all blocks, inner ones first, and the expressions that call them; `taken`: names in use."""
    classes: list[BlockClass] = []
    names, forest = set(taken), list(expressions)
    while blocks := _blocks(forest):
        # A block whose every occurrence holds no other block: blocks never hold themselves.
        whole = {block.name for block in blocks if any(_blocks(block.steps))}
        name = next(block.name for block in blocks if block.name not in whole)
        groups: dict[Any, list[Block]] = {}
        for block in blocks:
            if block.name == name:
                groups.setdefault(_skeleton(block), []).append(block)
        replaced: dict[Block, Call] = {}
        for group in groups.values():
            found, calls = _unified(_free(f"{class_name(name)}Block", names), list(dict.fromkeys(group)))
            names.add(found.name)
            classes.append(found)
            replaced |= calls
        forest = [_replace(each, replaced) for each in forest]
    return classes, forest


def _blocks(forest: Iterable[Expression]) -> list[Block]:
    return [part for each in forest for part in walk(each) if isinstance(part, Block)]


def _free(name: str, taken: set[str]) -> str:
    number = 2
    wanted = name
    while name in taken:
        name, number = f"{wanted}{number}", number + 1
    return name


def _replace(expression: Expression, found: Mapping[Block, Call]) -> Expression:
    if isinstance(expression, Block) and expression in found:
        return found[expression]
    return rewritten(expression, tuple(_replace(child, found) for child in children(expression)))


def _skeleton(expression: Expression) -> Any:
    """What expressions must have in common to be one: all but their numbers."""
    if isinstance(expression, Leaf):
        value = expression.value
        fixed = isinstance(value, bool | str)
        return (type(value).__name__, len(value) if isinstance(value, tuple) else value if fixed else None)
    inner = tuple(_skeleton(child) for child in children(expression))
    if isinstance(expression, Call):
        return (expression.name, tuple(name for name, _ in expression.arguments), inner)
    return inner


# ------------------------------------------------------------------ what differs becomes arguments


def _leaves(expression: Expression) -> Iterator[Leaf]:
    return (part for part in walk(expression) if isinstance(part, Leaf))


def _unified(name: str, blocks: list[Block]) -> tuple[BlockClass, dict[Block, Call]]:
    """The class of blocks with one skeleton, and the call that makes each."""
    rows = [list(_leaves(block)) for block in blocks]
    columns = [tuple(leaf.value for leaf in column) for column in zip(*rows, strict=True)]
    varying: dict[tuple[Any, ...], str] = {}
    texts: list[Expression] = []
    for leaf, column in zip(rows[0], columns, strict=True):
        if len(set(column)) == 1:
            texts.append(leaf)
            continue
        if column not in varying:
            derived = _derived(column, varying)
            if derived:
                texts.append(Text(derived))
                continue
            varying[column] = _free(leaf.hint, set(varying.values()))
        texts.append(Text(varying[column]))
    filled = iter(texts)
    steps = tuple(_filled(step, filled) for step in blocks[0].steps)
    kinds = [(argument, _kind(column[0])) for column, argument in varying.items()]
    calls = {}
    for number, block in enumerate(blocks):
        given = [(argument, Leaf(column[number], argument)) for column, argument in varying.items()]
        # Widths are told apart by their place, everything else by its name.
        calls[block] = Call(name, tuple((None if argument == "width" else argument, leaf) for argument, leaf in given))
    order = sorted(range(len(kinds)), key=lambda n: kinds[n][0] != "width")
    kinds = [kinds[n] for n in order]
    calls = {b: Call(name, tuple(one.arguments[n] for n in order)) for b, one in calls.items()}
    return BlockClass(name, blocks[0].name, tuple(kinds), steps), calls


def _filled(expression: Expression, values: Iterator[Expression]) -> Expression:
    """The expression with its leaves replaced, in their order."""
    if isinstance(expression, Leaf):
        return next(values)
    return rewritten(expression, tuple([_filled(child, values) for child in children(expression)]))


def _kind(value: Any) -> str:
    if isinstance(value, tuple):
        return f"tuple[{', '.join(type(part).__name__ for part in value) or '()'}]"
    return type(value).__name__


def _derived(column: tuple[Any, ...], varying: Mapping[tuple[Any, ...], str]) -> str | None:
    """A column as so many times, or so big a part of, a column of whole numbers that is there."""
    if not all(type(value) is int and value > 0 for value in column):
        return None
    for other, name in varying.items():
        if not all(type(value) is int and value > 0 for value in other):
            continue
        pairs = list(zip(column, other, strict=True))
        times, part = column[0] // other[0], other[0] // column[0]
        if times > 1 and all(value == times * base for value, base in pairs):
            return f"{times} * {name}"
        if part > 1 and all(value * part == base for value, base in pairs):
            return f"{name} // {part}"
    return None
