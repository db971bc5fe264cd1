"""A network with holes goes in; its genes, and for each hole and place the gene that fills it, come out.

Every mention of another hole is replaced by the gene that it means; nothing is replaced before all genes are known, so
that a hole may mention one that is written after it.
"""

from collections.abc import Mapping
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
from archspec.search.space.genes import Gene, Scope, gene_of
from archspec.search.space.holes import Hole
from archspec.search.space.walking import Walk


@dataclass(frozen=True)
class Site:
    """What fills a hole at one place: a gene (None: nothing to choose), and only when the condition is met."""

    gene: str | None
    when: Condition


@dataclass(frozen=True)
class Layout:
    """The genes of a network, each after those that its condition reads, and the site of every hole.

    `ways` are conditions under which an option of a hole is taken (hole, option), at least one where it can be.
    """

    genes: tuple[Gene, ...]
    sites: Mapping[tuple[int, Scope], Site]
    ways: Mapping[tuple[int, int], tuple[Condition, ...]]


def lay_out(template: Mapping[str, Any], holes: Mapping[int, Hole]) -> tuple[Layout, list[Problem]]:
    """The layout of a network with holes, and the problems of holes that do not go together."""
    walk = Walk(template, holes)
    walk.network()
    return _Resolution(walk).layout()


class _Resolution:
    """Puts genes in place of references, and checks that holes of one name agree."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.problems: list[Problem] = []
        self.resolved: dict[str, Condition] = {}
        self.open: list[str] = []

    def layout(self) -> tuple[Layout, list[Problem]]:
        genes = {}
        for name, holes in self.walk.drawn.items():
            self.check_agreement(holes)
            condition = self.active(name)
            if condition is not False:
                genes[name] = gene_of(holes[0], name, condition)
        self.check_reach(genes)
        sites = {key: self.site(*written) for key, written in self.walk.sites.items()}
        ways = {key: tuple(map(self.condition, ways)) for key, ways in self.walk.ways.items()}
        return Layout(_in_order(genes), sites, ways), self.problems

    def check_reach(self, genes: Mapping[str, Gene]) -> None:
        """A hole is drawn somewhere: where networks differ in their stages, not in every stage."""
        reached = {hole.number for name in genes for hole in self.walk.drawn[name]}
        for hole in {hole.number: hole for holes in self.walk.drawn.values() for hole in holes}.values():
            if hole.number not in reached:
                self.refuse(hole, "a hole can be reached", "its conditions are never met")

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
