"""What a worker and the process of its trial say to each other: a job goes in, messages and an outcome come out.

Messages are JSON in one write each, so that a process that is killed leaves whole ones or none. No torch.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Literal, Protocol

from archspec.results.records import Cause, EpochRecord

Task = Literal["train", "check", "threads", "replay"]
"""`check`: try the recipe on the device. `threads`: measure how many are fastest. `replay`: ask a table."""


@dataclass(frozen=True)
class Job:
    """One task for a process of its own. Plain values only."""

    task: Task
    recipe: Mapping[str, Any]
    device: str
    data: Mapping[str, Any] = field(default_factory=dict)
    spec: str = ""  # YAML
    digest: str = ""
    seed: int = 0
    threads: int = 1
    processors: int = 1
    checkpoint: str = ""
    earlier: tuple[str, ...] = ()
    """Checkpoints of earlier attempts, newest first."""
    table: str = ""
    trial: int = -1
    """The trial that asks, -1 for a reference: a table answers each with one of its seeds."""
    micro_batch: int | None = None
    """Images at a time; None: the whole batch."""
    timed: tuple[str, ...] = ()
    """What is timed of the trained network: `latency`, `throughput`."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended. `values` of a training are its measured objectives."""

    cause: Cause
    message: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Reports(Protocol):
    """What an evaluation tells while it goes on."""

    def alive(self) -> None:
        """A step was taken."""

    def epoch(self, epoch: EpochRecord) -> bool:
        """An epoch ended and is on disk: whether to go on."""

    def unsaved(self, message: str) -> None:
        """A checkpoint could not be written; training goes on."""


def send(channel: Connection, kind: str, **values: Any) -> None:
    """Send one message."""
    channel.send_bytes(json.dumps({"kind": kind, **values}).encode())


def receive(channel: Connection) -> dict[str, Any]:
    """The next message. Raises EOFError when the other side is gone."""
    message: dict[str, Any] = json.loads(channel.recv_bytes())
    return message


def job_values(job: Job) -> dict[str, Any]:
    """A job as JSON."""
    return asdict(job)


def job_from(values: Mapping[str, Any]) -> Job:
    """The job of `job_values`."""
    return Job(**{**values, "earlier": tuple(values["earlier"]), "timed": tuple(values["timed"])})
