"""A search space and values for its genes go in; active genes, points, counts and neighbours come out.

An assignment gives every gene a value, whether the gene is active or not; a point is what its active genes say. Two
assignments with the same active part are one point, and `canonical` is the one that stands for it.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from archspec.errors import Problem, SpecError, nearest
from archspec.search.space.conditions import Label, holds
from archspec.search.space.constraints import Constraint
from archspec.search.space.counting import Product, decisions, draw, listed
from archspec.search.space.filling import Filler
from archspec.search.space.genes import Gene
from archspec.search.space.labels import shown
from archspec.search.space.match import Matching

Assignment = dict[str, Label]


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """A network with holes, as genes. Made by `load_space`."""

    name: str
    description: str | None
    path: Path
    genes: tuple[Gene, ...]
    constraints: tuple[Constraint, ...]
    template: Mapping[str, Any] = field(repr=False)
    filler: Filler = field(repr=False)
    matching: Matching | None = None
    """The budget to which its networks are scaled; None: they are what is written."""
    kept: dict[Any, Any] = field(default_factory=dict, repr=False)
    """Checked parts of networks, by the options that make them."""

    @cached_property
    def by_name(self) -> dict[str, Gene]:
        return {gene.name: gene for gene in self.genes}

    @cached_property
    def decisions(self) -> Product:
        """The tree that counts and draws points."""
        return decisions(self.genes)

    @cached_property
    def digest(self) -> str:
        """sha256 of what the space says (genes, conditions, network, constraints), not of how it is written."""
        genes = [[gene.name, list(gene.choices), gene.log, str(gene.conditions)] for gene in self.genes]
        said = [genes, shown(self.template), [str(bound) for bound in self.constraints]]
        said += [self.matching.match.model_dump(mode="json")] if self.matching else []
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def active(space: SearchSpace, assignment: Mapping[str, Label]) -> frozenset[str]:
    """The genes that make a difference for this assignment."""
    read = assignment.__getitem__
    return frozenset(gene.name for gene in space.genes if holds(gene.conditions, read))


def canonical(space: SearchSpace, assignment: Mapping[str, Label]) -> Assignment:
    """The assignment that stands for the point: genes that are not active take their first choice.

    Genes that are left out count as at their first choice. Raises SpecError for a gene or a value that is not one of
    the space.
    """
    complete = _complete(space, assignment)
    read = complete.__getitem__
    return {gene.name: complete[gene.name] if holds(gene.conditions, read) else gene.choices[0] for gene in space.genes}


def _complete(space: SearchSpace, assignment: Mapping[str, Label]) -> Assignment:
    problems = []
    for name, label in assignment.items():
        gene = space.by_name.get(name)
        if gene is None:
            rule = f"a gene is one of the space {space.name}"
            problems.append(Problem(rule, name, nearest=nearest(name, space.by_name)))
        elif label not in gene.index:
            rule = f"a value is one of the choices of {name}"
            choices = tuple(map(str, gene.choices))
            problems.append(Problem(rule, str(label), name, gene.location, nearest(str(label), choices) or choices[:5]))
    if problems:
        raise SpecError(problems)
    # The space's own label, so that 1.0 and True given for 1 do not get into names and tables.
    return {
        gene.name: gene.choices[gene.index[assignment[gene.name]]] if gene.name in assignment else gene.choices[0]
        for gene in space.genes
    }


def count(space: SearchSpace) -> int:
    """The exact number of points, also where it is astronomical."""
    return space.decisions.count


def sample(space: SearchSpace, rng: random.Random) -> Assignment:
    """A point, every point equally likely; the same for the same state of `rng`."""
    return _from_active(space, draw(space.decisions, rng))


def points(space: SearchSpace) -> Iterator[Assignment]:
    """Every point once, in a fixed order, as its canonical assignment."""
    return (_from_active(space, drawn) for drawn in listed(space.decisions))


def _from_active(space: SearchSpace, drawn: Mapping[str, Label]) -> Assignment:
    return {gene.name: drawn.get(gene.name, gene.choices[0]) for gene in space.genes}


def neighbours(space: SearchSpace, assignment: Mapping[str, Label]) -> Iterator[Assignment]:
    """The points that differ in the value of one active gene; genes that this makes active keep what they had.

    A gene of ordered numbers goes to the next smaller and the next larger one.
    """
    return (near for _, near in edits(space, assignment, farthest=1))


def edits(
    space: SearchSpace, assignment: Mapping[str, Label], farthest: int | None = None
) -> Iterator[tuple[int, Assignment]]:
    """The points that differ in the value of one active gene, each with how far that gene has gone.

    A gene of ordered numbers goes 1, 2, 4, ... choices up and down and to both ends, `farthest` at most, so that one
    edit or two cross a wide range; any other gene takes each of its other choices, all of them 1 away.
    """
    complete = _complete(space, assignment)
    for name in sorted(active(space, complete), key=list(space.by_name).index):
        gene = space.by_name[name]
        here, most = gene.index[complete[name]], len(gene.choices)
        if gene.kind == "categorical":
            reached = [(1, other) for other in range(most) if other != here]
        else:
            others = {here + sign * 2**power for power in range(most.bit_length()) for sign in (-1, 1)} | {0, most - 1}
            away = sorted((abs(other - here), other) for other in others if 0 <= other < most and other != here)
            reached = [(leap, other) for leap, other in away if farthest is None or leap <= farthest]
        for leap, other in reached:
            yield leap, canonical(space, complete | {name: gene.choices[other]})
