"""A table that nobody trained: accuracies from planted effects, with learning curves and noise of seeds, for tests.

    logit of the last accuracy = middle + sum of effects of choices + sum of effects of pairs + noise of the seed

and each accuracy is that of a validation set of 500 images. The sizes are those of a dozen networks that were trained
on 1,000 fractals: from 8 to 60 %, an epoch 1 that says little. Drawn for the points of a space from a seed. It stands
in for a measured table where only the machinery is looked at.
"""

import hashlib
import itertools
import math
import random
from collections.abc import Mapping

from archspec.errors import SpecError
from archspec.results.records import EpochRecord
from archspec.schema.load import network_yaml
from archspec.search.space import Point, SearchSpace, active, point, points
from archspec.search.table import Entry, Table, TableFacts


def feasible_points(space: SearchSpace) -> list[Point]:
    """Every feasible point of different networks."""
    found: dict[str, Point] = {}
    for assignment in points(space):
        try:
            each = point(space, assignment)
        except SpecError:
            continue
        if not any(bound.violation(each.cost) > 0 for bound in space.constraints):
            found.setdefault(each.program.digest, each)
    return list(found.values())


def _normal(*words: object) -> float:
    """A standard normal number that belongs to the words."""
    drawn = hashlib.sha256("|".join(map(str, words)).encode()).digest()
    return random.Random(drawn).gauss(0.0, 1.0)


def planted(
    space: SearchSpace, each: Point, seed: int, single: float = 0.45, pair: float = 0.2, middle: float = -1.0
) -> float:
    """The logit of a point without noise."""
    chosen = [f"{name}={each.assignment[name]}" for name in sorted(active(space, each.assignment))]
    value = middle + single * sum(_normal(seed, word) for word in chosen)
    return value + pair * sum(_normal(seed, *both) for both in itertools.combinations(chosen, 2))


CHANCE, IMAGES = -2.94, 500


def curve_of(logit: float, epochs: int, speed: float, noise: float, who: str) -> tuple[EpochRecord, ...]:
    """A curve that rises from chance to the logit; a seed shifts it as a whole, and 500 images measure it."""
    shift, curve = noise * _normal(who), []
    for epoch in range(1, epochs + 1):
        risen = (1.0 - math.exp(-speed * epoch)) / (1.0 - math.exp(-speed * epochs))
        share = 1.0 / (1.0 + math.exp(-(CHANCE + (logit + shift - CHANCE) * risen)))
        measured = share + math.sqrt(share * (1 - share) / IMAGES) * _normal(who, epoch)
        accuracy = round(min(1.0, max(0.0, measured)), 3)
        curve.append(EpochRecord(epoch, 1.0, 1.0 - accuracy, accuracy, 1e-3, 1.0))
    return tuple(curve)


def synthetic_table(
    space: SearchSpace, seed: int = 0, seeds: int = 3, epochs: int = 6, noise: float = 0.12, **sizes: float
) -> Table:
    """A table of every feasible point of a space."""
    entries = []
    for each in feasible_points(space):
        logit = planted(space, each, seed, **sizes)
        speed = 0.35 * math.exp(0.25 * _normal("speed", seed, each.program.digest))
        for number in range(seeds):
            curve = curve_of(logit, epochs, speed, noise, f"{seed}|{number}|{each.program.digest}")
            entries.append(_entry(each, number, curve))
    return Table(facts_of(space, len(entries) // seeds, seeds, epochs), tuple(entries))


def _entry(each: Point, seed: int, curve: tuple[EpochRecord, ...]) -> Entry:
    return Entry(
        digest=each.program.digest,
        seed=seed,
        name=each.network.name,
        genes=each.assignment,
        cost=vars(each.cost),
        spec=network_yaml(each.network),
        cause="ok",
        message="",
        seconds=float(len(curve)),
        curve=curve,
    )


def facts_of(space: SearchSpace, count: int, seeds: int, epochs: int) -> TableFacts:
    axes: Mapping[str, str] = {gene.name: gene.axis for gene in space.genes}
    return TableFacts(
        space=space.name,
        space_text=space.path.read_text(),
        space_digest=space.digest,
        data={"name": "synthetic"},
        data_digest="synthetic",
        size=(32, 32),
        classes=20,
        recipe={"epochs": epochs},
        epochs=epochs,
        code="synthetic",
        axes=axes,
        points=count,
        sampled=count,
        seeds=seeds,
    )
