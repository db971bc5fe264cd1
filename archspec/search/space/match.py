"""A network and a budget go in; the same pattern at that cost comes out: scaled by width or depth, by exact search.

Patterns are compared at equal parameters or equal multiply-adds (arXiv 2106.04263, Tables 2 to 4), so each is scaled by
one factor first. Numbers of channels that are equal stay equal; each is a whole number of steps that its layers can
divide (heads, groups, `multiple`). Costs are exact integers (archspec.costs), no torch.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import log
from statistics import pvariance
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from archspec.costs import cost
from archspec.errors import Problem, SpecError
from archspec.ir import Program
from archspec.resolve import resolve
from archspec.schema.base import Strict
from archspec.schema.network import Input, Network
from archspec.schema.validation import rule_error
from archspec.search.space.constraints import parse_constraint
from archspec.search.space.numbers import depths, widths, with_depths, with_widths

ROUNDS = 8
"""Steps of the search for the common factor; each brings the cost much nearer to the budget."""
FREE, TRIED = 6, 12
"""At the factor, the coarsest numbers are moved by a step or two each; so many of the most promising are tried."""
# Cost over a common factor of all widths, or of all depths, grows about so.
_POWER = {"width": 2, "depth": 1}

Amount = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0)] | str


class Match(Strict):
    """The cost to which every network is scaled before it is trained: `params` or `macs`, as in 4.5G."""

    params: Amount | None = None
    macs: Amount | None = None
    by: Literal["width", "depth"] = "width"
    """What is scaled: all numbers of channels by one factor, or the depth of all stages."""
    tolerance: Annotated[float, Field(gt=0, lt=0.5)] = 0.02
    """The cost may miss the budget by this share; a network that cannot come so near is no candidate."""
    multiple: Annotated[int, Field(ge=1, le=256)] = 4
    """Widths are whole multiples of this, and of what the groups and heads of their layers need."""

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.params is None) == (self.macs is None):
            raise rule_error("match names one budget: either params or macs", "both" if self.params else "neither")
        try:
            found = self.target
        except SpecError as error:
            problem = error.problems[0]
            raise rule_error(problem.rule, problem.found, problem.nearest, at=(self.quantity,)) from error
        if found < 1:
            raise rule_error("a budget is at least 1", str(found), at=(self.quantity,))
        return self

    @property
    def quantity(self) -> Literal["params", "macs"]:
        return "macs" if self.params is None else "params"

    @property
    def target(self) -> int:
        """The budget, as a whole number. Raises SpecError for a word that is no number."""
        written = self.macs if self.params is None else self.params
        if not isinstance(written, str):
            return round(written or 0)
        bound = parse_constraint(f"{self.quantity} <= {written}")
        return bound.high or 0

    def __str__(self) -> str:
        return f"{self.quantity} {self.target:,} by {self.by} within {100 * self.tolerance:g} %"


@dataclass(frozen=True)
class Scaling:
    """What was done to a network to meet a budget: provenance of a trial."""

    match: Match
    before: int
    """What the network cost as it was written."""
    reached: int
    numbers: tuple[tuple[int, int], ...]
    """Each number of channels, or the depth of each stage, before and after."""

    @property
    def error(self) -> float:
        """Reached against the budget, as a share of it."""
        return self.reached / self.match.target - 1

    def facts(self) -> dict[str, Any]:
        """As plain data, for the store."""
        budget = {"quantity": self.match.quantity, "target": self.match.target, "by": self.match.by}
        found = {"before": self.before, "reached": self.reached, "numbers": [list(pair) for pair in self.numbers]}
        return budget | {"tolerance": self.match.tolerance, "multiple": self.match.multiple} | found

    def __str__(self) -> str:
        before, after = (", ".join(str(pair[side]) for pair in self.numbers) for side in (0, 1))
        name = self.match.quantity
        return f"{self.match.by} {before} to {after}: {name} {self.before:,} to {self.reached:,}"


@dataclass(frozen=True)
class Matching:
    """A budget, and the input and classes at which it is counted (None: the network's own)."""

    match: Match
    at: tuple[Input, int] | None = None
    found: dict[Any, tuple[tuple[int, ...], int, int]] = field(default_factory=dict, repr=False, compare=False)

    def counted(self, network: Network) -> Network:
        """The network at the size at which the budget holds."""
        if self.at is None:
            return network
        return network.model_copy(update={"input": self.at[0], "classes": self.at[1]})


def scaled(network: Network, matching: Matching) -> tuple[Network, Program, Scaling]:
    """The network at the budget, its program at its own input, and what was done to it.

    Raises SpecError: it is not legal, or no scaling comes near enough to the budget; says how near one came.
    """
    match, counted = matching.match, matching.counted(network)
    search = _Search(counted, match)
    key = (search.program.digest, tuple(part.value for part in search.parts))
    if key not in matching.found:
        matching.found[key] = search.nearest()
    values, before, reached = matching.found[key]
    scaling = Scaling(match, before, reached, tuple((p.value, v) for p, v in zip(search.parts, values, strict=True)))
    if abs(scaling.error) > match.tolerance:
        raise SpecError([Problem(f"a network is scaled to {match}", f"the nearest found is {scaling}", "match")])
    made = search.apply(network, values)
    return made, resolve(made), scaling


_Judged = tuple[float, float, float, tuple[int, ...], int]
"""Beyond the tolerance by, distorted by, away from the budget by; the numbers, and their cost. Less is better."""


class _Search:
    """The numbers of one network that can change, and what it costs for each choice of them."""

    def __init__(self, network: Network, match: Match) -> None:
        self.network, self.match = network, match
        self.program = resolve(network)
        self.parts = depths(network) if match.by == "depth" else widths(network, match.multiple)
        self.known: dict[tuple[int, ...], int | None] = {}

    def apply(self, network: Network, values: Sequence[int]) -> Network:
        """The network with these numbers in place of its own."""
        change = with_depths if self.match.by == "depth" else with_widths
        return change(network, self.parts, values)

    def cost(self, values: tuple[int, ...]) -> int | None:
        """The cost with these numbers; None where layers do not fit them."""
        if values not in self.known:
            try:
                program = resolve(self.apply(self.network, values))
                self.known[values] = int(getattr(cost(program), self.match.quantity))
            except SpecError:
                self.known[values] = None
        return self.known[values]

    def nearest(self) -> tuple[tuple[int, ...], int, int]:
        """The numbers of the network that suits the budget best, its cost as written, and the cost reached."""
        target, written = self.match.target, tuple(part.value for part in self.parts)
        before = here = int(getattr(cost(self.program), self.match.quantity))
        factor, best = Fraction(1), self._judged(written, before)
        for _ in range(ROUNDS):
            if best[0] == 0:
                return best[3], before, best[4]
            factor *= Fraction((target / here) ** (1 / _POWER[self.match.by])).limit_denominator(10**6)
            values = tuple(part.nearest(factor) for part in self.parts)
            found = self.cost(values)
            if found is None or found == here:
                break
            here, best = found, min(best, self._judged(values, found))
        best = min([best, *self._nearby(best[3])])
        return best[3], before, best[4]

    def _nearby(self, centre: tuple[int, ...]) -> Iterator[_Judged]:
        """Neighbours of some numbers, each a step or two away: those that promise most, by what a step adds."""
        here = self.cost(centre) or 0
        coarse = sorted(range(len(centre)), key=lambda place: self.parts[place].step / centre[place], reverse=True)
        free = [place for place in coarse if self.parts[place].step][:FREE]
        gains = [(self.cost(self._moved(centre, {place: 1})) or 2 * here) - here for place in free]
        steps = (-2, -1, 0, 1, 2) if len(free) <= FREE - 2 else (-1, 0, 1)
        promising = []
        for moves in itertools.product(steps, repeat=len(free)):
            values = self._moved(centre, dict(zip(free, moves, strict=True)))
            if min(values) > 0:
                expected = here + sum(gain * move for gain, move in zip(gains, moves, strict=True))
                promising.append(self._judged(values, expected))
        for *_, values, _ in sorted(promising)[:TRIED]:
            found = self.cost(values)
            if found is not None:
                yield self._judged(values, found)

    def _moved(self, values: tuple[int, ...], moves: Mapping[int, int]) -> tuple[int, ...]:
        return tuple(value + moves.get(place, 0) * self.parts[place].step for place, value in enumerate(values))

    def _judged(self, values: tuple[int, ...], reached: int) -> _Judged:
        """Inside the tolerance the least distorted counts (one factor for all), outside it the nearest."""
        missed = abs(reached / self.match.target - 1)
        factors = [log(value / part.value) for part, value in zip(self.parts, values, strict=True)]
        return max(0.0, missed - self.match.tolerance), round(pvariance(factors), 9), missed, values, reached
