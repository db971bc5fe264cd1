"""Scores of proxies and what longer training gave go in; how far each proxy can be trusted comes out, with intervals.

Kendall's tau-b and Spearman's rho are of all networks that have both; `top` is tau-b among the best quarter by truth,
because a proxy that only recognises bad networks does well on all of them; regret is what the best network of the
proxy's first k is short of the best of all. Intervals are 95 % percentiles of a bootstrap over networks, the same
draws for every proxy, so that differences are paired. Equal scores are ordered to the proxy's disadvantage.

The rule of trust: at least MINIMUM networks; tau's interval above 0; the interval of tau minus that of the better
baseline (parameters alone, multiply-adds alone), on the same networks, above 0; and no share in the training that is
the truth. What fails one of them is not to be trusted, and the verdict says which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MINIMUM = 10
BOOTSTRAPS = 1000
TOP, FEWEST_ON_TOP = 0.25, 5

RULE = (
    f"A proxy is to be trusted here if there are at least {MINIMUM} networks, the 95 % interval of its Kendall tau "
    "lies above 0, and so does that of its tau minus the tau of the better baseline (parameters alone, multiply-adds "
    "alone), and if it was not taken from the training that is the truth."
)


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; None where the networks do not say (all equal, too few)."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Asked:
    """What a proxy says of each network, in their order (NaN: nothing), and what is to be said about that."""

    name: str
    scores: Sequence[float]
    role: str = "proxy"
    """`baseline`, `proxy` or `ceiling` (another training to the end: no proxy can be expected to be nearer)."""
    formula: str = ""
    source: str = ""
    saw_truth: bool = False
    """Whether it is taken from the training that is the truth: then agreement shows nothing."""
    remarks: Mapping[str, int] = field(default_factory=dict)
    """Why it was refused or is doubtful, and for how many networks."""


@dataclass(frozen=True)
class Row:
    """One proxy, audited."""

    asked: Asked
    n: int
    tau: Estimate
    rho: Estimate
    top: Estimate
    regret: Estimate
    ahead: Estimate
    """Tau minus the better baseline's, on the same networks."""
    verdict: str


@dataclass(frozen=True)
class Audit:
    """All proxies against one truth."""

    truth: str
    """What is taken for true, in words."""
    networks: int
    k: int
    """How many networks a proxy may choose, for regret."""
    rows: tuple[Row, ...]
    seed: int


def audit(truth: str, values: Sequence[float], asked: Sequence[Asked], seed: int = 0, share: float = 0.1) -> Audit:
    """Audit proxies against values, one for each network.

    Args:
        truth: what the values are, in words.
        values: larger is better; NaN where unknown.
        asked: the proxies; those whose role is `baseline` are what the others must beat.
        seed: of the bootstrap.
        share: of the networks a proxy may choose, at least one.
    """
    known = np.asarray(values, dtype=np.float64)
    count = int(np.isfinite(known).sum())
    k = max(1, round(share * count))
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, max(1, len(known)), (BOOTSTRAPS, len(known)))
    baselines = [np.asarray(each.scores, dtype=np.float64) for each in asked if each.role == "baseline"]
    rows = tuple(_row(each, known, baselines, draws, k) for each in asked)
    return Audit(truth, count, k, rows, seed)


def _row(asked: Asked, truth: Array, baselines: Sequence[Array], draws: NDArray[np.int64], k: int) -> Row:
    scores = np.asarray(asked.scores, dtype=np.float64)
    there = np.isfinite(scores) & np.isfinite(truth)
    x, y = np.where(there, scores, 0.0), np.where(there, truth, 0.0)
    # How often each network is in each draw; one that has no score is in none.
    weights = np.stack([np.bincount(draw, minlength=len(truth)) for draw in draws]).astype(np.float64) * there
    everything = there[None].astype(np.float64)
    own, drawn = tau_b(x, y, everything)[0], tau_b(x, y, weights)
    others = [(tau_b(b, y, everything)[0], tau_b(b, y, weights)) for b in baselines]
    best, best_drawn = _best([o for o, _ in others]), _best([d for _, d in others])
    n = int(there.sum())
    tau, ahead = _estimate(own, drawn), _estimate(own - best, drawn - best_drawn)
    return Row(
        asked=asked,
        n=n,
        tau=tau,
        rho=_estimate(_rho(x, y, everything)[0], _rho(x, y, weights)),
        top=_top(x, y, weights, there),
        regret=_estimate(_regret(x, y, everything, k)[0], _regret(x, y, weights, k)),
        ahead=ahead,
        verdict=_verdict(asked, n, len(truth), tau, ahead),
    )


def tau_b(x: Array, y: Array, weights: Array) -> Array:
    """Kendall's tau-b for each row of weights (times that each network counts); NaN where all are tied."""
    one, other = np.sign(x[:, None] - x[None]), np.sign(y[:, None] - y[None])
    both, xs, ys = (_pairs(each, weights) for each in (one * other, one**2, other**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(both / np.sqrt(xs * ys))


def _pairs(matrix: Array, weights: Array) -> Array:
    return np.asarray(((weights @ matrix) * weights).sum(1))


def _rho(x: Array, y: Array, weights: Array) -> Array:
    """Spearman's rho: Pearson's of mean ranks, networks counted with their weights."""
    a, b = _ranks(x, weights), _ranks(y, weights)
    total = weights.sum(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (each - (weights * each).sum(1, keepdims=True) / total for each in (a, b))
        norms = (weights * a * a).sum(1) * (weights * b * b).sum(1)
        return np.asarray((weights * a * b).sum(1) / np.sqrt(norms))


def _ranks(x: Array, weights: Array) -> Array:
    """Mean ranks of the values among the weighted ones: how many are smaller, and half of those that are equal."""
    return np.asarray(weights @ (x[None, :] > x[:, None]).astype(float) + 0.5 * weights @ (x[None] == x[:, None]))


def _regret(x: Array, y: Array, weights: Array, k: int) -> Array:
    """What the best of the first k by x is short of the best, of the networks with a weight; equals count as worst."""
    order = np.lexsort((y, -x))
    found = np.full(len(weights), np.nan)
    for number, row in enumerate(weights):
        there = order[row[order] > 0]
        if len(there):
            chosen = np.repeat(there, row[there].astype(int))[:k]
            found[number] = y[there].max() - y[chosen].max()
    return found


def _top(x: Array, y: Array, weights: Array, there: NDArray[np.bool_]) -> Estimate:
    """Tau among the best by truth; nothing where they are too few."""
    top = there & (y >= np.quantile(y[there], 1 - TOP)) if there.any() else there
    if top.sum() < FEWEST_ON_TOP:
        return Estimate(None, None, None)
    return _estimate(tau_b(x, y, top[None].astype(np.float64))[0], tau_b(x, y, weights * top))


def _best(taus: Sequence[Array]) -> Array:
    """The better baseline; one that does not vary orders nothing: 0."""
    return np.max([np.nan_to_num(np.asarray(tau)) for tau in taus], axis=0) if taus else np.zeros(1)


def _estimate(found: Array, drawn: Array) -> Estimate:
    value = float(np.ravel(found)[0])
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(value):
        return Estimate(None, None, None)
    low, high = np.percentile(known, (2.5, 97.5)) if len(known) else (np.nan, np.nan)
    return Estimate(value, *(float(v) if np.isfinite(v) else None for v in (low, high)))


def _verdict(asked: Asked, n: int, networks: int, tau: Estimate, ahead: Estimate) -> str:
    if asked.role != "proxy":
        return asked.role
    if n < MINIMUM:
        return f"not to be trusted: only {n} networks" if n else "refused"
    if tau.low is None or tau.low <= 0:
        return "not to be trusted: its order may be chance"
    if ahead.low is None or ahead.low <= 0:
        return "not to be trusted: no better than counting parameters or multiply-adds"
    if asked.saw_truth:
        return "not shown: it saw the training that is the truth; further seeds would tell"
    return "may be trusted here" if n == networks else f"may be trusted here, for {n} of {networks} networks"


def estimate_text(found: Estimate) -> str:
    """`0.47 (0.21 to 0.66)`; a dash where nothing can be said."""
    if found.value is None:
        return "-"
    between = "no interval" if found.low is None or found.high is None else f"{found.low:.2f} to {found.high:.2f}"
    return f"{found.value:.2f} ({between})"
