"""What was evaluated and a sampler's proposals go in; the proposal that is worth an evaluation comes out.

A sampler (TPE, NSGA-II) proposes several feasible and new points; the neighbours of the best points seen are added; a
surrogate that has read every learning curve, also those that were cut short, says which to evaluate: the one with the
largest expected improvement (Jones et al. 1998). With several objectives the improvement is that of a random
scalarisation, another for each trial (ParEGO, Knowles 2006), and costs, which are known exactly, are taken as they are.
Where trials ran out of memory, the improvement counts as often as the point is likely to fit (Gardner et al. 2014).
The first trials are spread over the space instead of drawn.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from archspec.results.records import TIMED, EvaluationRecord, Objective
from archspec.search.extrapolation import extrapolated, unbounded
from archspec.search.rungs import fronts_of
from archspec.search.space.model import Assignment, SearchSpace, canonical, neighbours, sample
from archspec.search.space.spread import spread
from archspec.search.surrogate import Surrogate, distances, encoded, fit

Array = NDArray[np.float64]
Costs = Mapping[str, int]
MEASURES = ("accuracy", "val_loss")
FEATURES = ("params", "macs")
"""Costs that the surrogate reads beside the genes, on a logarithmic scale."""
FEATURES_OF_MEMORY = ("params", "activation_bytes")
POOL, PARENTS, DRAWS = 256, 4, 128
LIKELY = 0.8
"""A point less likely to fit into memory is proposed only where none is likelier."""
LEAST = 4
"""Evaluated points below which there is nothing to fit."""
LEARN_AGAIN = 1.1
MOST = 300
"""Evaluated points that are fitted: the best half of so many and the latest."""


@dataclass(frozen=True)
class Seen:
    """A point that was evaluated, to its end or not: its measures epoch by epoch; none yet where it still runs."""

    assignment: Assignment
    cost: Costs
    curves: Mapping[str, tuple[float, ...]]
    out_of_memory: bool = False
    times: Mapping[str, float] = field(default_factory=dict)


def seen_of(record: EvaluationRecord, assignment: Assignment) -> Seen:
    """What the record of a trial tells."""
    curves = {
        "accuracy": tuple(epoch.val_accuracy for epoch in record.curve if epoch.val_accuracy is not None),
        "val_loss": tuple(epoch.val_loss for epoch in record.curve if epoch.val_loss is not None),
    }
    times = {name: record.values[name] for name in TIMED if name in record.values}
    return Seen(assignment, record.cost, curves, record.cause == "out_of_memory", times)


@dataclass
class Guidance:
    """Chooses among proposals.

    `look` gives the costs of an assignment that is feasible and was not evaluated, otherwise None.
    """

    space: SearchSpace
    objectives: tuple[Objective, ...]
    epochs: int
    seed: int
    startup: int
    look: Callable[[Assignment], Costs | None]
    seen: list[Seen] = field(default_factory=list)
    _models: dict[str, tuple[int, Array]] = field(default_factory=dict)

    def first(self, number: int) -> Assignment | None:
        """The point of one of the first trials; None after them."""
        if number >= self.startup:
            return None
        rng = random.Random(f"{self.seed}|first|{number}")
        drawn = [sample(self.space, rng) for _ in range(POOL)]
        pool = [each for each in drawn if self.look(each) is not None]
        if not pool:
            return None
        return pool[spread(self.space, pool, 1, rng, [each.assignment for each in self.seen])[0]]

    def pick(self, number: int, proposals: Sequence[Assignment]) -> Assignment:
        """The proposal, or the neighbour of a good point, that promises most."""
        told = self._told()
        if len(told) < LEAST:
            return proposals[0]
        rng = random.Random(f"{self.seed}|pool|{number}")
        drawn = [sample(self.space, rng) for _ in range(POOL)]
        candidates: list[Assignment] = []
        costs: list[Costs] = []
        met: set[tuple[object, ...]] = set()
        for each in [*proposals, *self._nearby(told), *drawn]:
            key = tuple(canonical(self.space, each).values())
            cost = self.look(each) if key not in met else None
            met.add(key)
            if cost is not None:
                candidates.append(each)
                costs.append(cost)
        fits = self._fits(candidates, costs)
        promise = self._improvement(number, told, candidates, costs) * fits
        # What improves most is often what holds most: a large promise must not outweigh that it will hardly fit.
        likely = fits >= min(LIKELY, float(fits.max()))
        return candidates[int(np.argmax(np.where(likely, promise, -1.0)))]

    def _told(self) -> list[Seen]:
        timed = [objective.name for objective in self.objectives if objective.name in TIMED]
        complete = (each for each in self.seen if all(name in each.times for name in timed))
        told = [each for each in complete if all(each.curves.get(name) for name in self._measured)]
        if len(told) <= MOST:
            return told
        main, older, latest = self._measured[0], told[: -MOST // 2], told[-MOST // 2 :]
        older.sort(key=lambda each: -float(unbounded(each.curves[main], main)[-1]))
        return older[: MOST // 2] + latest

    @property
    def _measured(self) -> tuple[str, ...]:
        return tuple(objective.name for objective in self.objectives if objective.name in MEASURES)

    def _nearby(self, told: Sequence[Seen]) -> list[Assignment]:
        """The neighbours of the points on the best fronts."""
        values = np.stack([self._ends(told, objective)[0] for objective in self.objectives], axis=1)
        fronts = fronts_of([tuple(row) for row in values])
        best = sorted(range(len(told)), key=lambda each: (fronts[each], -each))[:PARENTS]
        return [near for each in best for near in neighbours(self.space, told[each].assignment)]

    def _ends(self, told: Sequence[Seen], objective: Objective) -> tuple[Array, Array]:
        """An objective of the points seen, larger is better, and the variance of where a curve was cut short."""
        if objective.name in MEASURES:
            curves = [unbounded(each.curves[objective.name], objective.name) for each in told]
            return extrapolated(curves, self.epochs)
        known = [each.times if objective.name in TIMED else each.cost for each in told]
        return _logs(known, objective), np.zeros(len(told))

    def _improvement(
        self, number: int, told: Sequence[Seen], candidates: Sequence[Assignment], costs: Sequence[Costs]
    ) -> Array:
        """The expected improvement (m,) of each candidate over the best seen."""
        generator = np.random.default_rng([self.seed, number])
        known, apart = self._apart(told, candidates, costs, FEATURES)
        weights = generator.dirichlet(np.ones(len(self.objectives)))
        here, there = [], []
        for objective in self.objectives:
            values, variances = self._ends(told, objective)
            if objective.name in (*MEASURES, *TIMED):
                model = self._fitted(objective.name, known, values, variances)
                mean, error = model.predict(apart)
                if len(self.objectives) == 1:
                    return _expected(mean - model.predict(known)[0].max(), error)
                there.append(mean[:, None] + error[:, None] * generator.standard_normal(DRAWS)[None, :])
                here.append(model.predict(known)[0])
            else:
                there.append(np.repeat(_logs(costs, objective)[:, None], DRAWS, axis=1))
                here.append(values)
        reached = _scalar(weights, here, here)
        return np.asarray(np.maximum(_scalar(weights, there, here) - reached.max(), 0.0).mean(axis=1))

    def _fits(self, candidates: Sequence[Assignment], costs: Sequence[Costs]) -> Array:
        """The probability (m,) that a candidate does not run out of memory: of a model of who did and who did not."""
        known = [each for each in self.seen if each.out_of_memory or any(each.curves.values())][-MOST:]
        labels = np.array([0.0 if each.out_of_memory else 1.0 for each in known])
        if labels.all():
            return np.ones(len(candidates))
        here, there = self._apart(known, candidates, costs, FEATURES_OF_MEMORY)
        mean, error = self._fitted("memory", here, labels, np.zeros(len(labels))).predict(there)
        return np.asarray(ndtr((mean - 0.5) / error))

    def _apart(
        self, known: Sequence[Seen], candidates: Sequence[Assignment], costs: Sequence[Costs], features: Sequence[str]
    ) -> tuple[Array, Array]:
        """How far apart points that were seen are from each other, (G, n, n), and from candidates, (G, n, m)."""
        rows = encoded(self.space, [each.assignment for each in known])
        asked = encoded(self.space, candidates)
        sizes = _sizes([*(each.cost for each in known), *costs], features)
        mine, theirs = sizes[:, : len(known), None], sizes[:, None, :]
        here = np.concatenate([distances(self.space, rows, rows), np.abs(mine - theirs[:, :, : len(known)])])
        there = np.concatenate([distances(self.space, rows, asked), np.abs(mine - theirs[:, :, len(known) :])])
        return here, there

    def _fitted(self, name: str, apart: Array, values: Array, variances: Array) -> Surrogate:
        """A model that learns again when there is a tenth more to learn from; in between it takes in what is new."""
        learned = self._models.get(name)
        again = learned is None or len(values) > LEARN_AGAIN * learned[0]
        model = fit(apart, values, variances, None if again or learned is None else learned[1])
        if again:
            self._models[name] = len(values), model.logs
        return model


def _expected(ahead: Array, error: Array) -> Array:
    """The expected improvement of normal values that lie `ahead` of the best on average."""
    score = ahead / error
    density = np.exp(-0.5 * score**2) / math.sqrt(2.0 * math.pi)  # written out: scipy.stats takes a second to import
    return np.asarray(ahead * ndtr(score) + error * density)


def _logs(known: Sequence[Mapping[str, float]], objective: Objective) -> Array:
    """Costs or times on a logarithmic scale, larger is better."""
    sign, least = (1.0 if objective.direction == "maximise" else -1.0), 1e-9 if objective.name in TIMED else 1.0
    return np.array([sign * np.log(max(least, each[objective.name])) for each in known])


def _sizes(costs: Sequence[Costs], features: Sequence[str]) -> Array:
    """(features, points): logarithms, in shares of their range."""
    logs = np.log(np.array([[max(1, cost.get(name, 1)) for cost in costs] for name in features]))
    width = logs.max(axis=1, keepdims=True) - logs.min(axis=1, keepdims=True)
    return np.asarray((logs - logs.min(axis=1, keepdims=True)) / np.where(width > 0, width, 1.0))


def _scalar(weights: Array, values: Sequence[Array], scale: Sequence[Array]) -> Array:
    """The augmented Chebyshev scalarisation of objectives, each in shares of the range that was seen."""
    if len(values) == 1:
        return values[0]
    shares = []
    for weight, each, seen in zip(weights, values, scale, strict=True):
        low, high = float(seen.min()), float(seen.max())
        shares.append(weight * (each - low) / ((high - low) or 1.0))
    return np.asarray(np.minimum.reduce(shares) + 0.05 * np.sum(shares, axis=0))
