"""A network with holes goes in; nothing comes out, or an error where blocks that stand among steps grow without bound.

`{block: se}` among steps means the steps of the block `se`. A space writes such blocks out wherever they stand, because
their holes may be drawn per stage or per block.
"""

from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any

from archspec.errors import Problem, SpecError
from archspec.schema.located import locate
from archspec.schema.nesting import MAXIMUM_STEPS
from archspec.schema.problems import dotted
from archspec.search.space.holes import Hole

Path = tuple[str | int, ...]


def reference(node: Any) -> Any:
    """What names the block that a step inlines: a name, or a hole with names; None where the node is no such step."""
    return node["block"] if isinstance(node, Mapping) and len(node) == 1 and "block" in node else None


def named(node: Any) -> Iterator[str]:
    """The names that may stand at a node: itself, or the options of a hole."""
    if isinstance(node, Hole):
        for option in (*node.options, *((node.otherwise,) if node.when else ())):
            yield from named(option)
    elif isinstance(node, str):
        yield node


def needs_filling(node: Any) -> bool:
    """Whether a tree is or holds a hole or a step that inlines a block."""
    if isinstance(node, Hole) or reference(node) is not None:
        return True
    if isinstance(node, Mapping):
        return any(map(needs_filling, node.values()))
    return any(map(needs_filling, node)) if isinstance(node, list | tuple) else False


def without_references(node: Any, blocks: Mapping[str, Any]) -> Any:
    """The tree with a step that does nothing in place of each block that is inlined and that there is."""
    if reference(node) in tuple(blocks):
        return {"drop_path": 0.0}
    if not needs_filling(node) or isinstance(node, Hole):
        return node
    copied = copy(node)
    for step, child in list(node.items() if isinstance(node, Mapping) else enumerate(node)):
        copied[step] = without_references(child, blocks)
    return copied


def check_inlining(template: Mapping[str, Any]) -> None:
    """Raise SpecError where a block leads back to itself, or has too many steps with others written out."""
    blocks = template.get("blocks")
    if isinstance(blocks, Mapping):
        growth = _Growth(blocks)
        for name in blocks:
            growth.of_block(name)


class _Growth:
    """How many mappings a block has with every other block written out; each is looked at once."""

    def __init__(self, blocks: Mapping[str, Any]) -> None:
        self.blocks = blocks
        self.known: dict[str, int] = {}
        self.open: list[str] = []

    def of_block(self, name: str) -> int:
        if name in self.open:
            chain = " -> ".join([*self.open[self.open.index(name) :], name])
            raise self.error("a block does not lead back to itself", chain, name)
        if name not in self.known:
            self.open.append(name)
            self.known[name] = self.of(self.blocks[name])
            self.open.pop()
            if self.known[name] > MAXIMUM_STEPS:
                rule = f"a block holds at most {MAXIMUM_STEPS:,} mappings, with the blocks inside it written out"
                raise self.error(rule, "more", name)
        return self.known[name]

    def of(self, node: Any) -> int:
        inlined = reference(node)
        if inlined is not None:
            return 1 + max((self.of_block(name) for name in named(inlined) if name in self.blocks), default=0)
        if isinstance(node, Hole):
            return max((self.of(option) for option in node.options), default=0)
        if isinstance(node, Mapping):
            return 1 + sum(map(self.of, node.values()))
        return sum(map(self.of, node)) if isinstance(node, list | tuple) else 0

    def error(self, rule: str, found: str, name: str) -> SpecError:
        path: Path = ("blocks", name)
        place = locate(self.blocks, (name,))
        return SpecError([Problem(rule, found, dotted(("network", *path)), place)])
