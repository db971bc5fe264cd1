"""Why a training run ended without a result."""

from typing import Literal

from archspec.errors import TrainingError

Cause = Literal["diverged", "out_of_memory", "error"]


class TrainingFailed(TrainingError):
    """A run that cannot go on, with its cause and the place: epochs and steps from 1, 0 is before them.

    `diverged`: the loss is not finite. `out_of_memory`: of the device or of the host. `error`: the recipe
    asks for what this device, data set or version does not have, or the checkpoint is of another run or
    cannot be written.
    """

    def __init__(self, message: str, cause: Cause, epoch: int = 0, step: int = 0) -> None:
        super().__init__(message)
        self.cause = cause
        self.epoch = epoch
        self.step = step

    def __reduce__(self) -> tuple[type["TrainingFailed"], tuple[str, Cause, int, int]]:
        return type(self), (str(self), self.cause, self.epoch, self.step)
