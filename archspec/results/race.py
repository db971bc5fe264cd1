"""A study's evaluations go in; which of its best trials are better than which, beyond the noise of seeds, comes out.

The best of many trials with one seed each is lucky as well as good, so nothing of that first training is counted: every
contender is trained anew, all of them with the same new seeds. Two contenders are compared by the paired t test over
the seeds that both have (Student 1908; a seed fixes the order and augmentation of images for both, and variances
may differ between networks). Over all pairs the tests are Holm's (1979). Contenders are looked at after `first` seeds
and after each further one, and each look has its share of the level (Bonferroni). So the chance that any pair is ever
called different and is not is at most `level`, however many looks it took, and whichever contenders lead.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isinf, sqrt
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from archspec.errors import SpecError
from archspec.results.plots.pareto import is_beaten
from archspec.results.records import TIMED, EvaluationRecord, Objective, StudyRecord, ranked
from archspec.results.samples import Sample, sample_of
from archspec.schema.base import Strict
from archspec.schema.source import read_text
from archspec.schema.validation import rule_error


class Racing(Strict):
    """How the best trials are told apart, after the last trial: by new seeds, until their order is significant."""

    contenders: Annotated[int, Field(ge=2, le=100)] = 5
    """So many trials: those of the front, then those of the front behind it."""
    level: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """The chance of calling any two different that are not, over all pairs and looks."""
    first: Annotated[int, Field(ge=2, le=1000)] = 3
    """New seeds of every contender before the first look."""
    seeds: Annotated[int, Field(ge=2, le=1000)] = 8
    """At most so many new seeds of a contender."""
    evaluations: Annotated[int, Field(ge=4, le=1_000_000)] | None = None
    """At most so many trainings in all. Left out: contenders times seeds."""

    @model_validator(mode="after")
    def _first_looks_come_first(self) -> Self:
        if self.first > self.seeds:
            raise rule_error("`first` is at most `seeds`", f"{self.first} above {self.seeds}", at=("first",))
        least = self.contenders * self.first
        if self.evaluations is not None and self.evaluations < least:
            rule = f"the first look at {self.contenders} contenders takes {least} evaluations"
            raise rule_error(rule, str(self.evaluations), at=("evaluations",))
        return self

    @property
    def looks(self) -> int:
        return self.seeds - self.first + 1

    @property
    def most(self) -> int:
        """Trainings at most."""
        return self.contenders * self.seeds if self.evaluations is None else self.evaluations


@dataclass(frozen=True)
class Comparison:
    """Two contenders in one measure, over the seeds that both have; `difference` is the first's minus the second's."""

    first: str
    second: str
    measure: str
    n: int
    difference: float | None
    interval: tuple[float, float] | None
    """Of the difference alone, with 95 % confidence."""
    p: float
    """Two-sided, of this pair alone."""
    decided: bool
    """Whether they differ, at the level of the race."""


@dataclass(frozen=True)
class Contender:
    """A trial in the race: what chose it, and what the new seeds say."""

    record: EvaluationRecord
    chosen_by: Mapping[str, float]
    """Measures of the training that chose it: not part of the samples."""
    samples: Mapping[str, Sample]
    seeds: tuple[int, ...]
    """New seeds so far, failed ones too."""


@dataclass(frozen=True)
class Race:
    """How far a race is."""

    racing: Racing
    contenders: tuple[Contender, ...]
    comparisons: tuple[Comparison, ...]
    study_seed: int
    in_training: int

    @property
    def evaluations(self) -> int:
        """Trainings with new seeds so far."""
        return sum(len(each.seeds) for each in self.contenders)

    @property
    def state(self) -> Literal["running", "decided", "undecided"]:
        """`undecided`: its budget ended before every pair was told apart."""
        if all(each.decided for each in self.comparisons):
            return "decided"
        return "running" if self.in_training or self.next_seeds else "undecided"

    @property
    def open(self) -> tuple[Contender, ...]:
        """The contenders that are not told apart from all others."""
        names = {name for each in self.comparisons if not each.decided for name in (each.first, each.second)}
        return tuple(each for each in self.contenders if each.record.name in names)

    @property
    def next_seeds(self) -> Mapping[str, tuple[int, ...]]:
        """What is to be trained for the next look: new seeds by name; empty while some are trained, or when it is over.

        All open contenders get the same seeds; a round that the budget does not cover is not begun.
        """
        racing = self.racing
        until = max(racing.first, 1 + min((len(each.seeds) for each in self.open), default=racing.seeds))
        seeds = [self.study_seed + number for number in range(1, until + 1)]
        asked = {each.record.name: tuple(seed for seed in seeds if seed not in each.seeds) for each in self.open}
        count = sum(map(len, asked.values()))
        if self.in_training or until > racing.seeds or self.evaluations + count > racing.most:
            return {}
        return {name: missing for name, missing in asked.items() if missing}


def racing_of(study: StudyRecord) -> Racing | None:
    """The race that a study asks for, if it does."""
    try:
        written = read_text(study.study, "the study").get("racing") if study.study else None
    except SpecError:
        return None  # not a study file
    return None if written is None else Racing.model_validate(written)


def race(study: StudyRecord, records: Sequence[EvaluationRecord]) -> Race | None:
    """The race of a study as it stands; None where it asks for none or has fewer than two contenders."""
    racing = racing_of(study)
    chosen = contenders(study.objectives, records, racing.contenders) if racing else ()
    if racing is None or len(chosen) < 2:
        return None
    measures = measured(study.objectives, records)
    found = tuple(_contender(record, records, measures) for record in chosen)
    in_training = sum(record.is_replicate and not record.is_finished for record in records)
    return Race(racing, found, _compared(found, measures, racing), study.seed, in_training)


def contenders(
    objectives: Sequence[Objective], records: Sequence[EvaluationRecord], count: int
) -> tuple[EvaluationRecord, ...]:
    """The best trials of different networks: front after front, on each by the first measured objective."""
    main = next((o for o in objectives if o.name in measured(objectives, records)), objectives[0])
    unique: dict[str, EvaluationRecord] = {}
    for record in ranked(records, main):
        unique.setdefault(record.digest, record)
    signs = [-1.0 if objective.direction == "maximise" else 1.0 for objective in objectives]
    left: dict[str, tuple[float, ...]] = {}
    for digest, record in unique.items():
        values = [record.measure(objective.name) for objective in objectives]
        known = [sign * value for sign, value in zip(signs, values, strict=True) if value is not None]
        if len(known) == len(values):
            left[digest] = tuple(known)
    chosen: list[EvaluationRecord] = []
    while left and len(chosen) < count:
        everything = tuple(left.values())
        front = [digest for digest, values in left.items() if not is_beaten(values, everything)]
        chosen += [unique[digest] for digest in front]
        left = {digest: values for digest, values in left.items() if digest not in front}
    return tuple(chosen[:count])


def measured(objectives: Sequence[Objective], records: Iterable[EvaluationRecord]) -> tuple[str, ...]:
    """The objectives that training measures, in their order: no exact costs, and no times, which no seed decides."""
    costs = {*TIMED, *(name for record in records for name in record.cost)}
    return tuple(objective.name for objective in objectives if objective.name not in costs)


def replicates(record: EvaluationRecord, records: Iterable[EvaluationRecord]) -> tuple[EvaluationRecord, ...]:
    """The trainings of a trial's network with new seeds, in the order of their seeds."""
    same = (other for other in records if other.is_replicate and other.digest == record.digest)
    return tuple(sorted(same, key=lambda other: other.seed))


def _contender(record: EvaluationRecord, records: Sequence[EvaluationRecord], measures: Sequence[str]) -> Contender:
    new = replicates(record, records)
    chosen_by = {name: value for name in measures if (value := record.measure(name)) is not None}
    seeds = tuple(other.seed for other in new)
    return Contender(record, chosen_by, {name: sample_of(new, name) for name in measures}, seeds)


def _compared(found: Sequence[Contender], measures: Sequence[str], racing: Racing) -> tuple[Comparison, ...]:
    """Every pair in every measure, looked at as the race did: after each number of seeds."""
    pairs = [(a, b, name) for a, b in itertools.combinations(found, 2) for name in measures]
    decided: set[int] = set()
    for look in range(racing.first, racing.seeds + 1):
        level = racing.level / racing.looks
        tested = {}
        for number, (a, b, name) in enumerate(pairs):
            if number not in decided and min(len(a.seeds), len(b.seeds)) >= look:
                tested[number] = _tested(_paired(a, b, name, look))
        decided |= holm(tested, level, len(pairs) - len(decided))
    return tuple(_comparison(a, b, name, number in decided) for number, (a, b, name) in enumerate(pairs))


def holm(p: Mapping[int, float], level: float, family: int) -> set[int]:
    """Which hypotheses of a family fall, at a level over all of them (Holm 1979); those without a p do not."""
    fallen: set[int] = set()
    for number in sorted(p, key=p.__getitem__):
        if p[number] > level / (family - len(fallen)):
            break
        fallen.add(number)
    return fallen


def _paired(a: Contender, b: Contender, measure: str, look: int | None = None) -> list[float]:
    """Differences over the seeds that both have, of the first `look` seeds."""
    seeds = [seed for seed in a.seeds if seed in b.seeds][:look]
    mine, other = a.samples[measure].values, b.samples[measure].values
    return [mine[seed] - other[seed] for seed in seeds if seed in mine and seed in other]


def _tested(differences: Sequence[float]) -> float:
    """The p of the paired t test, two-sided; 1 with fewer than two differences.

    Equal differences have no variance, as happens with accuracies of few images: then by their sign alone.
    """
    from scipy.stats import t

    n = len(differences)
    mean = sum(differences) / n if n else 0.0
    if n < 2 or mean == 0:
        return 1.0
    deviation = sqrt(sum((each - mean) ** 2 for each in differences) / (n - 1))
    statistic = abs(mean) * sqrt(n) / deviation if deviation > 1e-12 * abs(mean) else float("inf")
    return 2.0 ** (1 - n) if isinf(statistic) else float(2 * t.sf(statistic, n - 1))


def _comparison(a: Contender, b: Contender, measure: str, decided: bool) -> Comparison:
    differences = _paired(a, b, measure)
    sample = Sample(dict(enumerate(differences)))
    names = a.record.name, b.record.name
    return Comparison(*names, measure, sample.n, sample.mean, sample.interval, _tested(differences), decided)
