"""Trials (genes and a value each) go in, the share of variance each gene and each axis explains comes out.

The share is the adjusted R2 of a least-squares fit of the value to the genes of one group, each gene a
factor and no interactions (Ezekiel 1930). For a single gene that is Kelley's epsilon-squared (1935), the
correlation ratio of one-way analysis of variance without its bias: (SSB - (k - 1) MSW) / SST for k values
of the gene. Zero is the expectation of a gene that does nothing, negative estimates included; unlike R2 it
does not grow with k.

    R2 = 1 - SSE / SST        share = 1 - (1 - R2) (n - 1) / (n - p - 1)        p = rank of the factors

The interval is the jackknife's (estimate +- 1.96 standard errors; Efron & Stein 1981), computed exactly
from the hat matrix: leaving trial i out changes SSE by e_i^2 / (1 - h_ii). `chance` is the 95 % quantile of
the share when the values are shuffled over the trials: what a gene that does nothing reaches by luck.

What it is not: an effect at fixed other genes. A sampler that learns (TPE, NSGA-II) visits good regions more
often, so genes are not independent of each other and shares of axes need not add up to one.
"""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from archspec.results.records import Gene

AXES = ("connectivity", "sharing", "weights", "size")  # in this order; others follow by name
MOST_VALUES = 5  # a number with more distinct values is cut into BINS of equal count
BINS = 3
SPARE = 3  # degrees of freedom left for the error, below which a share says nothing
SHUFFLES = 1000

Array = NDArray[np.float64]
Number = TypeVar("Number", float, Array)


@dataclass(frozen=True)
class Level:
    """One value of a gene (or one bin): how many trials had it, and their mean value."""

    name: str
    count: int
    mean: float


@dataclass(frozen=True)
class Share:
    """The share of the variance that a group of genes explains, its 95 % interval, and what chance reaches.

    `share` is None when there is nothing to compare: the genes never varied, or there are too few trials.
    """

    name: str
    axis: str
    genes: tuple[str, ...]
    trials: int
    rank: int
    share: float | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    levels: tuple[Level, ...] = ()

    @property
    def is_beyond_chance(self) -> bool:
        """Whether luck alone rarely (5 %) explains as much."""
        return self.share is not None and self.chance is not None and self.share > self.chance


@dataclass(frozen=True)
class Importance:
    """Shares by axis, in the order of AXES, and by gene, largest first."""

    trials: int
    axes: tuple[Share, ...] = ()
    genes: tuple[Share, ...] = ()


def importance(
    points: Sequence[tuple[Mapping[str, Gene], float]], axes: Mapping[str, str], seed: int = 0
) -> Importance:
    """Which gene and which axis the values depend on.

    `axes` maps a gene to its axis; a gene it does not know belongs to `other`. A gene that is absent from a
    point (a conditional one) has the value `absent` there. The seed is of the shuffles.
    """
    names = sorted({name for genes, _ in points for name in genes})
    values = np.array([value for _, value in points], dtype=np.float64)
    labels = {name: _labels([genes.get(name, "absent") for genes, _ in points]) for name in names}
    generator = np.random.default_rng(seed)
    shuffled = np.stack([generator.permutation(values) for _ in range(SHUFFLES)], axis=1) if names else values
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[axes.get(name, "other")].append(name)
    order = sorted(groups, key=lambda axis: (AXES.index(axis) if axis in AXES else len(AXES), axis))
    by_axis = [_share(axis, axis, groups[axis], labels, values, shuffled) for axis in order]
    by_gene = [_share(name, axes.get(name, "other"), [name], labels, values, shuffled) for name in names]
    by_gene.sort(key=lambda share: (share.share is None, -(share.share or 0.0), share.name))
    return Importance(len(points), tuple(by_axis), tuple(by_gene))


def _labels(column: Sequence[Gene]) -> list[str]:
    """The values of a gene as names of groups."""
    numbers = [value for value in column if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(set(numbers)) <= MOST_VALUES:
        return [str(value) for value in column]
    edges = np.unique(np.quantile(numbers, [part / BINS for part in range(1, BINS)]))
    bounds = ["", *(f"{edge:g}" for edge in edges), ""]
    names = [f"{low} to {high}".strip() for low, high in itertools.pairwise(bounds)]
    return [
        names[int(np.searchsorted(edges, value))]
        if isinstance(value, int | float) and not isinstance(value, bool)
        else str(value)
        for value in column
    ]


def _share(
    name: str,
    axis: str,
    genes: Sequence[str],
    labels: Mapping[str, Sequence[str]],
    values: Array,
    shuffled: Array,
) -> Share:
    basis = _basis([labels[gene] for gene in genes])
    count, rank = len(values), basis.shape[1]
    levels = _levels(labels[genes[0]], values) if len(genes) == 1 else ()
    empty = Share(name, axis, tuple(genes), count, rank, levels=levels)
    centred = values - values.mean()
    total = float(centred @ centred)
    if rank == 0 or count - rank - 1 < SPARE or total <= 1e-18 * count * float(np.max(np.abs(values))) ** 2:
        return empty
    residual = centred - basis @ (basis.T @ centred)
    share = _adjusted(float(residual @ residual) / total, count, rank)
    error = _jackknife_error(basis, centred, residual)
    by_luck = basis.T @ (shuffled - shuffled.mean(axis=0))
    ratios = 1.0 - np.sum(by_luck**2, axis=0) / total
    chance = float(np.quantile(_adjusted(ratios, count, rank), 0.95))
    low, high = max(share - 1.96 * error, -1.0), min(share + 1.96 * error, 1.0)
    return Share(name, axis, tuple(genes), count, rank, share, low, high, chance, levels)


def _adjusted(unexplained: Number, count: int, rank: int) -> Number:
    return 1.0 - unexplained * ((count - 1) / (count - rank - 1))


def _basis(columns: Sequence[Sequence[str]]) -> Array:
    """(trials, rank): an orthonormal basis of the factors, the constant taken out."""
    blocks = []
    for column in columns:
        names, codes = np.unique(np.array(column), return_inverse=True)
        blocks.append(np.eye(len(names))[codes])
    design = np.concatenate(blocks, axis=1)
    left, strengths, _ = np.linalg.svd(design - design.mean(axis=0), full_matrices=False)
    return np.asarray(left[:, strengths > 1e-9 * len(design)], dtype=np.float64)


def _jackknife_error(basis: Array, centred: Array, residual: Array) -> float:
    """The standard error of the share, from leaving out each trial once (exact, without fitting again)."""
    count, rank = basis.shape
    leverage = 1.0 / count + np.sum(basis**2, axis=1)
    # Alone in its level: leaving it out takes the level with it and leaves the other residuals as they are.
    alone = leverage > 1.0 - 1e-9
    without = np.sum(residual**2) - residual**2 / np.where(alone, 1.0, 1.0 - leverage)
    total = np.sum(centred**2) - centred**2 * count / (count - 1)
    ranks = rank - alone
    estimates = 1.0 - without / np.maximum(total, 1e-300) * (count - 2) / (count - 2 - ranks)
    return float(np.sqrt((count - 1) / count * np.sum((estimates - estimates.mean()) ** 2)))


def _levels(labels: Sequence[str], values: Array) -> tuple[Level, ...]:
    names = np.array(labels)
    levels = [
        Level(str(name), int(np.sum(names == name)), float(values[names == name].mean())) for name in np.unique(names)
    ]
    return tuple(sorted(levels, key=lambda level: -level.mean))
