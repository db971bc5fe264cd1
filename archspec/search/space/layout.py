"""A network with holes goes in; its genes, and for each hole and place the gene that fills it, come out.

The network is walked once the way it will be filled in, with the condition under which each part is part of it. A
block is walked for every place of every stage that may use it. Mentions of other holes (`when`, `follow`) stay
references until all genes are known.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from archspec.errors import Problem, nearest
from archspec.schema.problems import dotted
from archspec.schema.writing import one_line
from archspec.search.space.conditions import (
    Chosen,
    Condition,
    Label,
    Negated,
    Reference,
    Some,
    every,
    genes_of,
    negated,
    some,
)
from archspec.search.space.conditions import Every as EveryPart
from archspec.search.space.genes import NETWORK, Gene, Scope, gene_name, gene_of
from archspec.search.space.holes import Hole, holds_hole

MAXIMUM_DEPTH = 1024
MAXIMUM_GENES = 4096


@dataclass(frozen=True)
class Site:
    """What fills a hole at one place: a gene (None: nothing to choose), and only when the condition is met."""

    gene: str | None
    when: Condition


@dataclass(frozen=True)
class Layout:
    """The genes of a network, each after those that its condition reads, and the site of every hole."""

    genes: tuple[Gene, ...]
    sites: Mapping[tuple[int, Scope], Site]


def lay_out(template: Mapping[str, Any], holes: Mapping[int, Hole]) -> tuple[Layout, list[Problem]]:
    """The layout of a network with holes, and the problems of holes that do not go together."""
    walk = _Walk(template, holes)
    walk.network()
    return _Resolution(walk).layout()


class _Walk:
    """Gathers, for each gene, the holes that draw it and the conditions under which one of them is active."""

    def __init__(self, template: Mapping[str, Any], holes: Mapping[int, Hole]) -> None:
        self.template = template
        self.holes = holes
        self.drawn: dict[str, list[Hole]] = {}
        self.conditions: dict[str, Condition] = {}
        self.sites: dict[tuple[int, Scope], tuple[Hole, str | Reference | None, Condition]] = {}
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
        if condition is False or not holds_hole(node):
            return
        for inner, found in self.alternatives(node, scope, condition):
            if isinstance(found, Mapping | list | tuple):
                for child in found.values() if isinstance(found, Mapping) else found:
                    self.walk(child, scope, inner)

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
            yield from self.alternatives(option, scope, every(condition, met, picked))
        if node.when:
            yield every(condition, negated(met)), node.otherwise

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
        blocks = self.template.get("blocks")
        depths = [
            (inner, depth)
            for inner, depth in self.alternatives(stage.get("depth"), scope, condition)
            if type(depth) is int and 1 <= depth <= MAXIMUM_DEPTH
        ]
        if not isinstance(blocks, Mapping):
            return
        for inner, names in self.alternatives(stage.get("block"), scope, condition):
            items = names if isinstance(names, list | tuple) and names else [names]
            for place in range(max((depth for _, depth in depths), default=0)):
                reached = some(*(deep for deep, depth in depths if depth > place))
                for picked, name in self.alternatives(items[place % len(items)], scope, inner):
                    if isinstance(name, str) and name in blocks:
                        self.walk(blocks[name], Scope(scope.stage, place), every(picked, reached))


def _alike(holes: Iterable[Hole]) -> set[int]:
    """The holes without a name whose short genes would have one name."""
    names: dict[str, list[int]] = {}
    for hole in holes:
        if hole.name is None:
            names.setdefault(gene_name(hole, Scope(0, 0)), []).append(hole.number)
    return {number for numbers in names.values() if len(numbers) > 1 for number in numbers}


class _Resolution:
    """Puts genes in place of references, and checks that holes of one name agree."""

    def __init__(self, walk: _Walk) -> None:
        self.walk = walk
        self.problems: list[Problem] = []
        self.resolved: dict[str, Condition] = {}
        self.open: list[str] = []

    def layout(self) -> tuple[Layout, list[Problem]]:
        genes = {}
        for name, holes in self.walk.drawn.items():
            self.check_agreement(holes)
            condition = self.active(name)
            if condition is False:
                self.refuse(holes[0], "a hole can be reached", "its conditions are never met")
            else:
                genes[name] = gene_of(holes[0], name, condition)
        if len(genes) > MAXIMUM_GENES:
            self.problems.append(Problem(f"a space has at most {MAXIMUM_GENES:,} genes", f"{len(genes):,}"))
        sites = {key: self.site(*written) for key, written in self.walk.sites.items()}
        return Layout(_in_order(genes), sites), self.problems

    def check_agreement(self, holes: list[Hole]) -> None:
        first = holes[0]
        for hole in holes[1:]:
            if hole.name != first.name:
                self.refuse(hole, f"a name is not the name of another hole ({first.location})", str(hole.name))
            elif hole.signature != first.signature:
                rule = f"holes of one name have the same choices and the same per; see {first.location}"
                self.refuse(hole, rule, f"{hole.name}: {_choices(hole)}", (_choices(first),))

    def site(self, hole: Hole, gene: str | Reference | None, when: Condition) -> Site:
        met = self.condition(when)
        if not isinstance(gene, Reference):
            return Site(gene if gene in self.walk.drawn else None, met)
        followed = self.meant(gene)
        choices = len(self.walk.drawn[followed][0].labels) if followed else len(hole.options)
        if len(hole.options) != choices:
            rule = f"a hole that follows another has as many options; {followed} has {choices}"
            self.refuse(hole, rule, str(len(hole.options)))
        return Site(followed, met)

    def meant(self, reference: Reference) -> str | None:
        """The gene that a reference means; reports it where there is none."""
        for name in reference.names:
            if name in self.walk.drawn:
                return name
        hole = self.walk.holes[reference.hole]
        word = reference.names[-1].removeprefix("blocks.")
        known = sorted({name.rpartition(".")[2] for name in self.walk.drawn} | set(self.walk.drawn))
        key = "follow" if reference.index is not None else "when"
        rule = f"{key} names another hole that is drawn for the same place, or for all (see per)"
        self.refuse(hole, rule, word, nearest(word, known) or tuple(known[:3]))
        return None

    def active(self, gene: str) -> Condition:
        """When a gene is active, over genes alone."""
        if gene in self.open:
            circle = [*self.open[self.open.index(gene) :], gene]
            self.refuse(self.walk.drawn[gene][0], "conditions do not go in a circle", " -> ".join(circle))
            return True
        if gene not in self.resolved:
            self.open.append(gene)
            self.resolved[gene] = self.condition(self.walk.conditions[gene])
            self.open.pop()
        return self.resolved[gene]

    def condition(self, condition: Condition) -> Condition:
        if isinstance(condition, Reference):
            return self.reference(condition)
        if isinstance(condition, Negated):
            return negated(self.condition(condition.part))
        if isinstance(condition, EveryPart):
            return every(*map(self.condition, condition.parts))
        return some(*map(self.condition, condition.parts)) if isinstance(condition, Some) else condition

    def reference(self, reference: Reference) -> Condition:
        gene = self.meant(reference)
        if gene is None:
            return True
        labels = self.walk.drawn[gene][0].labels
        active = self.active(gene)
        if reference.index is None:
            wanted = frozenset(label for word in reference.wanted for label in self.matching(word, labels, reference))
            return every(active, len(wanted) == len(labels) or Chosen(gene, wanted, len(labels)))
        hole = self.walk.holes[reference.hole]
        if len(hole.options) != len(labels):
            return True  # reported with its site
        picked = Chosen(gene, frozenset((labels[reference.index],)), len(labels))
        # Where the other is not active it stands at its first choice.
        return every(active, picked) if reference.index else some(every(active, picked), negated(active))

    def matching(self, word: Label, labels: tuple[Label, ...], reference: Reference) -> list[Label]:
        """The choices that a word of `when` means: itself, or every one that starts with it (`pooled`)."""
        exact = [label for label in labels if label == word and isinstance(label, bool) == isinstance(word, bool)]
        found = exact or [label for label in labels if str(label).split("(")[0] == word]
        if not found:
            shown = tuple(map(str, labels))
            rule = f"when compares with a choice of the other hole: {', '.join(shown[:12])}"
            near = nearest(str(word), shown) or shown[:3]
            self.refuse(self.walk.holes[reference.hole], rule, one_line(word), near)
        return found

    def refuse(self, hole: Hole, rule: str, found: str, near: tuple[str, ...] = ()) -> None:
        self.problems.append(Problem(rule, found, dotted(("network", *hole.path)), hole.location, near))


def _choices(hole: Hole) -> str:
    return f"{{choose: [{', '.join(map(str, hole.labels[:12]))}], per: {hole.level}}}"


def _in_order(genes: dict[str, Gene]) -> tuple[Gene, ...]:
    """Each gene after those that its condition reads, otherwise in the order of the file."""
    ordered: dict[str, Gene] = {}
    number = {name: place for place, name in enumerate(genes)}

    def place(name: str) -> None:
        if name in ordered or name not in genes:
            return
        gene = genes.pop(name)
        for needed in sorted(genes_of(gene.conditions), key=lambda needed: number.get(needed, 0)):
            place(needed)
        ordered[name] = gene

    for name in list(genes):
        place(name)
    return tuple(ordered.values())
