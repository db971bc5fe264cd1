"""A prepared study and a number go in; so many worker processes run it, and their progress comes out.

The foreman decides nothing about trials: workers meet in the database. It starts them, starts another one where one was
killed, passes the wish to stop on, and watches the tables for whoever looks at the terminal. Without it they stop too.

    python -m archspec.search.foreman        (one worker; only the foreman calls it, with a study on its standard input)
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from archspec.errors import ArchspecError, StudyError
from archspec.results.database import DatabaseAway
from archspec.results.leases import Leases
from archspec.results.standing import Standing
from archspec.results.store import Store
from archspec.schema.load import network_from
from archspec.schema.source import read_text
from archspec.search.evaluate import Observer
from archspec.search.nursery import Nursery, environment_of_children
from archspec.search.study import Study, study_from
from archspec.search.suggest import SpaceExhausted
from archspec.search.worker import Stop

SECONDS_BETWEEN_LOOKS = 0.5
RESTARTS = 1000
"""So many killed workers are replaced in one run."""


@dataclass
class _Hand:
    """One worker process."""

    number: int
    owner: str
    process: subprocess.Popen[str]


@dataclass
class Foreman:
    """Runs a study with several workers."""

    study: Study
    count: int
    environment: dict[str, Any]
    devices: int
    observer: Observer
    stop: Stop
    restarts: int = 0
    started: float = field(default_factory=time.monotonic)
    errors: list[dict[str, str]] = field(default_factory=list)

    def run(self) -> None:
        """Start the workers and wait for the end of the study. Raises as `search`."""
        from archspec.search.runner import open_store

        with open_store(self.study) as store:
            store.patience = self.study.workers.reconnect_seconds
            self.watch = Watch(store, self.study, self.observer)
            self.leases = Leases(store, str(uuid.uuid4()), "foreman", self.study.workers.lease_seconds)
            hands = [self._hired(number) for number in range(self.count)]
            try:
                self._oversee(hands)
            finally:
                for hand in hands:
                    hand.process.kill()
                    hand.process.wait()
            self.watch.look()
        if self.stop.asked():
            self.stop.leave()
        self._raise()

    def _oversee(self, hands: list[_Hand]) -> None:
        stopping = False
        while hands:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            with suppress(DatabaseAway):
                self.watch.look()
            ended = [hand for hand in hands if hand.process.poll() is not None]
            for hand in ended:
                hands.remove(hand)
                again = self._left(hand) and not stopping
                if again:
                    hands.append(self._hired(hand.number))
            if not stopping and (self.stop.asked() or any(e["class"] != "SpaceExhausted" for e in self.errors)):
                stopping = True
                for hand in hands:
                    hand.process.send_signal(signal.SIGTERM)

    def _hired(self, number: int) -> _Hand:
        owner = str(uuid.uuid4())
        environment = environment_of_children()
        if self.devices > 1:
            visible = environment.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(self.devices)))
            environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % self.devices]
        # In a group of its own: Ctrl-C reaches the foreman alone, which asks the workers to stop.
        process = subprocess.Popen(
            [sys.executable, "-m", "archspec.search.foreman"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"owner": owner, **self._written()}) + "\n")
            process.stdin.flush()
        return _Hand(number, owner, process)

    def _written(self) -> dict[str, object]:
        written = self.study.model_dump(mode="json", exclude_unset=True)
        if self.study.budget.hours is not None:  # one that takes the place of another has what is left
            spent = (time.monotonic() - self.started) / 3600
            written["budget"]["hours"] = max(self.study.budget.hours - spent, 1e-6)
        return {"study": written, "path": str(self.study.path or ""), "environment": self.environment}

    def _left(self, hand: _Hand) -> bool:
        """A worker has ended: note its error; whether another one is to take its place."""
        status = hand.process.returncode
        assert hand.process.stdin is not None
        assert hand.process.stdout is not None
        said = hand.process.stdout.read()
        for pipe in (hand.process.stdin, hand.process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()
        if said:
            self.errors.append(json.loads(said))
        elif status < 0 and self.restarts < RESTARTS:
            self.restarts += 1
            with suppress(DatabaseAway):
                self.leases.forget(hand.owner)  # nobody needs to wait for its leases to run out
            return True
        elif status not in (0, 128 + signal.SIGTERM):
            self.errors.append({"class": "StudyError", "message": f"a worker ended with exit code {status}"})
        return False

    def _raise(self) -> None:
        for error in sorted(self.errors, key=lambda error: error["class"] == "SpaceExhausted"):
            kind = SpaceExhausted if error["class"] == "SpaceExhausted" else StudyError
            raise kind(error["message"])


@dataclass
class Watch:
    """Tells an observer what all workers of a study do, by looking at the tables."""

    store: Store
    study: Study
    observer: Observer
    seen: dict[tuple[int | None, str | None], tuple[str, int]] | None = None

    def __post_init__(self) -> None:
        self.standing = Standing(self.store, self.study.name)
        self.seen = {key: seen for key, seen in self.standing.glance().items() if seen[0] != "running"}

    def look(self) -> None:
        """Tell what is new since the last look."""
        seen = self.seen if self.seen is not None else {}
        found = self.standing.glance()
        for key in sorted(set(found.items()) - set(seen.items()), key=str):
            self._tell(*key[0], *key[1])
        self.seen = found

    def _tell(self, trial: int | None, reference: str | None, state: str, epochs: int) -> None:
        record = self.standing.record(trial, reference)
        if record is None:
            return
        before = (self.seen or {}).get((trial, reference))
        if before is None:
            network = network_from(read_text(record.spec, f"the spec of {record.name}"))
            self.observer.evaluation_started(record.name, self.study.recipe.epochs, network)
        for epoch in record.curve[before[1] if before else 0 : epochs]:
            self.observer.epoch_ended(record.name, epoch.epoch, epoch.val_accuracy)
        if state != "running":
            self.observer.evaluation_ended(record)


class _Nobody:
    """Watches nothing: the foreman does."""

    def evaluation_started(self, name: str, epochs: int, network: object) -> None: ...

    def epoch_ended(self, name: str, epoch: int, accuracy: float | None) -> None: ...

    def evaluation_ended(self, record: object) -> None: ...


def main() -> None:
    """Be one worker of the study on standard input, until it is done or the foreman is gone."""
    from archspec.search.runner import begun, work

    written = json.loads(sys.stdin.readline())
    stop = Stop()
    threading.Thread(target=_stop_with, args=(sys.stdin, stop), daemon=True).start()
    try:
        with stop.on_signals(), Nursery() as nursery:
            study = study_from(written["study"], Path(written["path"]) if written["path"] else None)
            work(begun(study, written["environment"]), nursery, _Nobody(), stop, written["owner"])
    except ArchspecError as error:
        print(json.dumps({"class": type(error).__name__, "message": str(error)}))
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    sys.stdout.flush()
    os._exit(0)  # the thread still reads


def _stop_with(pipe: IO[str], stop: Stop) -> None:
    pipe.read()
    stop.signal = stop.signal or signal.SIGTERM


if __name__ == "__main__":
    main()
