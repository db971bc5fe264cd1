"""The layer files go in; the source of each class, function and constant comes out, and which of them are needed."""

import ast
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module

FILES = ("joining", "steps", "convolution", "spaces", "windows", "mixing", "predicted", "local", "attention")


@dataclass(frozen=True)
class Definition:
    """A class, function or constant of a layer file."""

    name: str
    source: str

    @property
    def tree(self) -> ast.stmt:
        return ast.parse(self.source).body[0]

    @property
    def names(self) -> set[str]:
        """Names that it mentions."""
        return {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)} - {self.name}


def definitions() -> dict[str, Definition]:
    """Everything that layer files define, in their order."""
    found: dict[str, Definition] = {}
    for file in FILES:
        text = inspect.getsource(import_module(f"archspec.export.layers.{file}"))
        own = text.splitlines()
        for node in ast.parse(text).body:
            name = _defined(node)
            if name:
                start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
                found[name] = Definition(name, "\n".join(own[start - 1 : node.end_lineno]))
    return found


def _defined(node: ast.stmt) -> str:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return node.name
    return node.targets[0].id if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) else ""


def closure(every: Mapping[str, Definition], wanted: Iterable[str]) -> list[Definition]:
    """The definitions that are wanted and all that they mention, in the order of the layer files."""
    kept: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept.add(name)
            waiting.extend(every[name].names & set(every))
    return [definition for name, definition in every.items() if name in kept]


def without_unused_methods(kept: Sequence[Definition]) -> list[Definition]:
    """Without the methods that nothing calls, until all that are left are called; then what only they needed goes."""
    while True:
        trees = [definition.tree for definition in kept]
        asked = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        fewer = [_without_methods(definition, asked) for definition in kept]
        if fewer == list(kept):
            return mentioned(fewer)
        kept = fewer


def mentioned(kept: list[Definition]) -> list[Definition]:
    """Functions and constants that something still mentions; classes stay."""
    names = {name for definition in kept for name in definition.names}
    left = [each for each in kept if isinstance(each.tree, ast.ClassDef) or each.name in names or each.name == "named"]
    return left if len(left) == len(kept) else mentioned(left)


def _without_methods(definition: Definition, asked: set[str]) -> Definition:
    tree = definition.tree
    if not isinstance(tree, ast.ClassDef):
        return definition
    own = definition.source.splitlines()
    for node in reversed(tree.body):
        unused = isinstance(node, ast.FunctionDef) and node.name not in {*asked, "forward", "__init__"}
        field = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) not in asked
        if isinstance(node, ast.FunctionDef) and unused:
            start = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
            while own[start - 1] == "":
                start -= 1
            del own[start : node.end_lineno]
        elif field:
            del own[node.lineno - 1 : node.end_lineno]
    return replace(definition, source="\n".join(own))
