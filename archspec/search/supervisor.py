"""A prepared study and a number go in; so many worker processes run it, and their progress comes out.

The supervisor decides nothing about trials: workers meet in the database. It starts them, starts another one where one
was killed, passes the wish to stop on, and watches the tables for whoever looks at the terminal. Without it they stop.
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from archspec.errors import StudyError
from archspec.results.database import DatabaseAway
from archspec.results.leases import Leases
from archspec.results.status import Reached, StudyStatus
from archspec.results.store import Store
from archspec.schema.load import network_from
from archspec.schema.source import read_text
from archspec.search.candidate import Observer
from archspec.search.processes import ForkServer, environment_of_children
from archspec.search.study import Study
from archspec.search.suggest import SpaceExhausted
from archspec.search.worker import Stop

SECONDS_BETWEEN_LOOKS = 0.25
RESTARTS_WITHOUT_AN_OUTCOME = 50
"""So many killed workers are replaced before a trial has its outcome again; then something kills them all."""


@dataclass
class _WorkerProcess:
    number: int
    owner: str
    process: subprocess.Popen[str]

    def said(self) -> str:
        """What it printed, once it has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        said = self.process.stdout.read()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()
        return said


@dataclass
class Supervisor:
    """Runs a study with several workers."""

    study: Study
    store: Store
    count: int
    environment: dict[str, Any]
    devices: int
    server: ForkServer
    observer: Observer
    stop: Stop
    restarts: int = 0
    errors: list[dict[str, str]] = field(default_factory=list)
    workers: list[_WorkerProcess] = field(default_factory=list)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.watch = Watch(self.store, self.study, self.observer)
        self.leases = Leases(self.store, str(uuid.uuid4()), "supervisor", self.study.workers.lease_seconds)

    def run(self) -> None:
        """Start the workers and wait for the end of the study. Raises as `search`."""
        try:
            self.workers = [self._started(number) for number in range(self.count)]
            while self.workers:
                time.sleep(SECONDS_BETWEEN_LOOKS)
                self._look()
        finally:
            for worker in self.workers:
                worker.process.kill()
                worker.process.wait()
        self._tell()
        if self.stop.asked():
            self.stop.leave()
        for error in sorted(self.errors, key=lambda error: error["class"] == "SpaceExhausted"):
            kind = SpaceExhausted if error["class"] == "SpaceExhausted" else StudyError
            raise kind(error["message"])

    def _look(self) -> None:
        self._tell()
        for worker in [each for each in self.workers if each.process.poll() is not None]:
            self.workers.remove(worker)
            if self._ended_by_a_kill(worker) and not self.stopping:
                self.workers.append(self._started(worker.number))
        # One whose space is exhausted waits for nobody; any other error is one of the whole study.
        failed = any(error["class"] != "SpaceExhausted" for error in self.errors)
        if not self.stopping and (self.stop.asked() or failed):
            self.stopping = True
            for worker in self.workers:
                worker.process.send_signal(signal.SIGTERM)

    def _tell(self) -> None:
        with suppress(DatabaseAway):
            if self.watch.look():
                self.restarts = 0

    def _started(self, number: int) -> _WorkerProcess:
        owner, environment = str(uuid.uuid4()), environment_of_children()
        if self.devices > 1:
            visible = environment.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(self.devices)))
            environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % self.devices]
        # A server that sees other devices imports torch itself.
        clone = self.server.clone() if self.devices <= 1 else None
        # In a session of its own: Ctrl-C reaches the supervisor alone, which asks the workers to stop.
        process = subprocess.Popen(
            [sys.executable, "-m", "archspec.search.worker_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True,
            pass_fds=(clone.channel, clone.log) if clone else (),
        )  # fmt: skip
        assert process.stdin is not None
        order = {"owner": owner, "server": vars(clone) if clone else None, **self._order()}
        with suppress(BrokenPipeError):  # it was killed already
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        if clone:
            clone.close()
        return _WorkerProcess(number, owner, process)

    def _order(self) -> dict[str, object]:
        written = self.study.model_dump(mode="json", exclude_unset=True)
        if self.study.budget.hours is not None:  # one that takes the place of another has what is left
            spent = (time.monotonic() - self.started) / 3600
            written["budget"]["hours"] = max(self.study.budget.hours - spent, 1e-6)
        return {"study": written, "path": str(self.study.path or ""), "environment": self.environment}

    def _ended_by_a_kill(self, worker: _WorkerProcess) -> bool:
        """A worker has ended: note its error; whether another one is to take its place, as for a fork server's end."""
        said, exit_code = worker.said(), worker.process.returncode
        if said:
            self.errors.append(json.loads(said))
        elif (exit_code < 0 or exit_code == os.EX_TEMPFAIL) and self.restarts < RESTARTS_WITHOUT_AN_OUTCOME:
            self.restarts += 1
            with suppress(DatabaseAway):
                self.leases.expire(worker.owner)  # nobody needs to wait for its leases to run out
            return True
        elif exit_code not in (0, 128 + signal.SIGTERM):
            self.errors.append({"class": "StudyError", "message": f"a worker ended with exit code {exit_code}"})
        return False


@dataclass
class Watch:
    """Tells an observer what all workers of a study do, by looking at the tables."""

    store: Store
    study: Study
    observer: Observer

    def __post_init__(self) -> None:
        self.status = StudyStatus(self.store, self.study.name)
        self.ended = self.status.ended_names()
        self.running: dict[tuple[int | None, str | None], int] = {}
        """The epochs that were told, of each trial or reference that runs."""

    def look(self) -> bool:
        """Tell what is new since the last look; whether an evaluation has ended."""
        for reached in self.status.running_epochs():
            self._tell(reached)
        ended = self.status.ended_names() - self.ended
        for name in sorted(ended, key=str):
            self._tell(Reached(*name))
            self.running.pop(name, None)
        self.ended |= ended
        return bool(ended)

    def _tell(self, reached: Reached) -> None:
        """A trial has reached an epoch; all of them where it has ended."""
        name = reached.trial, reached.reference
        told = self.running.get(name)
        if told is not None and told == reached.epochs:
            return
        record = self.status.record(*name)
        if record is None:
            return
        if told is None and record.cached_from is None:
            network = network_from(read_text(record.spec, f"the spec of {record.name}"))
            self.observer.evaluation_started(record.name, self.study.recipe.epochs, network)
        for epoch in record.curve[told or 0 :] if record.cached_from is None else ():
            self.observer.epoch_ended(record.name, epoch.epoch, epoch.val_accuracy)
        self.running[name] = len(record.curve)
        if reached.epochs is None:
            self.observer.evaluation_ended(record)
