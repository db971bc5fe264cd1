"""Evaluated points (factors and a value each) go in; what each factor and each pair of factors bought comes out.

A factor is one axis of one stage (`stage 1: weights`) or anything else that differs (a width). The model is a
functional analysis of variance by least squares, which also holds where combinations are missing (illegal, expensive):

    value = middle + effect of each factor's level + what a pair of levels adds beyond both + rest

An *effect* is a level against the plain average of its factor's levels, other factors equal. A *share* is the part of
the variance that goes when the factor is taken out and all others stay, less what chance would take (adjusted as
epsilon squared: degrees of freedom times the variance of the rest). So shares do not add up to one where factors hang
together, and what cannot be told apart is said to be so and not guessed. Intervals are 95 % of a bootstrap over points
(all seeds of a point together), shifted by the bootstrap's own bias for shares, which resampling inflates.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archspec.errors import StudyError

SPARE = 10
"""Points beyond the number of parameters, below which nothing is said."""
BOOTSTRAPS = 500
_TINY = 1e-9

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Observation:
    """A point: its factors with their levels, its value (mean over seeds), and its single values."""

    factors: Mapping[str, str]
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)


@dataclass(frozen=True)
class LevelEffect:
    """A level of a factor: how many points have it, and what it adds to the value, others equal."""

    name: str
    count: int
    effect: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Effect:
    """A factor, or a pair of factors. `share` is None where `reason` says why nothing can be said."""

    factors: tuple[str, ...]
    freedom: int
    share: float | None = None
    low: float | None = None
    high: float | None = None
    levels: tuple[LevelEffect, ...] = ()
    reason: str = ""

    @property
    def name(self) -> str:
        return " x ".join(self.factors)


@dataclass(frozen=True)
class Attribution:
    """What was found: of so many points, evaluated so often, with so much spread."""

    points: int
    evaluations: int
    deviation: float
    """Standard deviation over points."""
    noise: float | None
    """Standard deviation of a seed, None where no point has two."""
    explained: float
    """Share of the variance that the factors alone explain, adjusted."""
    factors: tuple[Effect, ...]
    pairs: tuple[Effect, ...]
    follows: Mapping[str, str]
    """Factor -> the one that decides it here: left out, because nothing tells them apart."""


def attribute(observations: Sequence[Observation], pairs: Sequence[tuple[str, str]] = (), seed: int = 0) -> Attribution:
    """Effects of all factors that vary, and of those pairs.

    Args:
        pairs: factors whose interaction is asked for; a pair of a factor that does not vary is passed over.
        seed: of the bootstrap.

    Raises:
        StudyError: too few points for the number of factors.
    """
    columns = _columns(observations)
    follows = _decided(columns)
    used = {name: column for name, column in columns.items() if name not in follows}
    values = np.array([each.mean for each in observations])
    blocks = {name: _block(column) for name, column in used.items()}
    design = _design(list(blocks.values()), len(values))
    _check(len(values), _rank(design), used)
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(len(values), np.full(len(values), 1 / len(values)), BOOTSTRAPS).astype(float)
    asked = [pair for pair in pairs if set(pair) <= set(used)]
    rest = _error(design, values, np.ones(len(values)))
    total = float(np.sum((values - values.mean()) ** 2))
    return Attribution(
        points=len(values),
        evaluations=sum(len(each.values) for each in observations),
        deviation=float(values.std(ddof=1)),
        noise=_noise(observations),
        explained=1.0 - rest[0] / max(1, len(values) - rest[1]) / max(total / (len(values) - 1), 1e-300),
        factors=tuple(_main(name, blocks, used, values, weights) for name in used),
        pairs=tuple(_pair(pair, blocks, values, weights) for pair in asked),
        follows=follows,
    )


def _columns(observations: Sequence[Observation]) -> dict[str, list[str]]:
    """The levels of each factor that varies; one that a point does not have is `absent` there."""
    names = list(dict.fromkeys(name for each in observations for name in each.factors))
    columns = {name: [each.factors.get(name, "absent") for each in observations] for name in names}
    return {name: column for name, column in columns.items() if len(set(column)) > 1}


def _decided(columns: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Factors that another one decides: whoever knows that one's level knows theirs."""
    found: dict[str, str] = {}
    for name, column in reversed(list(columns.items())):
        for other, by in columns.items():
            if other != name and other not in found and len(set(zip(by, column, strict=True))) == len(set(by)):
                found[name] = other
                break
    return found


def _check(count: int, rank: int, used: Mapping[str, object]) -> None:
    if not used:
        raise StudyError("nothing to attribute: no factor varies over the evaluated points")
    if count < rank + SPARE:
        rule = f"{len(used)} factors have {rank} parameters and need at least {rank + SPARE} evaluated points"
        raise StudyError(f"too few points to attribute: {rule}\n    found: {count}")


def _block(column: Sequence[str]) -> Array:
    """(n, levels - 1): levels coded so that their effects add up to zero; the last is minus the others."""
    names = sorted(set(column))
    codes = np.array([names.index(value) for value in column])
    coded = np.vstack([np.eye(len(names) - 1), -np.ones(len(names) - 1)])
    return np.asarray(coded[codes])


def _design(blocks: Sequence[Array], count: int) -> Array:
    return np.concatenate([np.ones((count, 1)), *blocks], axis=1)


def _rank(design: Array) -> int:
    return int(np.linalg.matrix_rank(design))


def _solved(design: Array, values: Array, weights: Array) -> tuple[Array, int]:
    """The weighted least-squares coefficients (of least norm) and the rank."""
    weighted = design * weights[:, None]
    strengths, vectors = np.linalg.eigh(design.T @ weighted)
    kept = strengths > _TINY * strengths[-1]
    inverse = (vectors[:, kept] / strengths[kept]) @ vectors[:, kept].T
    return inverse @ (weighted.T @ values), int(kept.sum())


def _error(design: Array, values: Array, weights: Array) -> tuple[float, int]:
    """The weighted squared error that is left, and the rank."""
    found, rank = _solved(design, values, weights)
    return float(weights @ (values - design @ found) ** 2), rank


def _share(full: Array, without: Array, values: Array, weights: Array) -> float:
    """The adjusted part of the variance that only the columns of `full` beyond `without` explain."""
    error, rank = _error(full, values, weights)
    more, less = _error(without, values, weights)
    count = float(weights.sum())
    centred = values - float(weights @ values) / count
    total = float(weights @ centred**2)
    distinct = int((weights > 0).sum())
    left = error / max(1, distinct - rank)
    return (more - error - (rank - less) * left) / total if total > 0 else 0.0


def _interval(draws: Sequence[float] | Array, estimate: float | None = None) -> tuple[float, float]:
    """95 % of the draws; about the estimate where resampling is biased."""
    low, high = np.nanquantile(draws, [0.025, 0.975])
    shift = 0.0 if estimate is None else float(np.nanmean(draws)) - estimate
    return float(low) - shift, float(high) - shift


def _main(
    name: str, blocks: Mapping[str, Array], columns: Mapping[str, Sequence[str]], values: Array, weights: Array
) -> Effect:
    count, freedom = len(values), blocks[name].shape[1]
    full = _design([blocks[name], *(block for other, block in blocks.items() if other != name)], count)
    without = np.delete(full, np.s_[1 : freedom + 1], axis=1)
    gained = _rank(full) - _rank(without)
    if gained < freedom:
        others = [o for o in blocks if o != name and _separates(name, o, blocks, count)] or ["the others together"]
        reason = f"cannot be told apart from {', '.join(others)} on these points"
        return Effect((name,), gained, levels=_level_counts(columns[name]), reason=reason)
    share = _share(full, without, values, np.ones(count))
    low, high = _interval([_share(full, without, values, each) for each in weights], share)
    return Effect((name,), freedom, share, low, high, _levels(columns[name], full, freedom, values, weights))


def _separates(name: str, other: str, blocks: Mapping[str, Array], count: int) -> bool:
    """Whether a factor could be told apart if the other one were not there."""
    left = [block for each, block in blocks.items() if each not in (name, other)]
    gained = _rank(_design([*left, blocks[name]], count)) - _rank(_design(left, count))
    return bool(gained == blocks[name].shape[1])


def _level_counts(column: Sequence[str]) -> tuple[LevelEffect, ...]:
    return tuple(LevelEffect(level, column.count(level), None, None, None) for level in sorted(set(column)))


def _levels(column: Sequence[str], full: Array, freedom: int, values: Array, weights: Array) -> tuple[LevelEffect, ...]:
    names = sorted(set(column))
    codes = np.array([names.index(value) for value in column])

    def effects(each: Array) -> Array:
        found, _ = _solved(full, values, each)
        own = found[1 : freedom + 1]
        seen = np.bincount(codes, each, len(names)) > 0
        return np.where(seen, np.append(own, -own.sum()), np.nan)

    here, draws = effects(np.ones(len(values))), np.stack([effects(each) for each in weights])
    levels = []
    for place, level in enumerate(names):
        low, high = _interval(draws[:, place])
        levels.append(LevelEffect(level, int((codes == place).sum()), float(here[place]), low, high))
    return tuple(sorted(levels, key=lambda found: -(found.effect or 0.0)))


def _pair(pair: tuple[str, str], blocks: Mapping[str, Array], values: Array, weights: Array) -> Effect:
    """What two factors do together beyond what each does: their products, added to all factors alone."""
    first, second = (blocks[name] for name in pair)
    products = np.stack([a * b for a, b in itertools.product(first.T, second.T)], axis=1)
    without = _design(list(blocks.values()), len(values))
    full = np.concatenate([without, products], axis=1)
    gained, rank = _rank(full) - _rank(without), _rank(full)
    if gained == 0:
        return Effect(pair, 0, reason="no combination of these points shows it")
    if len(values) < rank + SPARE:
        return Effect(pair, gained, reason=f"needs at least {rank + SPARE} points, found {len(values)}")
    share = _share(full, without, values, np.ones(len(values)))
    low, high = _interval([_share(full, without, values, each) for each in weights], share)
    return Effect(pair, gained, share, low, high)


def _noise(observations: Sequence[Observation]) -> float | None:
    """The standard deviation of one seed, from points that have several."""
    several = [each for each in observations if len(each.values) > 1]
    freedom = sum(len(each.values) - 1 for each in several)
    squares = sum((value - each.mean) ** 2 for each in several for value in each.values)
    return float(np.sqrt(squares / freedom)) if freedom else None
