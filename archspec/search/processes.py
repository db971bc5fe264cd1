"""A worker's side of the processes of its trials: a job goes in, its messages come out, whatever becomes of it.

The other side is forkserver.py.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import send_handle
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import archspec
from archspec.search.forkserver import FORKS
from archspec.search.job import Job, job_values, receive, send
from archspec.search.machine import is_running

SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_TO_DIE = 10.0
CHARACTERS_OF_THE_LOG = 2000
TRIES = 20


@dataclass(frozen=True)
class Descriptors:
    """The two files by which a worker has a fork server: the channel to it, and what it and its trials print."""

    channel: int
    log: int

    def close(self) -> None:
        """Close this process's copies."""
        os.close(self.channel)
        os.close(self.log)


@dataclass
class _Server:
    """A fork server that runs."""

    pid: int
    channel: Connection
    log: int
    process: subprocess.Popen[bytes] | None
    """None for a clone, which is the child of another fork server."""

    def is_running(self) -> bool:
        return is_running(self.pid) if self.process is None else self.process.poll() is None

    def kill(self) -> None:
        if self.is_running():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def exit_code(self) -> int | None:
        """Its exit code, once it is gone; None where nobody knows."""
        deadline = time.monotonic() + SECONDS_TO_DIE
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.kill()
        return None if self.process is None else self.process.wait()

    def last_words(self) -> str:
        end = os.fstat(self.log).st_size
        # Read at a place of its own: the processes write where the file's position is.
        printed = os.pread(self.log, CHARACTERS_OF_THE_LOG, max(0, end - CHARACTERS_OF_THE_LOG))
        return next(iter(reversed(printed.decode(errors="replace").strip().splitlines())), "")

    def close(self) -> None:
        self.channel.close()  # which ends its trial too, see forkserver.py
        self.kill()
        if self.process is not None:
            self.process.wait()
        os.close(self.log)


class ServerGone(Exception):
    """The fork server was killed, and whoever lent it has to lend another one."""


class ForkServer:
    """Starts the processes of trials, one at a time: the first waits for torch to be imported, the next ones do not."""

    def __init__(self, light: bool = False, clone: Descriptors | None = None, lent: bool = False) -> None:
        """`light`: without torch, for jobs that ask a table. `clone`: of a server that is warm already. `lent`: when it
        is gone, that is a ServerGone; otherwise another server is started here, which imports torch.
        """
        self._light, self._lent = light, lent
        self._server = None if clone is None else _adopted(clone)
        self._trial: TrialProcess | None = None

    def __enter__(self) -> Self:
        self.warm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process number of the server."""
        return None if self._server is None else self._server.pid

    def warm(self) -> None:
        """Start the server, unless it is there: it imports torch while the caller does other things."""
        self._running()

    def clone(self) -> Descriptors | None:
        """Another server for another worker, in milliseconds and sharing memory; None where processes cannot fork."""
        if not FORKS:
            return None
        server = self._running()
        ours, theirs = socket.socketpair()
        log = _log()
        with ours, theirs, suppress(BrokenPipeError, ConnectionResetError):  # then the channel is at its end at once
            send(server.channel, "clone")
            for descriptor in (theirs.fileno(), log):
                send_handle(server.channel, descriptor, server.pid)
            return Descriptors(ours.detach(), log)
        os.close(log)
        return None

    def close(self) -> None:
        """End the server and the trial that may be running."""
        if self._server is not None:
            self._server.close()
        self._server = self._trial = None

    def start(self, job: Job) -> "TrialProcess":
        """Begin a job. The one before has ended, or is given up."""
        if self._trial is not None and not self._trial.over:
            self._trial.kill()
            for _ in self._trial.messages():
                pass
        server = self._running()
        self._trial = TrialProcess(server)
        with suppress(BrokenPipeError, ConnectionResetError):  # then `messages` says so
            send(server.channel, "run", job=job_values(job))
        return self._trial

    def result(self, job: Job) -> dict[str, Any]:
        """The last word on a job that reports nothing on the way: its outcome (`ended`), or that it died (`exited`)."""
        said: dict[str, Any] = {}
        for _ in range(TRIES):
            last = [each for each in self.start(job).messages() if each and each["kind"] in ("ended", "exited")]
            said = last[0]
            if said["kind"] == "ended" or not self._was_killed(said["exit_code"]):
                break
        return said

    def _was_killed(self, exit_code: int | None) -> bool:
        """Whether the job or its server ended by a signal: no fault of what is installed here."""
        if exit_code is None and self._server is not None:
            exit_code = self._server.exit_code()
        return (exit_code or 0) < 0

    def last_words(self) -> str:
        """The last line of what the processes printed as errors."""
        return "" if self._server is None else self._server.last_words()

    def _running(self) -> _Server:
        if self._server is None or not self._server.is_running():
            if self._lent:
                raise ServerGone
            self.close()
            self._server = _started(self._light)
        return self._server


def _started(light: bool) -> _Server:
    ours, theirs = socket.socketpair()
    log = _log()
    with theirs:
        command = [sys.executable, "-m", "archspec.search.forkserver", str(theirs.fileno()), *["light"] * light]
        process = subprocess.Popen(
            # Its output is the log: a worker's own output must end with the worker, since the supervisor reads it.
            command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=environment_of_children(),
        )  # fmt: skip
    return _Server(process.pid, Connection(ours.detach()), log, process)


def _adopted(clone: Descriptors) -> _Server | None:
    """The server at the other end; None where it died before it could say its number."""
    channel = Connection(clone.channel)
    try:
        return _Server(int(receive(channel)["pid"]), channel, clone.log, None)
    except (EOFError, OSError):
        channel.close()
        os.close(clone.log)
        return None


def _log() -> int:
    with tempfile.TemporaryFile(prefix="archspec-trial-") as file:
        return os.dup(file.fileno())


def environment_of_children() -> dict[str, str]:
    """The environment in which a Python process finds this archspec."""
    here = str(Path(archspec.__file__).parent.parent)
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


class TrialProcess:
    """A job in its process."""

    def __init__(self, server: _Server) -> None:
        self.over = False
        self.pid: int | None = None
        self._server = server

    def answer(self, go_on: bool) -> None:
        """Answer to the end of an epoch."""
        with suppress(BrokenPipeError, ConnectionResetError):
            send(self._server.channel, "go" if go_on else "stop")

    def kill(self) -> None:
        """End the process, wherever it is; `messages` then comes to its end."""
        if self.over:
            return
        if self.pid is None:
            self._server.kill()
        else:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def messages(self) -> Iterator[dict[str, Any] | None]:
        """Every message as it comes, None in every quarter of a second without one.

        The last is `exited` with the exit code, negative for a signal; None where the server is gone and nobody knows.
        """
        while not self.over:
            message = self._next()
            if message is None and not self._server.is_running():
                message = self._next() or {"kind": "exited", "exit_code": self._unknown()}
            if message is not None and message["kind"] == "started":
                self.pid = message["pid"]
            if message is not None and message["kind"] == "exited":
                self.over = True
            yield message

    def _next(self) -> dict[str, Any] | None:
        try:
            heard = bool(wait([self._server.channel], SECONDS_BETWEEN_LOOKS))
            return receive(self._server.channel) if heard else None
        except (EOFError, OSError):
            return {"kind": "exited", "exit_code": self._unknown()}

    def _unknown(self) -> int | None:
        """The exit code where the server is gone. Its trial must not train on beside its successor."""
        if not FORKS:
            return self._server.exit_code()  # the process of the trial was the server itself
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        return None

    def last_words(self) -> str:
        """The last line of what the process printed as errors."""
        return self._server.last_words()
