"""The fork server of a worker: a process that has imported torch and opened the images; jobs come in by a channel, and
each runs in a process of its own, forked from this one in milliseconds.

A crash, a leak or a kill takes one trial. The server itself never trains, opens a device or starts a thread: what it
has, every trial begins with. It can clone itself for another worker. Where forking is not safe (not Linux) it runs one
job itself and is replaced.

    python -m archspec.search.forkserver DESCRIPTOR [light]        (only a worker calls it, see processes.py)
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
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any

from archspec.errors import ArchspecError
from archspec.results.records import EpochRecord
from archspec.search.job import Job, Outcome, job_from, receive, send
from archspec.search.machine import name_process

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
    name_process("archspec-fork")
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the worker is gone
        _Server(Connection(int(sys.argv[1]))).serve()
    sys.stderr.flush()
    os._exit(0)  # to take torch down in good order takes a second


class _Server:
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
            if message["kind"] == "clone":
                self._clone()
            elif message["kind"] == "run":
                self._run(job_from(message["job"]))
            # else the answer to a trial that was killed before it could read it

    def _clone(self) -> None:
        """Fork another server, which serves the channel that comes after the message, and prints to the file there."""
        channel, log = recv_handle(self._channel), recv_handle(self._channel)
        with suppress(ChildProcessError):  # clones that have ended
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if _fork() == 0:
            self._channel.close()
            self._channel = Connection(channel)
            os.dup2(log, sys.stderr.fileno())
            send(self._channel, "cloned", pid=os.getpid())
        else:
            os.close(channel)
        os.close(log)

    def _run(self, job: Job) -> None:
        try:
            self._open(job)
        except Exception as error:
            # Whatever is wrong with the images is no fault of this process, which goes on to serve.
            said = str(error) if isinstance(error, ArchspecError) else f"{type(error).__name__}: {error}"
            send(self._channel, "ended", **vars(Outcome("data", said)))
            send(self._channel, "exited", exit_code=0)
            return
        if not FORKS:
            _run(job, self._data, self._channel)
            os._exit(0)
        child = _fork()
        if child == 0:
            _run(job, self._data, self._channel)
            os._exit(0)
        send(self._channel, "exited", exit_code=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

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


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of threads, which here are only those of numpy's BLAS: it is made for forks.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


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
    name_process("archspec-trial")
    send(channel, "started", pid=os.getpid())
    threading.Thread(target=_end_with, args=(channel.fileno(),), daemon=True).start()
    try:
        send(channel, "ended", **vars(_outcome(job, data, Messages(channel))))
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


def _end_with(descriptor: int) -> None:
    """End this process when its worker is gone: nobody would record what it does."""
    poll = select.poll()
    poll.register(descriptor, 0)  # asks for nothing but the hang-up, and leaves messages alone
    poll.poll()
    os._exit(1)


if __name__ == "__main__":
    main()
