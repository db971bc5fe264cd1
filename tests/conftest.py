"""Fixtures for the whole session: a real PostgreSQL server, and an empty database."""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from archspec.results.engine import open_engine


def _postgresql_binaries() -> Path | None:
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of the maintenance database of a fresh server; make a database of your own in it."""
    binaries = _postgresql_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server found: apt-get install postgresql (initdb and pg_ctl are needed)")
    # Not pytest's own folder: `nobody` must be able to enter, and a socket's path has at most 107 bytes.
    root = Path(tempfile.mkdtemp(prefix="archspec-postgresql-"))
    as_user: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(root, "nobody")
        as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]

    def call(program: str, *arguments: str) -> None:
        command = [*as_user, str(binaries / program), "-D", str(root / "data"), *arguments]
        # The server inherits the output, so it goes to a file: a pipe would stay open and block this call.
        with (root / f"{program}.log").open("w") as log:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd="/", check=False, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {(root / f'{program}.log').read_text()}")

    port = _free_port()
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories={root} -c fsync=off"
    try:
        call("initdb", "-U", "archspec", "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync")
        call("pg_ctl", "-w", "-t", "60", "-l", str(root / "server.log"), "-o", options, "start")
        yield f"postgresql://archspec@127.0.0.1:{port}/postgres"
        call("pg_ctl", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/results.db"
    server = make_url(request.getfixturevalue("postgresql_url"))
    # A schema of its own is as empty as a database of its own, and made a hundred times faster.
    name = f"test_{uuid.uuid4().hex}"
    maintenance = open_engine(server.render_as_string())
    with maintenance.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    maintenance.dispose()
    return server.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string()
