"""The processes of trials: one warm parent a worker, which has imported torch and opened the images; jobs come in, and
each runs in a process of its own, forked from it in milliseconds.

A crash, a leak or a kill takes one trial. The parent itself never trains, opens a device or starts a thread: what it
has, every trial begins with. Where forking is not safe (not Linux) it runs one job itself and is replaced.

    python -m archspec.search.child DESCRIPTOR [light]        (only a worker calls it, see nursery.py)
"""

import faulthandler
import gc
import importlib
import os
import pkgutil
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from archspec.errors import ArchspecError, DataError, StoreError
from archspec.results.records import EpochRecord
from archspec.search.job import Job, Outcome, job_from, receive, send

FORKS = sys.platform == "linux"
SECONDS_BETWEEN_SIGNS = 5.0  # a sign of life is sent at most so often


class Messages:
    """What a job tells its worker."""

    def __init__(self, channel: Connection) -> None:
        self._channel = channel
        self._last = 0.0

    def alive(self) -> None:
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_SIGNS:
            self._last = now
            send(self._channel, "alive")

    def epoch(self, epoch: EpochRecord) -> bool:
        send(self._channel, "epoch", **vars(epoch))
        return bool(receive(self._channel)["kind"] == "go")

    def unsaved(self, message: str) -> None:
        send(self._channel, "unsaved", message=message)


def main() -> None:
    """Serve jobs until the worker closes the channel."""
    # Ctrl-C goes to the whole terminal; the worker decides what becomes of its trial.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    channel = Connection(int(sys.argv[1]))
    try:
        _Parent(channel).serve()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the worker is gone


class _Parent:
    def __init__(self, channel: Connection) -> None:
        self._channel = channel
        self._config: Any = None
        self._data: Any = None

    def serve(self) -> None:
        if sys.argv[2:] != ["light"]:
            _import_everything()
        gc.freeze()  # a collection in a forked process would otherwise copy every page
        while True:
            message = receive(self._channel)
            if message["kind"] != "run":
                continue  # the answer to a child that was killed before it could read it
            job = job_from(message["job"])
            try:
                self._open(job)
            except (DataError, StoreError) as error:
                _send_outcome(self._channel, Outcome("data", str(error)))
                send(self._channel, "exited", status=0)
                continue
            if not FORKS:
                _run(job, self._data, self._channel)
                return
            send(self._channel, "exited", status=os.waitstatus_to_exitcode(self._forked(job)))

    def _open(self, job: Job) -> None:
        """Open the table or the images of a job, where they are not those of the one before."""
        wanted = job.table or job.data
        if wanted == self._config or not wanted:
            return
        if job.table:
            from archspec.search.table import read_table

            self._data, self._config = read_table(job.table), wanted
            return
        from archspec.search.data.config import DataConfig
        from archspec.search.data.load import open_data

        self._data = open_data(DataConfig.model_validate(dict(job.data)))
        self._config = wanted

    def _forked(self, job: Job) -> int:
        """Run the job in a child and wait for its end; its wait status."""
        with warnings.catch_warnings():
            # Python 3.12 warns of threads, which here are only those of numpy's BLAS: it is made for forks.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _run(job, self._data, self._channel)
            os._exit(0)
        return os.waitpid(pid, 0)[1]


# What training imports only when it needs it, in seconds: here once, and not in every trial.
_LATE = ("timm.optim", "timm.scheduler.scheduler_factory", "timm.utils.model_ema", "torch._dynamo")


def _import_everything() -> None:
    import archspec.kernels
    import archspec.search.tasks

    kernels = (f"archspec.kernels.{found.name}" for found in pkgutil.iter_modules(archspec.kernels.__path__))
    for name in (*_LATE, *kernels):
        importlib.import_module(name)


def _run(job: Job, data: Any, channel: Connection) -> None:
    """Run a job to its outcome. Only the death of the process keeps the outcome from being told."""
    send(channel, "started", pid=os.getpid())
    threading.Thread(target=_end_with, args=(channel.fileno(),), daemon=True).start()
    try:
        outcome = _outcome(job, data, Messages(channel))
        _send_outcome(channel, outcome)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(1)  # the worker is gone: somebody else goes on from the checkpoint
    sys.stderr.flush()


def _outcome(job: Job, data: Any, reports: Messages) -> Outcome:
    try:
        return _function(job)(job, data, reports)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except ArchspecError as error:
        return Outcome("error", str(error))
    except Exception as error:
        # A trial may fail in any way that a network can; the study goes on, so every failure is an outcome.
        return Outcome("error", f"{type(error).__name__}: {error}")


def _function(job: Job) -> Callable[[Job, Any, Messages], Outcome]:
    if job.task == "replay":
        from archspec.search.replays import replay_task

        return replay_task
    from archspec.search.tasks import TASKS

    return TASKS[job.task]


def _send_outcome(channel: Connection, outcome: Outcome) -> None:
    send(channel, "ended", **vars(outcome))


def _end_with(descriptor: int) -> None:
    """End this process when its worker is gone: nobody would record what it does."""
    poll = select.poll()
    poll.register(descriptor, 0)  # asks for nothing but the hang-up, and leaves messages alone
    poll.poll()
    os._exit(1)


if __name__ == "__main__":
    main()
