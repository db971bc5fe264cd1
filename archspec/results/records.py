"""What the store gives back: frozen records of studies, evaluations and epochs, no database."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Direction = Literal["maximise", "minimise"]
State = Literal["running", "complete", "pruned", "failed"]
Cause = Literal["ok", "pruned", "shape", "out_of_memory", "diverged", "timeout", "killed", "data", "error"]
# How an attempt ended: with a cause, or because its worker was told to stop (`released`) or is gone (`lost`).
Exit = Cause | Literal["released", "lost"]
Gene = str | int | float | bool | None

TIMED = ("latency", "throughput")
"""Objectives that are measured on a device: seconds of one image, and images a second."""

# Why an evaluation ended decides the state it ends in.
STATE_OF_CAUSE: dict[Cause, State] = {
    "ok": "complete",
    "pruned": "pruned",
    "shape": "failed",
    "out_of_memory": "failed",
    "diverged": "failed",
    "timeout": "failed",
    "killed": "failed",
    "data": "failed",
    "error": "failed",
}


@dataclass(frozen=True)
class Objective:
    """One thing a study makes large or small: a measured value (`accuracy`) or a cost (`params`)."""

    name: str
    direction: Direction = "maximise"


@dataclass(frozen=True)
class StudyRecord:
    """Where a study's results come from: everything needed to run it again.

    `trials` is the total asked for; `axes` says which axis (connectivity, sharing, weights, size, ...) each
    gene of the space belongs to. `data`, `recipe`, `sampler` and `environment` are plain JSON.
    """

    name: str
    space: str  # YAML
    study: str  # YAML
    space_digest: str
    seed: int
    objectives: tuple[Objective, ...]
    sampler: Mapping[str, object] = field(default_factory=dict)
    trials: int | None = None
    data: Mapping[str, object] = field(default_factory=dict)
    recipe: Mapping[str, object] = field(default_factory=dict)
    axes: Mapping[str, str] = field(default_factory=dict)
    archspec_version: str = ""
    environment: Mapping[str, object] = field(default_factory=dict)
    created: datetime | None = None  # UTC; set by the store
    genes: Mapping[str, object] = field(default_factory=dict)  # gene -> its choices or its range
    constraints: tuple[str, ...] = ()
    generation: int = 0  # how often the space was edited


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a learning curve. Epochs count from 1; a loss that is not finite is stored as None."""

    epoch: int
    train_loss: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None  # 0..1
    lr: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class EvaluationRequest:
    """What is to be trained, and who asks: a trial of a study by number, or a named reference point."""

    study: str
    digest: str  # of the architecture
    protocol: str  # digest of data, recipe, fidelity and precision
    seed: int
    spec: str  # YAML
    trial: int | None = None
    reference: str | None = None
    cost: Mapping[str, int] = field(default_factory=dict)
    params: Mapping[str, Gene] = field(default_factory=dict)  # gene -> value
    environment: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationRecord:
    """What a trial (or a reference point) got: its own training, or the result of an equal one done before.

    `cached_from` names the trial whose training this is, None when it is this trial's own. `starts` counts
    how often the training was begun or resumed: the fencing token of the last claim. Times are aware and in UTC.
    """

    uuid: str
    study: str
    trial: int | None
    reference: str | None
    digest: str
    protocol: str
    seed: int
    spec: str
    cost: Mapping[str, int]
    params: Mapping[str, Gene]
    state: State
    cause: Cause | None
    message: str
    values: Mapping[str, float]
    started: datetime
    finished: datetime | None
    seconds: float | None
    starts: int
    checkpoint: str | None
    cached_from: str | None
    environment: Mapping[str, object]
    curve: tuple[EpochRecord, ...]

    @property
    def name(self) -> str:
        """`trial 7`, or the name of the reference point."""
        return self.reference if self.reference is not None else f"trial {self.trial}"

    @property
    def is_replicate(self) -> bool:
        """Whether this is the network of a trial once more, with another seed (see `replicate_name`)."""
        return self.reference is not None and _REPLICATE.search(self.reference) is not None

    @property
    def is_finished(self) -> bool:
        """Whether the outcome is known; it never changes afterwards."""
        return self.state != "running"

    def measure(self, name: str) -> float | None:
        """A measured value or a cost by name; None when this evaluation has none."""
        if name in self.values:
            return self.values[name]
        return self.cost.get(name)


@dataclass(frozen=True)
class EndedTrial:
    """A trial that has its outcome, and no more than that."""

    trial: int | None
    cause: str | None
    message: str


@dataclass(frozen=True)
class AttemptRecord:
    """One claim of an evaluation: who trained it, from when to when, and how that ended (None: not yet)."""

    evaluation: str
    token: int
    owner: str
    place: str  # host and process
    started: datetime
    ended: datetime | None
    exit: Exit | None
    message: str


def replicate_name(name: str, seed: int) -> str:
    """What a trial's network is called when it is trained again with a new seed; no network can be named so."""
    return f"{name}, seed {seed}"


_REPLICATE = re.compile(r", seed \d+$")


def completed(records: Iterable[EvaluationRecord]) -> tuple[EvaluationRecord, ...]:
    """The trials with a final value, in their order; reference points are not trials."""
    return tuple(record for record in records if record.trial is not None and record.state == "complete")


def ranked(records: Iterable[EvaluationRecord], objective: Objective) -> tuple[EvaluationRecord, ...]:
    """The completed trials that have the objective, best first, the earlier trial first when equal."""
    sign = -1.0 if objective.direction == "maximise" else 1.0
    known = [(record.measure(objective.name), record) for record in completed(records)]
    measured = [(sign * value, record) for value, record in known if value is not None]
    return tuple(record for _, record in sorted(measured, key=lambda pair: (pair[0], pair[1].trial)))
