"""A network with holes goes in; which holes draw each gene, and under which conditions, come out.

The network is walked once the way it will be filled in, with the condition under which each part is part of it. A
block is walked for every place of every stage that may use it. Mentions of other holes (`when`, `follow`) stay
references, because not all genes are known yet.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from archspec.errors import Problem, SpecError
from archspec.schema.problems import dotted
from archspec.search.space.conditions import Chosen, Condition, Reference, every, negated, some
from archspec.search.space.genes import NETWORK, Scope, gene_name
from archspec.search.space.holes import Hole
from archspec.search.space.inlining import needs_filling, reference

MAXIMUM_DEPTH = 1024
MAXIMUM_GENES = 1024
ELSE = -1
"""Stands for the option of a hole whose `when` is not met."""
_WAYS_KEPT = 4


class Walk:
    """Gathers, for each gene, the holes that draw it and the conditions under which one of them is active."""

    def __init__(self, template: Mapping[str, Any], holes: Mapping[int, Hole]) -> None:
        self.template = template
        self.holes = holes
        self.drawn: dict[str, list[Hole]] = {}
        self.conditions: dict[str, Condition] = {}
        self.sites: dict[tuple[int, Scope], tuple[Hole, str | Reference | None, Condition]] = {}
        self.ways: dict[tuple[int, int], list[Condition]] = {}
        """Of (hole, option): some of the conditions under which it is taken."""
        self.spelt_out = _alike(holes.values())

    def network(self) -> None:
        for key, node in self.template.items():
            if key not in ("stages", "blocks"):
                self.walk(node, NETWORK, True)
        for condition, stages in self.alternatives(self.template.get("stages"), NETWORK, True):
            for index, stage in enumerate(stages if isinstance(stages, list | tuple) else ()):
                for inner, mapping in self.alternatives(stage, Scope(index), condition):
                    self.walk(mapping, Scope(index), inner)
                    if isinstance(mapping, Mapping):
                        self.stage(mapping, Scope(index), inner)

    def walk(self, node: Any, scope: Scope, condition: Condition) -> None:
        """Note every hole at or below a node that is part of the network under the condition."""
        if condition is False or not needs_filling(node):
            return
        for inner, found in self.alternatives(node, scope, condition):
            inlined = reference(found)
            if inlined is not None:
                for picked, name in self.alternatives(inlined, scope, inner):
                    self.block(name, scope, picked)
            elif isinstance(found, Mapping | list | tuple):
                for child in found.values() if isinstance(found, Mapping) else found:
                    self.walk(child, scope, inner)

    def block(self, name: Any, scope: Scope, condition: Condition) -> None:
        """Walk a named block, where there is one."""
        blocks = self.template.get("blocks")
        if isinstance(blocks, Mapping) and isinstance(name, str) and name in blocks:
            self.walk(blocks[name], scope, condition)

    def alternatives(self, node: Any, scope: Scope, condition: Condition) -> Iterator[tuple[Condition, Any]]:
        """What may stand where a node stands, holes filled in at the top, and under which condition."""
        if not isinstance(node, Hole):
            yield condition, node
            return
        gene, met = self.note(node, scope, condition)
        for number, (label, option) in enumerate(zip(node.labels, node.options, strict=True)):
            picked: Condition = True
            if isinstance(gene, Reference):
                picked = Reference(gene.names, (), number, node.number)
            elif len(node.labels) > 1:
                picked = Chosen(gene, frozenset((label,)), len(node.labels))
            taken = every(condition, met, picked)
            self.note_way(node, number, taken)
            yield from self.alternatives(option, scope, taken)
        if node.when:
            left_out = every(condition, negated(met))
            self.note_way(node, ELSE, left_out)
            yield left_out, node.otherwise

    def note_way(self, hole: Hole, option: int, condition: Condition) -> None:
        ways = self.ways.setdefault((hole.number, option), [])
        if len(ways) < _WAYS_KEPT and condition is not False:
            ways.append(condition)

    def note(self, hole: Hole, scope: Scope, condition: Condition) -> tuple[str | Reference, Condition]:
        """The gene of a hole at a place, and the condition that its `when` sets."""
        names = self.reach(hole, scope)
        met = every(*(Reference(names[word], wanted, None, hole.number) for word, wanted in hole.when))
        gene: str | Reference
        if hole.follow is not None:
            gene = Reference(names[hole.follow], (), 0, hole.number)
        else:
            gene = gene_name(hole, scope, hole.number in self.spelt_out)
            active = every(condition, met)
            self.conditions[gene] = some(self.conditions.get(gene, False), active)
            holes = self.drawn.setdefault(gene, [])
            if hole not in holes:
                holes.append(hole)
            if len(self.drawn) > MAXIMUM_GENES:
                rule = f"a space has at most {MAXIMUM_GENES:,} genes: draw holes per stage, not per block, or fewer"
                raise SpecError([Problem(rule, "more by here", dotted(("network", *hole.path)), hole.location)])
        self.sites.setdefault((hole.number, scope.at(hole)), (hole, gene, met))
        return gene, met

    def reach(self, hole: Hole, scope: Scope) -> dict[str, tuple[str, ...]]:
        """The genes that each word which the hole mentions may mean, the nearest first."""
        block = f"{hole.path[1]}." if hole.path[0] == "blocks" else ""
        prefixes = (scope.at(hole) if block else scope).prefixes
        words = [word for word, _ in hole.when] + ([hole.follow] if hole.follow else [])
        return {
            word: (*(f"{p}{b}{word}" for p in prefixes for b in (block, "")), f"blocks.{block}{word}", f"blocks.{word}")
            for word in words
        }

    def stage(self, stage: Mapping[str, Any], scope: Scope, condition: Condition) -> None:
        """Walk the blocks of a stage, each under the condition that the stage is deep enough and picks it."""
        depths = [
            (inner, depth)
            for inner, depth in self.alternatives(stage.get("depth"), scope, condition)
            if type(depth) is int and 1 <= depth <= MAXIMUM_DEPTH
        ]
        reached = _reached(depths)
        in_turn: Condition = False
        """Whether the first place, too, has the block whose turn it is."""
        for picked, name in self.alternatives(stage.get("first"), scope, condition):
            if name is None:
                in_turn = some(in_turn, picked)
            elif reached:
                self.block(name, Scope(scope.stage, 0), every(picked, reached[0]))
        for inner, names in self.alternatives(stage.get("block"), scope, condition):
            items = names if isinstance(names, list | tuple) and names else [names]
            for place, deep_enough in enumerate(reached):
                there = deep_enough if place else every(deep_enough, in_turn)
                for picked, name in self.alternatives(items[place % len(items)], scope, inner):
                    self.block(name, Scope(scope.stage, place), every(picked, there))


def _reached(depths: list[tuple[Condition, int]]) -> list[Condition]:
    """For each place of a stage, from the first, the condition that the stage is deep enough to have it."""
    deepest = max((depth for _, depth in depths), default=0)
    reached: list[Condition] = [False] * (deepest + 1)
    for place in reversed(range(deepest)):
        reached[place] = some(reached[place + 1], *(condition for condition, depth in depths if depth == place + 1))
    return reached[:-1]


def _alike(holes: Iterable[Hole]) -> set[int]:
    """The holes without a name whose short genes would have one name."""
    names: dict[str, list[int]] = {}
    for hole in holes:
        if hole.name is None:
            names.setdefault(gene_name(hole, Scope(0, 0)), []).append(hole.number)
    return {number for numbers in names.values() if len(numbers) > 1 for number in numbers}
