"""Genes and the conditions under which they are active go in; the tree of decisions that counts their points comes out.

A point is a choice for every active gene. A group of genes that no condition ties to the rest is counted by itself
and multiplied; inside a group, one gene that is surely active is decided, choices that no condition tells apart
together, and what is left is counted in turn. Equal remainders are one node, so the tree stays small where the number
of points is astronomical. Counting, drawing uniformly and listing are three readings of it.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from archspec.errors import Problem, SpecError
from archspec.search.space.conditions import Condition, Label, choices_in, genes_of, given
from archspec.search.space.genes import Gene

MAXIMUM_NODES = 50_000
Pending = tuple[tuple[str, Condition], ...]
"""Genes still to be decided, each with what is left of its condition."""


@dataclass(frozen=True, eq=False)
class Decision:
    """One gene that is active, and what remains to be decided after each of its choices."""

    gene: str
    arms: tuple[tuple[tuple[Label, ...], "Product"], ...]

    @cached_property
    def count(self) -> int:
        return sum(len(labels) * product.count for labels, product in self.arms)


@dataclass(frozen=True, eq=False)
class Product:
    """Genes that are active and decide nothing else, and decisions that do not touch each other."""

    free: tuple[Gene, ...]
    decisions: tuple[Decision, ...]

    @cached_property
    def count(self) -> int:
        """The number of points."""
        free = prod(len(gene.choices) for gene in self.free)
        return free * prod(decision.count for decision in self.decisions)


def decisions(genes: Sequence[Gene]) -> Product:
    """The tree of decisions. Raises SpecError where conditions are too entangled for a tree of reasonable size."""
    return _Counter(genes).product(tuple((gene.name, gene.conditions) for gene in genes))


class _Counter:
    def __init__(self, genes: Sequence[Gene]) -> None:
        self.genes = {gene.name: gene for gene in genes}
        self.known: dict[Pending, Product] = {}
        self.nodes = 0

    def product(self, pending: Pending) -> Product:
        known = self.known.get(pending)
        if known is not None:
            return known
        free: list[Gene] = []
        made: list[Decision] = []
        for group in _groups(_alive(pending)):
            if len(group) == 1 and group[0][1] is True:
                free.append(self.genes[group[0][0]])
            else:
                made.append(self.decision(group))
        product = self.known[pending] = Product(tuple(free), tuple(made))
        return product

    def decision(self, group: Pending) -> Decision:
        self.nodes += 1
        if self.nodes > MAXIMUM_NODES:
            rule = "the conditions between holes must allow the points to be counted: fewer holes shared by many"
            raise SpecError([Problem(rule, f"more than {MAXIMUM_NODES:,} cases")])
        readers = {name: sum(name in genes_of(other) for _, other in group) for name, met in group if met is True}
        name = max(readers, key=lambda gene: readers[gene])
        others = tuple(item for item in group if item[0] != name)
        arms = []
        for labels in _told_apart(self.genes[name], others):
            left = tuple((gene, given(condition, name, labels[0])) for gene, condition in others)
            arms.append((labels, self.product(left)))
        return Decision(name, tuple(arms))


def _alive(pending: Pending) -> Pending:
    """Without the genes that cannot become active any more."""
    alive = pending
    while dead := [name for name, condition in alive if condition is False]:
        alive = tuple((name, condition) for name, condition in alive if condition is not False)
        for name in dead:
            alive = tuple((gene, given(condition, name, None)) for gene, condition in alive)
    return alive


def _groups(pending: Pending) -> list[Pending]:
    """The genes in groups that no condition ties together, in the order of their first genes."""
    group_of = {name: name for name, _ in pending}

    def root(name: str) -> str:
        while group_of[name] != name:
            group_of[name] = name = group_of[group_of[name]]
        return name

    for name, condition in pending:
        for other in genes_of(condition):
            group_of[root(name)] = root(other)
    groups: dict[str, list[tuple[str, Condition]]] = {}
    for item in pending:
        groups.setdefault(root(item[0]), []).append(item)
    return [tuple(group) for group in groups.values()]


def _told_apart(gene: Gene, others: Pending) -> list[tuple[Label, ...]]:
    """The choices of a gene, together where no condition makes a difference between them."""
    sets = [labels for _, condition in others for labels in choices_in(condition, gene.name)]
    together: dict[tuple[bool, ...], list[Label]] = {}
    for label in gene.choices:
        together.setdefault(tuple(label in labels for labels in sets), []).append(label)
    return [tuple(labels) for labels in together.values()]


def draw(product: Product, rng: random.Random) -> dict[str, Label]:
    """The active genes of one point, every point equally likely."""
    drawn: dict[str, Label] = {gene.name: rng.choice(gene.choices) for gene in product.free}
    for decision in product.decisions:
        number = rng.randrange(decision.count)
        for labels, rest in decision.arms:
            if number < len(labels) * rest.count:
                drawn[decision.gene] = labels[number // rest.count]
                drawn.update(draw(rest, rng))
                break
            number -= len(labels) * rest.count
    return drawn


def listed(product: Product) -> Iterator[dict[str, Label]]:
    """The active genes of every point, each once, in a fixed order."""
    yield from _combined([*product.free, *product.decisions])


def _combined(factors: Sequence[Gene | Decision]) -> Iterator[dict[str, Label]]:
    if not factors:
        yield {}
        return
    for head in _one(factors[0]):
        for rest in _combined(factors[1:]):
            yield head | rest


def _one(factor: Gene | Decision) -> Iterator[dict[str, Label]]:
    if isinstance(factor, Gene):
        yield from ({factor.name: label} for label in factor.choices)
        return
    for labels, rest in factor.arms:
        for label in labels:
            for inner in listed(rest):
                yield {factor.gene: label} | inner
