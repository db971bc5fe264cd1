"""One network goes in; it is trained by the study's protocol and its outcome, whatever it is, is in the store."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from archspec.compiler import build
from archspec.costs import cost
from archspec.errors import ArchspecError, StoreError
from archspec.ir import Program
from archspec.resolve import resolve
from archspec.results.records import Cause, EpochRecord, EvaluationRecord, EvaluationRequest, Gene
from archspec.results.store import Store
from archspec.schema.load import network_yaml
from archspec.schema.network import Network
from archspec.search.data.images import ImageData
from archspec.search.failure import TrainingFailed
from archspec.search.learning_curve import EpochResult, TrainResult
from archspec.search.recipe import Recipe
from archspec.search.train import train


class Observer(Protocol):
    """Who watches a search: the command line draws it, tests record it."""

    def evaluation_started(self, name: str, epochs: int, network: Network) -> None: ...

    def epoch_ended(self, name: str, epoch: int, accuracy: float | None) -> None: ...

    def evaluation_ended(self, record: EvaluationRecord) -> None: ...


@dataclass(frozen=True)
class Candidate:
    """A point about to be evaluated: a trial of the study by number, or a reference by name."""

    network: Network
    program: Program
    trial: int | None = None
    reference: str | None = None
    genes: Mapping[str, Gene] | None = None

    @property
    def name(self) -> str:
        return self.reference if self.reference is not None else f"trial {self.trial}"


def adapted(network: Network, data: ImageData) -> Network:
    """The network at the size and classes of a data set."""
    image = network.input.model_copy(update={"size": data.size, "channels": 3})
    return network.model_copy(update={"input": image, "classes": len(data.classes)})


@dataclass(frozen=True)
class Evaluator:
    """Trains candidates by one protocol and keeps the books."""

    study: str
    store: Store
    data: ImageData
    recipe: Recipe
    protocol: str
    seed: int
    folder: Path
    device: str
    environment: Mapping[str, object]
    observer: Observer

    def request(self, candidate: Candidate) -> EvaluationRequest:
        """What the store is asked for: everything that identifies and reproduces the evaluation."""
        return EvaluationRequest(
            study=self.study,
            digest=candidate.program.digest,
            protocol=self.protocol,
            seed=self.seed,
            spec=network_yaml(candidate.network),
            trial=candidate.trial,
            reference=candidate.reference,
            cost=vars(cost(candidate.program)),
            params=dict(candidate.genes or {}),
            environment=self.environment,
        )

    def evaluate(
        self, candidate: Candidate, stops: Callable[[int, float | None], bool] | None = None
    ) -> EvaluationRecord:
        """The outcome of a candidate: from the store when an equal one was evaluated, by training otherwise.

        `stops(epoch, accuracy)` is asked after each epoch whether to prune. Interrupted training goes on from its last
        checkpoint. Only KeyboardInterrupt and the death of the process leave an evaluation running.
        """
        request = self.request(candidate)
        record = self.store.start_evaluation(request)
        if not record.is_finished:
            self.observer.evaluation_started(candidate.name, self.recipe.epochs, candidate.network)
            started = time.monotonic()
            cause, values, message = self._outcome(candidate, record, stops)
            earlier = sum(epoch.seconds or 0.0 for epoch in record.curve)
            seconds = earlier + time.monotonic() - started
            self.store.finish_evaluation(record.uuid, cause, values=values, message=message, seconds=seconds)
            shutil.rmtree(self._checkpoint(record).parent, ignore_errors=True)
            record = self.store.start_evaluation(request)
        self.observer.evaluation_ended(record)
        return record

    def _checkpoint(self, record: EvaluationRecord) -> Path:
        return self.folder / "checkpoints" / record.uuid / "last.pt"

    def _outcome(
        self,
        candidate: Candidate,
        record: EvaluationRecord,
        stops: Callable[[int, float | None], bool] | None,
    ) -> tuple[Cause, dict[str, float], str]:
        """A trial may fail in any way that a network can; the study goes on, so every failure is an outcome."""
        try:
            result = self._trained(candidate, record, stops)
        except StoreError:  # no outcome of the network: nothing is recorded, and the next run resumes it
            raise
        except TrainingFailed as error:
            return _CAUSES.get(error.cause, "error"), {}, str(error)
        except MemoryError as error:
            return "out_of_memory", {}, str(error)
        except (ArchspecError, RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
            return "error", {}, f"{type(error).__name__}: {error}"
        values = {"accuracy": result.last.val_accuracy, "val_loss": result.last.val_loss}
        return "pruned" if result.stopped else "ok", values, ""

    def _trained(
        self,
        candidate: Candidate,
        record: EvaluationRecord,
        stops: Callable[[int, float | None], bool] | None,
    ) -> TrainResult:
        checkpoint = self._checkpoint(record)
        checkpoint.parent.mkdir(parents=True, exist_ok=True)

        def on_epoch(result: EpochResult) -> bool:  # called for the epochs of the checkpoint too
            epoch = _epoch_record(result)
            self.store.record_epoch(record.uuid, epoch, checkpoint=str(checkpoint))
            self.observer.epoch_ended(candidate.name, epoch.epoch, epoch.val_accuracy)
            return stops is None or not stops(epoch.epoch, epoch.val_accuracy)

        module = build(candidate.program, seed=self.seed)
        return train(
            module,
            self.data,
            self.recipe,
            seed=self.seed,
            checkpoint=checkpoint,
            identity=candidate.program.digest,
            on_epoch=on_epoch,
            device=self.device,
        )


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


def candidate(network: Network, data: ImageData, **who: Any) -> Candidate:
    """A network at the size of the data, resolved. Raises SpecError where it cannot stand at that size."""
    fitted = adapted(network, data)
    return Candidate(fitted, resolve(fitted), **who)
