"""What runs in the process of a trial (child.py): a job goes in, its outcome, whatever it is, comes out.

A task is a function from a job to an outcome, which tells every epoch on the way and knows neither store nor sampler.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from archspec.compiler import build
from archspec.errors import ArchspecError, DataError, Problem, SpecError
from archspec.resolve import resolve
from archspec.results.records import Cause, EpochRecord
from archspec.schema.load import network_from
from archspec.schema.source import read_text
from archspec.search.data.images import ImageData
from archspec.search.failure import TrainingFailed
from archspec.search.growth import Growth
from archspec.search.job import Job, Outcome, Reports, Task
from archspec.search.learning_curve import EpochResult, TrainResult
from archspec.search.machine import chosen_device, environment
from archspec.search.recipe import Recipe
from archspec.search.threads import fastest_threads
from archspec.search.timing import timed
from archspec.search.train import check_recipe, is_out_of_memory, train

# Words of torch's errors when tensors do not fit each other.
_MISFIT = ("shape", "size", "dimension", "must match", "channels")


def train_task(job: Job, data: ImageData, reports: Reports) -> Outcome:
    """Train the network of a job. Every way to fail is an outcome, named by its cause."""
    torch.set_num_threads(job.threads)
    progress = _Progress(reports)
    try:
        result, times = _trained(job, data, progress)
    except TrainingFailed as error:
        return Outcome(_CAUSES.get(error.cause, "error"), str(error))
    except SpecError as error:
        return Outcome("shape", str(error))
    except (DataError, OSError) as error:
        return Outcome("data", f"{type(error).__name__}: {error}")
    except (ArchspecError, RuntimeError, MemoryError, ValueError, TypeError, IndexError, KeyError) as error:
        if is_out_of_memory(error):  # when the network is built; a training says so itself
            return Outcome("out_of_memory", f"out of memory: {error}".splitlines()[0])
        misfit = not progress.steps and any(word in str(error).lower() for word in _MISFIT)
        return Outcome("shape" if misfit else "error", f"{type(error).__name__}: {error}")
    values = {"accuracy": result.last.val_accuracy, "val_loss": result.last.val_loss} | times
    return Outcome("pruned" if result.stopped else "ok", "", values)


class _Progress:
    """Passes steps and epochs on."""

    def __init__(self, reports: Reports) -> None:
        self.steps = 0
        self._reports = reports

    def step(self, epoch: int, step: int, steps: int) -> None:
        self.steps += 1
        self._reports.alive()

    def epoch(self, result: EpochResult) -> bool:  # called for the epochs of the checkpoint too
        return self._reports.epoch(_epoch_record(result))

    def unsaved(self, error: TrainingFailed) -> None:
        self._reports.unsaved(str(error))


def _trained(job: Job, data: ImageData, progress: _Progress) -> tuple[TrainResult, dict[str, float]]:
    """What training measured, and how fast the network is."""
    network = network_from(read_text(job.spec, "the spec of the trial"))
    program = resolve(network)
    if program.digest != job.digest:
        rule = "the spec of a trial resolves to the architecture that was chosen: is this another archspec?"
        raise SpecError([Problem(rule, program.digest, nearest=(job.digest,))])
    module, recipe = build(program, seed=job.seed, written=network), Recipe.model_validate(dict(job.recipe))
    result = train(
        module,
        data,
        recipe,
        seed=job.seed,
        growth=Growth(network),
        checkpoint=Path(job.checkpoint),
        identity=job.digest,
        earlier=tuple(map(Path, job.earlier)),
        micro_batch=job.micro_batch,
        on_epoch=progress.epoch,
        on_step=progress.step,
        on_unsaved=progress.unsaved,
        device=job.device,
    )
    return result, timed(module, job.timed, data.size, recipe, torch.device(job.device))


def check_task(job: Job, data: ImageData | None, reports: Reports) -> Outcome:
    """Try the recipe on the device, before a study starts; the environment, for provenance."""
    torch.set_num_threads(job.threads)
    device = chosen_device(job.device)
    check_recipe(Recipe.model_validate(dict(job.recipe)), device)
    devices = torch.cuda.device_count() if device == "cuda" else 0
    return Outcome("ok", facts={"environment": environment(device), "devices": devices})


def threads_task(job: Job, data: ImageData | None, reports: Reports) -> Outcome:
    """How many threads train the network of the job fastest here."""
    program = resolve(network_from(read_text(job.spec, "the first network")))
    threads = fastest_threads(program, Recipe.model_validate(dict(job.recipe)).batch, job.processors)
    return Outcome("ok", facts={"threads": threads})


TASKS: dict[Task, Callable[[Job, ImageData, Reports], Outcome]] = {
    "train": train_task,
    "check": check_task,
    "threads": threads_task,
}

_CAUSES: dict[str, Cause] = {"diverged": "diverged", "out_of_memory": "out_of_memory"}


def _epoch_record(result: EpochResult) -> EpochRecord:
    return EpochRecord(
        epoch=result.epoch,
        train_loss=result.train_loss,
        val_loss=result.val_loss,
        val_accuracy=result.val_accuracy,
        lr=result.lr,
        seconds=result.seconds,
    )
