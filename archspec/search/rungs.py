"""Rungs: at which epochs a trial is looked at, and whether it goes on: values of the trials in, a verdict out.

Successive halving without waiting (ASHA, Li et al. 2020, arXiv 1810.05934, in its stopping form): a trial that reaches
a rung goes on when it is among the best 1/reduction of all that reached this rung so far, itself included. It goes on
from where it is, so the epochs of a lower rung are never paid twice.

With several objectives a trial is judged by domination: its place is the front that it is on (of the trials at this
rung), and inside a front the one who lies farther from its neighbours is ahead (NSGA-II's crowding, Deb et al. 2002).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

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


@dataclass
class Ladder:
    """What reached each rung, and who goes on."""

    levels: tuple[int, ...]
    reduction: int
    reached: dict[int, list[Values]] = field(default_factory=dict)

    def goes_on(self, epoch: int, values: Values) -> bool:
        """A trial has these values after this epoch: whether it is trained on. Notes what it saw."""
        if epoch not in self.levels:
            return True
        seen = self.reached.setdefault(epoch, [])
        seen.append(values)
        places = math.ceil(len(seen) / self.reduction)
        return standing(seen, len(seen) - 1) < places


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
