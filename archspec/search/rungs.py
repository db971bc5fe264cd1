"""Rungs: at which epochs a trial is looked at, and whether it goes on: values of the trials in, a verdict out.

Successive halving without waiting (ASHA, Li et al. 2020, arXiv 1810.05934, in its stopping form): a trial that reaches
a rung goes on when it is among the best n/reduction, rounded down and at least one, of the n trials that have reached
this rung so far, itself included. It goes on from where it is, so the epochs of a lower rung are never paid twice. A
trial that was stopped stays stopped.

Hyperband (Li et al. 2018, arXiv 1603.06560) hedges against rungs that look too early: its brackets leave out the lowest
0, 1, ... rungs. With k rungs in all, a bracket with s of them gets ceil((k + 1) / (s + 1) * reduction^s) trials of each
round, and its trials are compared with each other only.

With several objectives a trial is judged by domination: its place is the front that it is on (of the trials at this
rung), and inside a front the one who lies farther from its neighbours is ahead (NSGA-II's crowding, Deb et al. 2002).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

Values = tuple[float, ...]
"""Of one trial at one rung, one number for each objective; larger is better."""


def rungs(lowest: int, epochs: int, reduction: int) -> tuple[int, ...]:
    """The epochs at which trials are judged: lowest, lowest·reduction, ... below the last epoch."""
    found = []
    epoch = max(1, lowest)
    while epoch < epochs:
        found.append(epoch)
        epoch *= reduction
    return tuple(found)


@dataclass(frozen=True)
class Brackets:
    """Which rungs a trial meets, by its number. One bracket of all rungs is successive halving."""

    levels: tuple[tuple[int, ...], ...]
    """The rungs of each bracket, in epochs."""
    shares: tuple[int, ...]
    """Trials of each bracket in a round."""

    @classmethod
    def of(cls, levels: tuple[int, ...], reduction: int) -> "Brackets":
        """Hyperband's: all rungs, all but the lowest, ..., none."""
        count = len(levels)
        sizes = range(count, -1, -1)
        shares = tuple(-(-(count + 1) * reduction**size // (size + 1)) for size in sizes)
        return cls(tuple(levels[count - size :] for size in sizes), shares)

    @cached_property
    def _round(self) -> tuple[int, ...]:
        """The brackets of a round's trials, in turn: next is the one that lags most behind its share."""
        total, given, order = sum(self.shares), [0] * len(self.shares), list[int]()
        for number in range(1, total + 1):
            behind = [share * number - total * had for share, had in zip(self.shares, given, strict=True)]
            order.append(behind.index(max(behind)))
            given[order[-1]] += 1
        return tuple(order)

    def bracket(self, trial: int) -> int:
        """The number of a trial's bracket."""
        return self._round[trial % len(self._round)]


@dataclass
class Ladder:
    """What reached each rung, and who goes on.

    Nobody is stopped at a rung before `startup` trials have reached it.
    """

    brackets: Brackets
    reduction: int
    startup: int = 0
    reached: dict[tuple[int, int], dict[int, Values]] = field(default_factory=dict)

    def is_rung(self, trial: int, epoch: int) -> bool:
        """Whether a trial is judged after this epoch."""
        return epoch in self.brackets.levels[self.brackets.bracket(trial)]

    def note(self, trial: int, epoch: int, values: Values) -> None:
        """A trial has these values after this epoch."""
        if self.is_rung(trial, epoch):
            self.reached.setdefault((self.brackets.bracket(trial), epoch), {})[trial] = values

    def goes_on(self, trial: int, epoch: int, values: Values) -> bool:
        """Note a trial's values after an epoch, and say whether it is trained on."""
        self.note(trial, epoch, values)
        if not self.is_rung(trial, epoch):
            return True
        seen = self.reached[self.brackets.bracket(trial), epoch]
        if len(seen) < self.startup:
            return True
        place = standing(list(seen.values()), list(seen).index(trial))
        return place < max(1, len(seen) // self.reduction)


def standing(seen: Sequence[Values], number: int) -> int:
    """How many trials are ahead of one of them, by domination, then by crowding; equal ones are not ahead."""
    fronts = fronts_of(seen)
    mine = fronts[number]
    ahead = sum(front < mine for front in fronts)
    same = [each for each, front in enumerate(fronts) if front == mine]
    if len(seen[number]) > 1 and len(same) > 1:
        distance = crowding([seen[each] for each in same])
        own = distance[same.index(number)]
        ahead += sum(other > own for other in distance)
    return ahead


def fronts_of(seen: Sequence[Values]) -> list[int]:
    """The number of the front of each: 0 is beaten by nobody, 1 only by those of 0, ..."""
    if not seen:
        return []
    values = np.asarray(seen, dtype=np.float64)
    if values.shape[1] == 1:
        return [int(rank) for rank in np.unique(-values[:, 0], return_inverse=True)[1]]
    better = (values[:, None, :] >= values[None, :, :]).all(axis=2)
    beaten = better & ~better.T  # [i, j]: i beats j
    fronts, left, front = np.full(len(values), -1), np.ones(len(values), dtype=bool), 0
    while left.any():
        best = left & ~(beaten & left[:, None]).any(axis=0)
        fronts[best] = front
        left, front = left & ~best, front + 1
    return [int(each) for each in fronts]


def crowding(front: Sequence[Values]) -> list[float]:
    """How far the neighbours of each are, per objective in shares of its range; infinite at the ends."""
    distance = [0.0] * len(front)
    for axis in range(len(front[0])):
        order = sorted(range(len(front)), key=lambda each: front[each][axis])
        low, high = front[order[0]][axis], front[order[-1]][axis]
        distance[order[0]] = distance[order[-1]] = math.inf
        for before, each, after in zip(order, order[1:], order[2:], strict=False):
            if high > low:
                distance[each] += (front[after][axis] - front[before][axis]) / (high - low)
    return distance
