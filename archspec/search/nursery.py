"""A worker's side of the processes of its trials: a job goes in, its messages come out, whatever becomes of it."""

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
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import archspec
from archspec.search.child import FORKS
from archspec.search.job import Job, job_values, receive, send

SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_TO_DIE = 10.0
CHARACTERS_OF_THE_LOG = 2000
TRIES = 20


@dataclass(frozen=True)
class _Parent:
    """The warm process, the channel to it and to its child, and what they print."""

    process: subprocess.Popen[bytes]
    channel: Connection
    log: IO[bytes]

    def last_words(self) -> str:
        end = os.fstat(self.log.fileno()).st_size
        # Read at a place of its own: the processes write where the file's position is.
        printed = os.pread(self.log.fileno(), CHARACTERS_OF_THE_LOG, max(0, end - CHARACTERS_OF_THE_LOG))
        return next(iter(reversed(printed.decode(errors="replace").strip().splitlines())), "")

    def close(self) -> None:
        self.channel.close()  # which ends its child, see child.py
        self.process.kill()
        self.process.wait()
        self.log.close()


class Nursery:
    """Starts the processes of trials, one at a time. The first waits for torch to be imported, the next ones do not."""

    def __init__(self, light: bool = False) -> None:
        """`light`: without torch, for jobs that ask a table."""
        self._light = light
        self._parent: _Parent | None = None
        self._job: Running | None = None

    def __enter__(self) -> Self:
        self.warm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def parent(self) -> int | None:
        """The process number of the warm parent."""
        return None if self._parent is None else self._parent.process.pid

    def warm(self) -> None:
        """Start the warm parent, unless it is there: it imports torch while the caller does other things."""
        self._made()

    def close(self) -> None:
        """End the parent and the job that may be running."""
        if self._parent is not None:
            self._parent.close()
        self._parent = self._job = None

    def start(self, job: Job) -> "Running":
        """Begin a job. The one before has ended, or is given up."""
        if self._job is not None and not self._job.over:
            self._job.kill()
            for _ in self._job.messages():
                pass
        parent = self._made()
        self._job = Running(parent)
        with suppress(BrokenPipeError, ConnectionResetError):  # then `messages` says so
            send(parent.channel, "run", job=job_values(job))
        return self._job

    def result(self, job: Job) -> dict[str, Any]:
        """The last word on a job that reports nothing on the way: its outcome (`ended`), or that it died (`exited`)."""
        said: dict[str, Any] = {}
        for _ in range(TRIES):
            last = [each for each in self.start(job).messages() if each and each["kind"] in ("ended", "exited")]
            said = last[0]
            if said["kind"] == "ended" or not self._was_killed(said["status"]):
                break
        return said

    def _was_killed(self, status: int | None) -> bool:
        """Whether the job or its parent ended by a signal: no fault of what is installed here."""
        if status is not None or self._parent is None:
            return (status or 0) < 0
        with suppress(subprocess.TimeoutExpired):
            self._parent.process.wait(SECONDS_TO_DIE)
        return (self._parent.process.returncode or 0) < 0

    def last_words(self) -> str:
        """The last line of what the processes printed as errors."""
        return "" if self._parent is None else self._parent.last_words()

    def _made(self) -> _Parent:
        if self._parent is None or self._parent.process.poll() is not None:
            self.close()
            self._parent = _started(self._light)
        return self._parent


def _started(light: bool) -> _Parent:
    ours, theirs = socket.socketpair()
    log: IO[bytes] = tempfile.TemporaryFile(prefix="archspec-trial-")  # noqa: SIM115  closed with the parent
    with theirs:
        command = [sys.executable, "-m", "archspec.search.child", str(theirs.fileno()), *(["light"] if light else [])]
        process = subprocess.Popen(
            command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stderr=log, env=environment_of_children()
        )
    return _Parent(process, Connection(ours.detach()), log)


def environment_of_children() -> dict[str, str]:
    """The environment in which a Python process finds this archspec."""
    here = str(Path(archspec.__file__).parent.parent)
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


class Running:
    """A job in its process."""

    def __init__(self, parent: _Parent) -> None:
        self.over = False
        self.pid: int | None = None
        self._parent = parent

    def answer(self, go_on: bool) -> None:
        """Answer to the end of an epoch."""
        with suppress(BrokenPipeError, ConnectionResetError):
            send(self._parent.channel, "go" if go_on else "stop")

    def kill(self) -> None:
        """End the process, wherever it is; `messages` then comes to its end."""
        if self.over:
            return
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        else:
            self._parent.process.kill()

    def messages(self) -> Iterator[dict[str, Any] | None]:
        """Every message as it comes, None in every quarter of a second without one.

        The last is `exited` with the exit code, negative for a signal; None where the parent is gone and nobody knows.
        """
        while not self.over:
            try:
                heard = bool(wait([self._parent.channel], SECONDS_BETWEEN_LOOKS))
                message = receive(self._parent.channel) if heard else None
            except (EOFError, OSError):
                message = {"kind": "exited", "status": self._status()}
            if message is None and self._parent.process.poll() is not None:
                message = {"kind": "exited", "status": self._status()}
            if message is not None and message["kind"] == "started":
                self.pid = message["pid"]
            if message is not None and message["kind"] == "exited":
                self.over = True
                if self._parent.process.poll() is not None:
                    self.kill_orphan()
            yield message

    def kill_orphan(self) -> None:
        """After the parent's death its child is nobody's: it must not train on beside its successor."""
        if FORKS and self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _status(self) -> int | None:
        """The exit code after the channel closed, where the process of the job was the parent itself."""
        deadline = time.monotonic() + SECONDS_TO_DIE
        while self._parent.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        self._parent.process.kill()
        return None if FORKS else self._parent.process.wait()

    def last_words(self) -> str:
        """The last line of what the process printed as errors."""
        return self._parent.last_words()
