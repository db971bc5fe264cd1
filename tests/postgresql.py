"""A real PostgreSQL server of a test's own: started, stopped and started again."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl: newest Debian package, else pg_config's, else the PATH's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    config = shutil.which("pg_config")
    if config is not None:
        answer = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        found.append(Path(answer.stdout.strip()))
    on_path = shutil.which("initdb")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    complete = (path for path in found if (path / "initdb").exists() and (path / "pg_ctl").exists())
    return next(complete, None)


class PostgreSQL:
    """A fresh server; `url` is of its maintenance database: make a database or a schema of your own in it."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # Not pytest's own folder: `nobody` must be able to enter, and a socket's path has at most 107 bytes.
        self._root = Path(tempfile.mkdtemp(prefix="archspec-postgresql-"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(self._root, "nobody")
            self._as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.url = f"postgresql://archspec@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> Self:
        try:
            self._call("initdb", "-U", "archspec", "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync")
            self.start()
        except BaseException:
            shutil.rmtree(self._root, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self._root, ignore_errors=True)

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self._port} -c unix_socket_directories={self._root} -c fsync=off"
        self._call("pg_ctl", "-w", "-t", "60", "-l", str(self._root / "server.log"), "-o", options, "start")

    def stop(self) -> None:
        """At once, as if it had crashed."""
        self._call("pg_ctl", "-m", "immediate", "-w", "stop")

    def _call(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._programs / program), "-D", str(self._root / "data"), *arguments]
        # The server inherits the output, so it goes to a file: a pipe would stay open and block this call.
        with (self._root / f"{program}.log").open("w") as log:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd="/", check=False, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {(self._root / f'{program}.log').read_text()}")
