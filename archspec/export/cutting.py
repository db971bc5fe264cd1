"""The source of a layer and what its arguments always are go in; the source without those arguments comes out.

`if` statements over them are decided, and an argument that nothing asks for any more is taken out. Lines are taken out
of the source as it was written, so that its comments and formatting stay.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import CodeType
from typing import Any

from archspec.export.definitions import Definition


def parameters(tree: ast.ClassDef) -> list[tuple[str, Any]]:
    """Names and defaults (None where there is none) of the arguments of a class, but *steps."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            positional = node.args.args[1:]
            defaults = [None] * (len(positional) - len(node.args.defaults)) + list(node.args.defaults)
            pairs = [*zip(positional, defaults, strict=True)]
            pairs += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            return [(arg.arg, default) for arg, default in pairs]
    fields = (node for node in tree.body if isinstance(node, ast.AnnAssign) and _is_dataclass(tree))
    return [(node.target.id, node.value) for node in fields if isinstance(node.target, ast.Name)]


def places(tree: ast.ClassDef) -> list[str]:
    """The arguments that may be given by their places, in order; those after *steps may not."""
    if _is_dataclass(tree):
        return [name for name, _ in parameters(tree)]
    makers = (node.args for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    return [each.arg for maker in makers for each in maker.args[1:]]


def _is_dataclass(tree: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(each) for each in tree.decorator_list)


def cut(definition: Definition, values: Mapping[str, Any]) -> tuple[Definition, dict[str, int]]:
    """The source without arguments that nothing reads, and which those are, with their places."""
    source = definition.source
    gone: dict[str, int] = {}
    tree = definition.tree
    assert isinstance(tree, ast.ClassDef)
    by_place = places(tree)
    for name, default in parameters(tree):
        if default is not None and name in values:
            usual = values[name] == ast.literal_eval(default)
            if usual:
                # Passed on under its own name it would say what is said anyway.
                source = re.sub(rf"\n *{name}=(self\.)?{name},(?=\n)", "", source)
            if isinstance(values[name], bool | int | float | str if usual else bool) and not _is_dataclass(tree):
                source = _with_value(source, name, values[name])
        source, dropped = _without_argument(source, name)
        if dropped:
            gone[name] = by_place.index(name) if name in by_place else -1
    source = re.sub(r"\n *\*,\n( *\) -> None)", r"\n\1", source)
    return replace(definition, source=source), gone


def _with_value(source: str, name: str, value: object) -> str:
    """The source with an argument that is always its default written as that; in constructors and by self.name."""
    head, sign, body = source.partition(") -> None:\n")
    source = re.sub(rf"\n *self\.{name} = {name}(?=\n)", "", body)
    source = re.sub(rf"\bself\.{name}\b(?! *=[^=])", repr(value), source)
    maker, rest, others = source.partition("\n    def ")
    maker = re.sub(rf"(?<![\w.]){name}\b(?!=)", repr(value), maker)
    return head + sign + maker + rest + others


def decided(definition: Definition, values: Mapping[str, Any]) -> str:
    own = definition.source.splitlines()
    tree = definition.tree

    def block(statements: Sequence[ast.stmt], first: int, last: int, dedent: int) -> Iterator[str]:
        """The lines from first to last (counted from 0, last excluded), which hold these statements."""
        at = first
        for statement in statements:
            start = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", ()))]) - 1
            end = statement.end_lineno or start + 1
            verdict = _verdict(statement.test, values) if isinstance(statement, ast.If) else None
            yield from (_moved(line, dedent) for line in own[at:start])
            if isinstance(statement, ast.If) and verdict is not None:
                taken = statement.body if verdict else statement.orelse
                if taken:
                    yield from block(taken, taken[0].lineno - 1, taken[-1].end_lineno or end, dedent + 4)
                    if isinstance(taken[-1], ast.Return):
                        return
            elif isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.If | ast.For):
                body = statement.body
                yield from (_moved(line, dedent) for line in own[start : body[0].lineno - 1])
                yield from block(body, body[0].lineno - 1, body[-1].end_lineno or end, dedent)
                yield from (_moved(line, dedent) for line in own[body[-1].end_lineno or end : end])
            else:
                yield from (_moved(line, dedent) for line in own[start:end])
            at = end
        yield from (_moved(line, dedent) for line in own[at:last])

    return "\n".join(block([tree], 0, len(own), 0))


def _moved(line: str, dedent: int) -> str:
    return line[dedent:] if line[:dedent].isspace() else line


class _Own(ast.NodeTransformer):
    """self.x as x."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return ast.copy_location(ast.Name(node.attr, ast.Load()), node)
        return node


def _verdict(test: ast.expr, values: Mapping[str, Any]) -> bool | None:
    """What a test comes to, where its names have known values."""
    tree = _Own().visit(ast.parse(ast.unparse(test), mode="eval"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    calls = any(isinstance(node, ast.Call) for node in ast.walk(tree))
    if calls or not names <= set(values):
        return None
    code: CodeType = compile(ast.fix_missing_locations(tree), "<test>", "eval")
    return bool(eval(code, {"__builtins__": {}}, dict(values)))  # our own source, without calls


def _without_argument(source: str, name: str) -> tuple[str, bool]:
    """Take out `self.name = name` where nothing reads it, and the argument where nothing does."""
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.ClassDef)
    if _is_dataclass(tree):
        field = next(node for node in tree.body if isinstance(node, ast.AnnAssign) and _target(node) == name)
        return (source, False) if _reads_own(tree, name) else (_less(source, name, [field.lineno]), True)
    keeping = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and _keeps(node, name)]
    if _reads_own(tree, name):
        return source, False
    lines = [node.lineno for node in keeping]
    inner = {id(part) for node in keeping for part in ast.walk(node)}
    maker = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    loads = (node for node in ast.walk(maker) if isinstance(node, ast.Name) and node.id == name)
    if any(id(node) not in inner for node in loads):
        return _less(source, "", lines), False
    argument = next(node for node in ast.walk(maker) if isinstance(node, ast.arg) and node.arg == name)
    alone = source.splitlines()[argument.lineno - 1].strip().startswith(f"{name}:")
    return (_less(source, name, [*lines, argument.lineno]), True) if alone else (source, False)


def _target(node: ast.AnnAssign) -> str:
    return node.target.id if isinstance(node.target, ast.Name) else ""


def _keeps(node: ast.Assign, name: str) -> bool:
    return ast.unparse(node) == f"self.{name} = {name}"


def _reads_own(tree: ast.ClassDef, name: str) -> bool:
    """Whether a method reads self.name."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == name
        and isinstance(node.ctx, ast.Load)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
        for node in ast.walk(tree)
    )


def _less(source: str, name: str, numbers: Sequence[int]) -> str:
    """The source without some lines, and without those of docstrings that explain an argument."""
    about = re.compile(rf" *(`{name}`|{name}): ") if name else None
    every = enumerate(source.splitlines(), 1)
    return "\n".join(line for n, line in every if n not in numbers and not (about and _explains(about, line)))


def _explains(about: re.Pattern[str], line: str) -> bool:
    return about.match(line) is not None and not line.rstrip().endswith((",", "]")) and "=" not in line
