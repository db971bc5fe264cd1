"""Values of one network under several seeds go in; what they say comes out: n, mean, and an interval."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt

from archspec.results.records import EvaluationRecord

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Sample:
    """Values by seed. With one seed there is no interval: nothing is known of the noise."""

    values: Mapping[int, float]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float | None:
        return sum(self.values.values()) / self.n if self.n else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation of a single seed (n - 1); None with fewer than two."""
        if self.n < 2 or self.mean is None:
            return None
        return sqrt(sum((value - self.mean) ** 2 for value in self.values.values()) / (self.n - 1))

    @property
    def interval(self) -> tuple[float, float] | None:
        """The mean lies here with 95 % confidence (Student's t, n - 1 degrees of freedom)."""
        from scipy.stats import t

        if self.deviation is None or self.mean is None:
            return None
        half = float(t.ppf((1 + CONFIDENCE) / 2, self.n - 1)) * self.deviation / sqrt(self.n)
        return self.mean - half, self.mean + half


def sample_of(records: Iterable[EvaluationRecord], measure: str) -> Sample:
    """The values of records that came to their end, one for each seed."""
    known = {record.seed: record.measure(measure) for record in records if record.state == "complete"}
    return Sample({seed: value for seed, value in sorted(known.items()) if value is not None})
