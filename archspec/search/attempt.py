"""A claimed evaluation goes in; it runs in a process of its own, and what that comes to is in the store.

The worker's part of a trial: it writes every epoch under its lease, asks the pruner, watches the clock, and decides by
the study's policies what becomes of an attempt that failed.
"""

import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from archspec.errors import StoreError, StudyError
from archspec.results.database import DatabaseAway
from archspec.results.leases import RECLAIMS, Lease, LeaseLost, Leases
from archspec.results.records import Cause, EpochRecord, EvaluationRecord
from archspec.search.heartbeat import Heartbeat
from archspec.search.job import Job, Outcome
from archspec.search.machine import kernel_kills
from archspec.search.policies import Cause as FailureCause
from archspec.search.policies import Failures, is_failure
from archspec.search.processes import ForkServer, TrialProcess
from archspec.search.pruning import GoesOn


class Stopped(Exception):
    """The worker was told to stop; its trial is resumed by the next one."""


@dataclass(frozen=True)
class Evaluator:
    """Runs claimed evaluations, one at a time."""

    leases: Leases
    heartbeat: Heartbeat
    server: ForkServer
    failures: Failures
    job: Job
    """What all jobs of the study have in common."""
    batch: int
    folder: Path
    stop_asked: Callable[[], bool]
    epoch_ended: Callable[[EvaluationRecord, EpochRecord], None]

    def run(self, record: EvaluationRecord, lease: Lease, goes_on: GoesOn | None = None) -> bool:
        """Run one attempt; whether the evaluation now has its outcome (of this worker). False: it is free again.

        Raises:
            StudyError: the policy of its failure stops the study; the evaluation is free.
            Stopped: the worker was told to stop; the evaluation is free.
            LeaseLost: another worker has it.
            StoreError: the database is away for longer than the study waits.
        """
        self.heartbeat.hold(lease)
        try:
            return _Attempt(self, record, lease, goes_on).run()
        except LeaseLost:
            self._discard(record, lease)
            raise
        except DatabaseAway:
            raise  # the lease runs out, or this worker goes on when the database is back
        except BaseException:
            with suppress(StoreError):
                self.leases.release(lease, "released")
            raise
        finally:
            self.heartbeat.drop(lease)

    def checkpoint(self, record: EvaluationRecord, token: int) -> Path:
        """The file that the attempt with this token writes: no other attempt writes it, however late it wakes up."""
        return self._folder(record) / f"attempt-{token}.pt"

    def earlier(self, record: EvaluationRecord, token: int) -> tuple[str, ...]:
        """The checkpoints of earlier attempts, newest first."""
        tokens = {_token(path) for path in self._folder(record).glob("attempt-*.pt*")}
        return tuple(str(self.checkpoint(record, each)) for each in sorted(tokens, reverse=True) if each < token)

    def remove_checkpoints(self, record: EvaluationRecord) -> None:
        """The evaluation is finished."""
        shutil.rmtree(self._folder(record), ignore_errors=True)

    def _folder(self, record: EvaluationRecord) -> Path:
        if record.checkpoint is not None and Path(record.checkpoint).exists():
            return Path(record.checkpoint).parent  # begun by another study
        return self.folder / "checkpoints" / record.uuid

    def _discard(self, record: EvaluationRecord, lease: Lease) -> None:
        own = self.checkpoint(record, lease.token)
        for path in own.parent.glob(f"*{own.name}*"):
            path.unlink(missing_ok=True)


def _token(path: Path) -> int:
    """The token in the name of a checkpoint, or of the one before it (`attempt-3.pt.previous`)."""
    return int(path.name.split(".")[0].removeprefix("attempt-"))


@dataclass
class _Attempt:
    evaluator: Evaluator
    record: EvaluationRecord
    lease: Lease
    goes_on: GoesOn | None
    outcome: Outcome | None = None
    micro_batch: int | None = None
    started: float = field(default_factory=time.monotonic)

    def run(self) -> bool:
        leases = self.evaluator.leases
        exits = [attempt.exit for attempt in leases.attempts(self.record.uuid)] if self.lease.token > 1 else []
        if exits.count("lost") > RECLAIMS:
            return self._finish(Outcome("killed", f"its worker was lost {exits.count('lost')} times"))
        kills = kernel_kills()
        running = self.evaluator.server.start(self._job(exits.count("out_of_memory")))
        try:
            exit_code = self._watch(running)
        except BaseException:
            self._abandon(running)
            raise
        finally:
            running.kill()
        return self._end(running, exit_code, kernel_kills() > kills, exits)

    def _abandon(self, running: TrialProcess) -> None:
        """End the process in the midst of its work, and remove the checkpoint that it was writing."""
        running.kill()
        for _ in running.messages():
            pass  # until it is gone and writes no more
        own = self.evaluator.checkpoint(self.record, self.lease.token)
        own.with_name(f".{own.name}.partial").unlink(missing_ok=True)

    def _job(self, times_out_of_memory: int) -> Job:
        evaluator = self.evaluator
        if evaluator.failures.out_of_memory.micro_batch == "halve" and times_out_of_memory:
            self.micro_batch = max(1, -(-evaluator.batch // 2**times_out_of_memory))
        checkpoint = evaluator.checkpoint(self.record, self.lease.token)
        return replace(
            evaluator.job,
            spec=self.record.spec,
            digest=self.record.digest,
            seed=self.record.seed,
            trial=-1 if self.record.trial is None else self.record.trial,
            checkpoint=str(checkpoint),
            earlier=evaluator.earlier(self.record, self.lease.token),
            micro_batch=self.micro_batch,
        )

    # --- while it runs

    def _watch(self, running: TrialProcess) -> int | None:
        """Follow the messages to the end of the process; its exit code."""
        heard = time.monotonic()
        for message in running.messages():
            now = time.monotonic()
            if message is not None:
                heard = now
                if message["kind"] == "exited":
                    exit_code: int | None = message["exit_code"]
                    return exit_code
                self._receive(running, message)
            if self.outcome is not None:
                return 0  # the process goes on to its end while the outcome is written
            self._check(running, now, now - heard)
        return None

    def _receive(self, running: TrialProcess, message: dict[str, Any]) -> None:
        kind = message.pop("kind")
        if kind == "epoch":
            epoch = EpochRecord(**message)
            path = self.evaluator.checkpoint(self.record, self.lease.token)
            self.evaluator.leases.record_epoch(self.lease, epoch, str(path) if path.exists() else None)
            self.evaluator.epoch_ended(self.record, epoch)
            running.answer(go_on=self.goes_on is None or self.goes_on(epoch))
        elif kind == "unsaved":
            detail = {"message": message["message"]}
            self.evaluator.leases.store.record_event(self.record.study, "unsaved", self.record.trial, detail)
        elif kind == "ended":
            self.outcome = Outcome(**message)

    def _check(self, running: TrialProcess, now: float, silent: float) -> None:
        if self.evaluator.heartbeat.has_lost(self.lease):
            raise LeaseLost(f"another worker has {self.record.name}")
        if self.evaluator.stop_asked():
            raise Stopped
        limits = self.evaluator.failures.timeout
        for minutes, spent, what in (
            (limits.minutes, now - self.started, "it took longer than {} minutes"),
            (limits.silent_minutes, silent, "no step of training in {} minutes"),
        ):
            if minutes is not None and spent > 60 * minutes:
                self.outcome = Outcome("timeout", what.format(f"{minutes:g}"))
                running.kill()

    # --- afterwards

    def _end(self, running: TrialProcess, exit_code: int | None, kernel_killed: bool, exits: list[Any]) -> bool:
        outcome = self.outcome
        if outcome is None and exit_code is None:
            # The fork server was killed, not the trial: as if the worker was lost.
            self.evaluator.leases.release(self.lease, "lost", "the fork server was killed")
            return False
        if outcome is None:
            outcome = _death(running, exit_code or 0, kernel_killed)
        if not is_failure(outcome.cause):
            return self._finish(outcome)
        cause: FailureCause = outcome.cause  # type: ignore[assignment]
        policy = self.evaluator.failures.policy(cause)
        if exits.count(cause) < policy.retries:
            self.evaluator.leases.release(self.lease, outcome.cause, outcome.message)
            return False
        if policy.then == "stop":
            self.evaluator.leases.release(self.lease, outcome.cause, outcome.message)
            raise StudyError(
                f"{self.record.name} failed, and `failures.{cause}` says to stop\n    found: {outcome.message}"
                "\n    the same command resumes it"
            )
        return self._finish(outcome)

    def _finish(self, outcome: Outcome) -> bool:
        earlier = sum(epoch.seconds or 0.0 for epoch in self.record.curve)
        seconds = earlier + time.monotonic() - self.started
        cause: Cause = outcome.cause
        values = {name: float(value) for name, value in outcome.values.items()}
        message = outcome.message
        if self.micro_batch is not None:
            smaller = f"{self.micro_batch} images at a time, after running out of memory"
            message = "; ".join(filter(None, (message, smaller)))
        self.evaluator.leases.finish(self.lease, cause, values=values, message=message, seconds=seconds)
        self.evaluator.remove_checkpoints(self.record)
        return True


def _death(running: TrialProcess, exit_code: int, kernel_killed: bool) -> Outcome:
    """The outcome of a process that died without one."""
    words = running.last_words()
    said = f"; it said: {words}" if words else ""
    if exit_code >= 0:
        return Outcome("killed", f"the process of the trial ended with exit code {exit_code}{said}")
    if exit_code == -signal.SIGKILL and kernel_killed:
        return Outcome("out_of_memory", f"the kernel killed the process of the trial for memory{said}")
    return Outcome("killed", f"the process of the trial was ended by {_signal_name(-exit_code)}{said}")


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
