"""A search space goes in; what is wrong with any option of any hole comes out, with its place in the file.

Each option is tried in a network until one is found in which it is legal. Options that are legal only together with
some others (weights that need one kind of sharing) are no mistake: the points that break a rule are found, and
counted, when they are drawn.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

from pydantic import ValidationError

from archspec.errors import Problem, SpecError
from archspec.schema.load import network_from
from archspec.schema.located import LocatedDict, locate
from archspec.search.space.conditions import Chosen, Condition, Every, Negated, Some, holds
from archspec.search.space.filling import Misshapen, holes_in
from archspec.search.space.holes import Hole, every_option
from archspec.search.space.inlining import without_references
from archspec.search.space.model import Assignment, SearchSpace, canonical, sample
from archspec.search.space.networks import assembled, block_names, written
from archspec.search.space.walking import ELSE

RETRIES = 12
ARRANGEMENTS = 200


def problems_of(space: SearchSpace) -> list[Problem]:
    """Everything that is wrong, option by option; the same problem may be there several times."""
    check = _Check(space)
    problems = check.attempt(canonical(space, {}))
    if not space.genes:
        check.problems += problems
    for hole in holes_in(space.template):
        for option in _ends(hole):
            if (hole.number, option) not in check.legal:
                check.option((hole.number, option))
    check.unused_blocks()
    return check.problems


def _ends(hole: Hole) -> tuple[int, ...]:
    """The options to try: what is legal at both ends of a range is legal in between."""
    last = len(hole.options) - 1
    options = (0, last) if hole.range else tuple(range(last + 1))
    return (*options, ELSE) if hole.when else options


class _Check:
    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.first = canonical(space, {})
        self.legal: set[tuple[int, int]] = set()
        self.used: set[str] = set()
        self.problems: list[Problem] = []
        self.rng = random.Random(0)

    def option(self, option: tuple[int, int]) -> None:
        """Try an option with the first choices of the rest, then with others; keep the shortest list of problems."""
        found: list[list[Problem]] = []
        for base in self.bases():
            for way in self.space.filler.layout.ways.get(option, ()):
                assignment = arranged(self.space, base, way)
                if assignment is not None:
                    found.append(self.attempt(assignment))
                    if not found[-1]:
                        return
        self.problems += sorted(found, key=len)[0] if found else []

    def bases(self) -> Iterator[Assignment]:
        yield self.first
        if self.legal:
            yield from (sample(self.space, self.rng) for _ in range(RETRIES))

    def attempt(self, assignment: Assignment) -> list[Problem]:
        """Check one network; note the options that are legal in it."""
        space, read = self.space, assignment.__getitem__
        names: dict[str, str] = {}
        try:
            parts = space.filler.parts(read)
            names = {name: str(key[0]) for key, name in block_names(parts).items()}
            self.used |= set(names.values())
            assembled(space, parts)
        except (Misshapen, ValidationError):
            try:
                network_from(written(space, read))
            except SpecError as error:
                return [self.in_file(problem, names) for problem in error.problems]
        open_ways = ((key, ways) for key, ways in space.filler.layout.ways.items() if key not in self.legal)
        self.legal |= {key for key, ways in open_ways if any(holds(way, read) for way in ways)}
        return []

    def in_file(self, problem: Problem, names: Mapping[str, str]) -> Problem:
        """The problem with the path of the search-space file; `names` are the blocks' names there."""
        path = problem.path.split(".")
        if path[0] == "blocks" and len(path) > 1:
            path[1] = names.get(path[1], path[1])
        if problem.location is None or problem.location.file == str(self.space.path):
            path.insert(0, "network")
        return replace(problem, path=".".join(path))

    def unused_blocks(self) -> None:
        """Blocks that no stage uses have no options to draw, but what is written there is checked all the same."""
        blocks = self.space.template.get("blocks")
        if not isinstance(blocks, Mapping):
            return
        for name in blocks:
            if name not in self.used:
                for block in every_option(blocks[name]):
                    self.problems += self.unused_block(name, block)

    def unused_block(self, name: str, block: object) -> list[Problem]:
        data = written(self.space, canonical(self.space, {}).__getitem__)
        blocks = data.get("blocks")
        if isinstance(blocks, LocatedDict):
            data["blocks"] = more = blocks.copy()
            alone = without_references(block, self.space.template["blocks"])
            more.put(name, alone, locate(self.space.template, ("blocks", name)))
        try:
            network_from(data)
        except SpecError as error:
            return [self.in_file(problem, {}) for problem in error.problems if f"blocks.{name}" in problem.path]
        return []


def arranged(space: SearchSpace, base: Assignment, condition: Condition) -> Assignment | None:
    """The base with as little changed as makes the condition hold; None where nothing does."""
    for changes in islice(solutions(space, condition, True), ARRANGEMENTS):
        assignment = canonical(space, base | changes)
        if holds(condition, assignment.__getitem__):
            return assignment
    return None


def solutions(space: SearchSpace, condition: Condition, wanted: bool) -> Iterator[Assignment]:
    """Choices that may make a condition hold (or not hold); those that contradict each other are left out."""
    if isinstance(condition, bool):
        yield from [{}] if condition is wanted else []
    elif isinstance(condition, Negated):
        yield from solutions(space, condition.part, not wanted)
    elif isinstance(condition, Chosen):
        choices = space.by_name[condition.gene].choices
        yield from ({condition.gene: label} for label in choices if (label in condition.labels) is wanted)
    elif isinstance(condition, Every | Some):
        if isinstance(condition, Every) is wanted:
            yield from _together(space, condition.parts, wanted)
        else:
            for part in condition.parts:
                yield from solutions(space, part, wanted)


def _together(space: SearchSpace, parts: tuple[Condition, ...], wanted: bool) -> Iterator[Assignment]:
    if not parts:
        yield {}
        return
    for first in solutions(space, parts[0], wanted):
        for rest in _together(space, parts[1:], wanted):
            if all(rest.get(name, label) == label for name, label in first.items()):
                yield first | rest
