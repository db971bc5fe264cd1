"""Evaluated points go in; what an unseen point will measure, and how sure that is, comes out. numpy and scipy only.

A Gaussian process over genes. Two points are as alike as their genes agree, each gene with a weight of its own that is
learned (automatic relevance determination):

    k(x, x') = s² exp(- sum over genes g of w_g d_g(x, x'))

d is 0 or 1 for a categorical gene, the distance of ranks in 0..1 for an ordered one; a gene that is active in one of
two points only is 1 apart. The exponential of a Hamming distance is a product over genes, so it holds interactions of
every order, weaker the higher (Hutter et al. 2011 use it in SMAC). Weights, s² and the noise maximise the marginal
likelihood with priors that keep a handful of points from deciding everything.

Axes: n evaluated points, m asked points, G genes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from archspec.search.space.conditions import Label
from archspec.search.space.model import SearchSpace, active

Array = NDArray[np.float64]
ABSENT = -1.0
_LOG_WEIGHT = (-1.0, 1.0)  # mean and standard deviation of the prior of log w
_LOG_SCALE = (0.0, 1.0)
_LOG_NOISE = (-3.0, 1.5)
STEPS = 40


def encoded(space: SearchSpace, assignments: Sequence[Mapping[str, Label]]) -> Array:
    """(points, G): the number of each gene's choice, of ordered genes in 0..1; ABSENT where a gene is not active."""
    rows = np.full((len(assignments), len(space.genes)), ABSENT)
    for row, assignment in zip(rows, assignments, strict=True):
        present = active(space, assignment)
        for place, gene in enumerate(space.genes):
            if gene.name in present:
                number = gene.index[assignment[gene.name]]
                row[place] = number / max(1, len(gene.choices) - 1) if gene.kind == "ordinal" else number
    return rows


def distances(space: SearchSpace, rows: Array, others: Array) -> Array:
    """(G, n, m): how far apart the points are in each gene, 0..1."""
    apart = np.abs(rows[:, None, :] - others[None, :, :])
    ordered = np.array([gene.kind == "ordinal" for gene in space.genes])
    either = (rows[:, None, :] == ABSENT) != (others[None, :, :] == ABSENT)
    apart = np.where(ordered & ~either, apart, (apart > 0).astype(np.float64))
    return np.ascontiguousarray(np.moveaxis(apart, 2, 0))


@dataclass(frozen=True)
class Surrogate:
    """A fitted model; values are those it was fitted to."""

    weights: Array
    scale: float
    middle: float
    spread: float
    factor: tuple[Array, bool]
    solved: Array
    logs: Array
    """Logarithms of all that was learned: where the next fit begins."""

    def predict(self, apart: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (m,) at points `apart` (G, n, m) from those fitted to."""
        kernel = self.scale * np.exp(-np.tensordot(self.weights, apart, axes=1))
        mean = kernel.T @ self.solved
        variance = self.scale - np.sum(kernel * cho_solve(self.factor, kernel), axis=0)
        return self.middle + self.spread * mean, self.spread * np.sqrt(np.maximum(variance, 1e-12))


def fit(apart: Array, values: Array, extra: Array, known: Array | None = None) -> Surrogate:
    """The model of values (n,) at points `apart` (G, n, n) from each other.

    Args:
        extra: (n,) variance that a value has beyond the noise, say because it was extrapolated.
        known: `logs` of a model of nearly the same points: taken as they are, which is much faster.
    """
    middle, spread = float(values.mean()), float(values.std()) or 1.0
    scaled, more = (values - middle) / spread, extra / spread**2
    logs = _learned(apart, scaled, more) if known is None else known
    weights, scale, noise = np.exp(logs[:-2]), float(np.exp(logs[-2])), float(np.exp(logs[-1]))
    kernel = scale * np.exp(-np.tensordot(weights, apart, axes=1))
    factor = cho_factor(kernel + np.diag(noise + more + 1e-9), lower=True)
    return Surrogate(weights, scale, middle, spread, factor, cho_solve(factor, scaled), logs)


def _learned(apart: Array, values: Array, more: Array) -> Array:
    """The logarithms of weights, scale and noise with the largest posterior."""
    genes = len(apart)
    prior = np.array([_LOG_WEIGHT] * genes + [_LOG_SCALE, _LOG_NOISE])
    bounds = [(-7.0, 3.0)] * genes + [(-3.0, 3.0), (-7.0, 1.0)]
    told = (apart, values, more, prior)
    steps = {"maxiter": STEPS}
    found = minimize(_objective, prior[:, 0], told, "L-BFGS-B", jac=True, bounds=bounds, options=steps)
    return np.asarray(found.x)


def _objective(at: Array, apart: Array, values: Array, more: Array, prior: Array) -> tuple[float, Array]:
    """Minus the log of the posterior of the parameters, and its gradient."""
    genes = len(apart)
    weights, scale, noise = np.exp(at[:genes]), np.exp(at[-2]), np.exp(at[-1])
    kernel = scale * np.exp(-np.tensordot(weights, apart, axes=1))
    factor = cho_factor(kernel + np.diag(noise + more + 1e-9), lower=True)
    solved = cho_solve(factor, values)
    inner = np.outer(solved, solved) - cho_solve(factor, np.eye(len(values)))
    pull = inner * kernel
    slope = np.empty_like(at)
    slope[:genes] = 0.5 * weights * np.tensordot(apart, pull, axes=2)
    slope[-2] = -0.5 * float(pull.sum())
    slope[-1] = -0.5 * noise * float(np.trace(inner))
    off = (at - prior[:, 0]) / prior[:, 1]
    height = 0.5 * float(values @ solved) + float(np.log(np.diag(factor[0])).sum()) + 0.5 * float(off @ off)
    return height, slope + off / prior[:, 1]
