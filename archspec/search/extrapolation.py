"""Learning curves of different lengths go in; what each would have reached at its end, and how sure, comes out.

Measures are looked at on an unbounded scale (logit of an accuracy, log of a loss). From one epoch to the next the
value is carried by a line that is fitted to the trials that have both epochs, drawn towards slope 1 where they are few;
what the line leaves over is the variance that is added. The choice of which trials go on looks only at the epochs
before, so the line, which is conditional on them, is not led astray by it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FEW = 3  # pairs below which the line is not fitted
_STRENGTH = 2.0  # of the pull towards slope 1, in pairs


def unbounded(values: Sequence[float], measure: str) -> Array:
    """A measure on a scale where larger is better and differences mean the same everywhere."""
    numbers = np.asarray(values, dtype=np.float64)
    if measure == "accuracy":
        inside = np.clip(numbers, 2e-3, 1 - 2e-3)
        return np.asarray(np.log(inside / (1 - inside)))
    return np.asarray(-np.log(np.maximum(numbers, 1e-6)))


def extrapolated(curves: Sequence[Array], epochs: int) -> tuple[Array, Array]:
    """The value that each curve has at its last epoch or would have, and the variance of saying so.

    Every curve has at least one epoch.
    """
    values = np.array([curve[-1] for curve in curves])
    variances = np.zeros(len(curves))
    lengths = np.array([len(curve) for curve in curves])
    spread = float(np.var(values)) if len(curves) > 1 else 1.0
    for epoch in range(int(lengths.min(initial=epochs)), epochs):
        pairs = np.array([(curve[epoch - 1], curve[epoch]) for curve in curves if len(curve) > epoch])
        slope, shift, left = _line(pairs, spread)
        short = lengths <= epoch
        values[short] = shift + slope * values[short]
        variances[short] = slope**2 * variances[short] + left
    return values, variances


def _line(pairs: Array, spread: float) -> tuple[float, float, float]:
    """Slope, shift and residual variance of the step from one epoch to the next."""
    if len(pairs) == 0:
        return 1.0, 0.0, 0.3 * spread
    before, after = pairs[:, 0], pairs[:, 1]
    if len(pairs) < FEW:
        return 1.0, float((after - before).mean()), 0.3 * spread
    centred, rise = before - before.mean(), after - after.mean()
    pull = _STRENGTH * spread
    slope = (float(centred @ rise) + pull) / (float(centred @ centred) + pull)
    left = rise - slope * centred
    return slope, float(after.mean() - slope * before.mean()), float(left @ left) / max(1, len(pairs) - 2)
