"""A search space goes in; the share of its points that meet the constraints, and what the points cost, come out."""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

from archspec.costs import Cost
from archspec.errors import SpecError
from archspec.search.space.constraints import QUANTITIES, Constraint
from archspec.search.space.model import Assignment, SearchSpace, count, edits, points, sample
from archspec.search.space.networks import point

EXACT_UP_TO = 2_000
SAMPLES = 1_000
STARTS, STEPS = 4, 40
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_TWO_SIDED_95 = 1.959964


@dataclass(frozen=True)
class Share:
    """A rule or a constraint, and the share of the points looked at that break it."""

    text: str
    share: float


@dataclass(frozen=True)
class Feasibility:
    """What was seen of a space: every point (`exact`), or a uniform sample of them.

    `costs` has, for each quantity, its QUANTILES over the points that are networks at all; `illegal` the points that
    are none, by the rule that their layers break; `violated` the constraints, that which most points break first.
    """

    points: int
    feasible: int
    exact: bool
    seed: int
    costs: dict[str, tuple[int, ...]]
    illegal: tuple[Share, ...]
    violated: tuple[Share, ...]

    @property
    def share(self) -> float:
        """The share of points that are networks and meet every constraint."""
        return self.feasible / self.points

    @property
    def standard_error(self) -> float:
        """Of the share, from sampling; 0 where every point was looked at."""
        return 0.0 if self.exact else sqrt(self.share * (1 - self.share) / self.points)

    @property
    def interval(self) -> tuple[float, float]:
        """The share lies here with 95 % confidence (Wilson 1927: right for shares of 0 and 1 too)."""
        if self.exact:
            return self.share, self.share
        z, n = _TWO_SIDED_95, self.points
        middle = (self.share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * sqrt(self.share * (1 - self.share) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    @property
    def tightest(self) -> str | None:
        """The constraint that most points break; None where no point breaks any."""
        return self.violated[0].text if self.violated and self.violated[0].share else None


def feasible_share(
    space: SearchSpace, samples: int = SAMPLES, seed: int = 0, exact_up_to: int = EXACT_UP_TO
) -> Feasibility:
    """Look at every point of a space of up to `exact_up_to` points, at a uniform sample of a larger one.

    Args:
        samples: how many points to draw (with replacement), at least 1.
        seed: of the draw.
    """
    exact = count(space) <= exact_up_to
    rng = random.Random(seed)
    drawn: Iterable[Assignment] = points(space) if exact else (sample(space, rng) for _ in range(max(1, samples)))
    costs: list[Cost] = []
    illegal: Counter[str] = Counter()
    violated: Counter[str] = Counter({constraint.text: 0 for constraint in space.constraints})
    looked_at = feasible = 0
    for assignment in drawn:
        looked_at += 1
        try:
            cost = point(space, assignment).cost
        except SpecError as error:
            illegal[error.problems[0].rule] += 1
            continue
        costs.append(cost)
        broken = [bound.text for bound in space.constraints if bound.violation(cost) > 0]
        violated.update(broken)
        feasible += not broken
    return Feasibility(
        points=looked_at,
        feasible=feasible,
        exact=exact,
        seed=seed,
        costs={name: _quantiles([getattr(cost, name) for cost in costs]) for name in QUANTITIES},
        illegal=_shares(illegal, looked_at),
        violated=_shares(violated, looked_at),
    )


@dataclass(frozen=True)
class Nearest:
    """The point found that comes nearest to meeting every constraint.

    `assignment` is None where no point was a network; `tightest` is the constraint that it misses by most (None: it
    meets them all) and `value` what it has there.
    """

    assignment: Assignment | None
    tightest: Constraint | None
    value: int | None

    @property
    def is_feasible(self) -> bool:
        return self.assignment is not None and self.tightest is None

    def __str__(self) -> str:
        if self.assignment is None:
            return "no point looked at is a network"
        return f"{self.tightest}; the nearest point found has {self.value:,}" if self.tightest else "feasible"


def nearest_to_feasible(space: SearchSpace, samples: int = SAMPLES, seed: int = 0) -> Nearest:
    """Go downhill from the best of some points drawn, gene by gene: finds what drawing alone would take ages to find.

    No proof: where it ends at a point that misses a constraint, another one may not. But it says by how much.
    """
    rng = random.Random(seed)
    drawn = [sample(space, rng) for _ in range(samples)]
    starts = sorted(((_missed(space, each), number) for number, each in enumerate(drawn)))[:STARTS]
    best = Nearest(None, None, None)
    lowest = float("inf")
    for missed, number in starts:
        here = drawn[number]
        for _ in range(STEPS):
            if missed == 0:
                break
            around = ((_missed(space, each), place, each) for place, (_, each) in enumerate(edits(space, here)))
            near = min(around, default=None)
            if near is None or near[0] >= missed:
                break
            missed, _, here = near
        if missed < lowest:
            lowest, best = missed, _nearest(space, here)
    return best


def _missed(space: SearchSpace, assignment: Assignment) -> float:
    """By how much a point misses its constraints, all together; infinite where it is no network."""
    try:
        cost = point(space, assignment).cost
    except SpecError:
        return float("inf")
    return sum(max(0.0, bound.violation(cost)) for bound in space.constraints)


def _nearest(space: SearchSpace, assignment: Assignment) -> Nearest:
    cost = point(space, assignment).cost
    tightest = max(space.constraints, key=lambda bound: bound.violation(cost), default=None)
    if tightest is None or tightest.violation(cost) <= 0:
        return Nearest(assignment, None, None)
    return Nearest(assignment, tightest, tightest.value(cost))


def _shares(counted: Counter[str], of: int) -> tuple[Share, ...]:
    return tuple(Share(text, number / of) for text, number in counted.most_common())


def _quantiles(values: list[int]) -> tuple[int, ...]:
    """Values that occur, by rank; empty without values."""
    ordered = sorted(values)
    return tuple(ordered[round(part * (len(ordered) - 1))] for part in QUANTILES) if ordered else ()
