"""The first epochs of a training go in; what they promise comes out, larger is better. No torch."""

from collections.abc import Sequence

from archspec.results.records import EpochRecord


def accuracy_at(curve: Sequence[EpochRecord], epochs: int) -> float | None:
    """Validation accuracy after so many epochs of the training (its schedule is that of the whole training)."""
    return curve[epochs - 1].val_accuracy if len(curve) >= epochs else None


def sotl(curve: Sequence[EpochRecord], epochs: int) -> float | None:
    """Minus the sum of the mean training losses of the first epochs (sum over training losses, arXiv 2006.04492).

    On a stream of fresh images that is a loss on images never seen: the length of a code. On a fixed set it rewards
    fitting.
    """
    return _minus_sum([epoch.train_loss for epoch in curve[:epochs]], epochs)


def val_area(curve: Sequence[EpochRecord], epochs: int) -> float | None:
    """Minus the sum of the validation losses of the first epochs: the area under the curve."""
    return _minus_sum([epoch.val_loss for epoch in curve[:epochs]], epochs)


def _minus_sum(losses: Sequence[float | None], epochs: int) -> float | None:
    known = [loss for loss in losses if loss is not None]
    return -sum(known) if len(known) == epochs else None
