"""What a training run measured, epoch by epoch."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class EpochResult:
    """One epoch of a run."""

    epoch: int
    """From 1: the number of epochs trained so far."""
    train_loss: float
    """Mean over the steps of the epoch, while the weights change; of a stream: on images never seen
    before."""
    val_loss: float
    val_accuracy: float
    """Top-1, in 0..1."""
    lr: float
    """Of the last step."""
    seconds: float
    """Of training and validation."""
    images: int
    """Images trained on in this epoch."""


@dataclass(frozen=True)
class TrainResult:
    """The learning curve of a run."""

    history: tuple[EpochResult, ...]
    stopped: bool
    """Whether `on_epoch` ended it before the recipe did."""
    resumed_epochs: int
    """Epochs that were read from the checkpoint, not trained now."""

    @property
    def last(self) -> EpochResult:
        """The last epoch: what a study looks at."""
        return self.history[-1]

    @property
    def best_accuracy(self) -> float:
        """The best of the epochs, in 0..1; optimistic: the choice of the epoch saw the validation images."""
        return max(result.val_accuracy for result in self.history)

    @property
    def seconds(self) -> float:
        """Of training and validation, over all attempts."""
        return math.fsum(result.seconds for result in self.history)

    @property
    def images(self) -> int:
        """Images trained on, over all attempts."""
        return sum(result.images for result in self.history)
