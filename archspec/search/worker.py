"""A prepared study goes in; one worker takes its trials, one after the other, until there is nothing left to do.

Any number of workers may run one study: in this process, in those of one command, in other terminals, on other hosts
(then on PostgreSQL). They meet in the database only. A worker that dies leaves leases that run out, and what it had
begun is resumed by another.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from archspec.results.database import DatabaseAway
from archspec.results.leases import Lease, LeaseLost, Leases
from archspec.results.race import race
from archspec.results.records import EpochRecord, EvaluationRecord
from archspec.results.status import StudyStatus
from archspec.schema.load import network_from
from archspec.schema.network import Network
from archspec.schema.source import read_text
from archspec.search.attempt import Evaluator, Stopped
from archspec.search.candidate import Observer
from archspec.search.heartbeat import Heartbeat
from archspec.search.job import Job
from archspec.search.machine import is_gone
from archspec.search.processes import ForkServer
from archspec.search.proposals import Claimed, Proposals
from archspec.search.pruning import EarlyStopping, GoesOn
from archspec.search.racing import next_round
from archspec.search.study import Study
from archspec.search.suggest import SpaceExhausted

SECONDS_BETWEEN_TURNS = 0.05
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_RECONCILIATIONS = 60.0
SECONDS_BETWEEN_SEARCHES_FOR_DEAD = 1.0


class Stop:
    """Whether the worker was told to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def asked(self) -> bool:
        return self.signal is not None

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM as the wish to stop. The second one is an interrupt at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number

    def leave(self) -> None:
        """End as the signal says: as Ctrl-C does, or as a terminated process does."""
        if self.signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


@dataclass
class Worker:
    """Runs trials. Everything it needs is made by `runner.py`."""

    study: Study
    status: StudyStatus
    leases: Leases
    heartbeat: Heartbeat
    server: ForkServer
    proposals: Proposals
    job: Job
    observer: Observer
    stop: Stop
    exhausted: SpaceExhausted | None = None
    reconciled: float = float("-inf")
    looked_for_dead: float = float("-inf")
    early_stopping: EarlyStopping | None = None

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + (self.study.budget.hours or float("inf")) * 3600
        self.evaluator = Evaluator(
            leases=self.leases,
            heartbeat=self.heartbeat,
            server=self.server,
            failures=self.study.failures,
            job=self.job,
            batch=self.study.recipe.batch,
            folder=self.study.folder.absolute(),
            stop_asked=self.stop.asked,
            epoch_ended=self._epoch_ended,
        )

    def run(self) -> None:
        """Work until the study is done.

        Raises:
            SpaceExhausted, StudyError: why it ends before its budget is spent.
            DatabaseAway: the database was away for longer than the study waits.
            KeyboardInterrupt, SystemExit: it was told to stop.
        """
        away_since: float | None = None
        while True:
            try:
                more = self._step() if self.proposals.is_open else self._open()
            except LeaseLost:
                more = True  # somebody else has it; there is other work
            except Stopped:
                self.stop.leave()
            except DatabaseAway:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > self.study.workers.reconnect_seconds:
                    raise
                time.sleep(SECONDS_BETWEEN_LOOKS)
                continue
            away_since = None
            if not more:
                return

    def _open(self) -> bool:
        """Open Optuna's study, which takes a turn."""
        if self.stop.asked():
            raise Stopped
        self._expire_dead()
        with self.proposals.turn() as mine:
            pass
        if not mine:
            time.sleep(SECONDS_BETWEEN_TURNS)
        return True

    def _step(self) -> bool:
        """Do the next thing; whether there is more."""
        if self.stop.asked():
            raise Stopped
        self._reconcile()
        self._expire_dead()
        for record in self.status.free(self.leases.owner):
            lease = self.leases.claim(record)
            if lease is not None:
                self.proposals.recorded(record)
                self._evaluate(record, lease)
                return True
        if time.monotonic() >= self.deadline:
            return False
        return self._propose() if self.exhausted is None else self._wait_for_others()

    def _propose(self) -> bool:
        claimed: Claimed | None = None
        with self.proposals.turn() as mine:
            if mine:
                try:
                    claimed = self.proposals.next()
                except SpaceExhausted as error:
                    self.exhausted = error
        if not mine:
            time.sleep(SECONDS_BETWEEN_TURNS)
            return True
        self.proposals.record_judgements()
        if claimed is None:
            return self._wait_for_others()
        record, lease = claimed
        if lease is not None:
            self._evaluate(record, lease)
        elif record.is_finished:
            self._ended(record)
        return True  # or it is being trained for another study: then it is reconciled when that is done

    def _wait_for_others(self) -> bool:
        if self.status.running():
            time.sleep(SECONDS_BETWEEN_LOOKS)
            return True
        self._reconcile(at_once=True)
        if self._race():
            return True
        if self.exhausted is not None:
            raise self.exhausted
        return False

    def _race(self) -> bool:
        """After the last trial: ask for the next round of new seeds; whether there is one, also asked for elsewhere."""
        if self.study.racing is None:
            return False
        store, name = self.leases.store, self.study.name
        found = race(store.get_study(name), store.evaluations(name))
        if found is None:
            return False
        asked = list(next_round(found, self.proposals.requester))
        for request in asked:
            store.start_evaluation(request)
        return bool(asked) or found.in_training > 0

    # --- one evaluation

    def _evaluate(self, record: EvaluationRecord, lease: Lease) -> None:
        self.observer.evaluation_started(record.name, self.study.recipe.epochs, _network(record))
        done = self.evaluator.run(record, lease, self._judge(record))
        finished = self.status.record(record.trial, record.reference)
        if not done or finished is None:
            return
        self._ended(finished)

    def _ended(self, record: EvaluationRecord) -> None:
        self.observer.evaluation_ended(record)
        if record.trial is not None:
            self.proposals.optuna.tell(record.trial, record)

    def _judge(self, record: EvaluationRecord) -> GoesOn | None:
        if self.study.pruner.name == "none" or record.trial is None:
            return None
        if self.early_stopping is None:
            self.early_stopping = EarlyStopping(self.study, self.status)
        return self.early_stopping.judge(record)

    def _epoch_ended(self, record: EvaluationRecord, epoch: EpochRecord) -> None:
        self.observer.epoch_ended(record.name, epoch.epoch, epoch.val_accuracy)

    def _expire_dead(self) -> None:
        """End the leases of workers of this host that are no longer there: nobody needs to wait for them."""
        if time.monotonic() - self.looked_for_dead < SECONDS_BETWEEN_SEARCHES_FOR_DEAD:
            return
        for owner, place in self.status.holders():
            if owner != self.leases.owner and is_gone(place):
                self.leases.expire(owner)
        self.looked_for_dead = time.monotonic()

    def _reconcile(self, at_once: bool = False) -> None:
        """Tell Optuna what a kill, or another study, kept from it."""
        if not at_once and time.monotonic() - self.reconciled < SECONDS_BETWEEN_RECONCILIATIONS:
            return
        optuna = self.proposals.optuna
        for record in self.status.records(optuna.untold()):
            if record.is_finished and record.trial is not None:
                optuna.tell(record.trial, record)
        self.reconciled = time.monotonic()


def _network(record: EvaluationRecord) -> Network:
    return network_from(read_text(record.spec, f"the spec of {record.name}"))
