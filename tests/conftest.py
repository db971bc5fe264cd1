"""Fixtures that several files share: a real PostgreSQL server, an empty database, one thread, a space from a text."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgresql import PostgreSQL, binaries
from sqlalchemy import make_url, text

from archspec.results.engine import open_engine
from archspec.search.processes import ForkServer
from archspec.search.space import SearchSpace, load_space

# A process of tests for each core: more threads in each would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def postgresql_programs() -> Path:
    """The folder of initdb and pg_ctl."""
    found = binaries()
    if found is None:
        pytest.skip("no PostgreSQL server found: apt-get install postgresql (initdb and pg_ctl are needed)")
    return found


@pytest.fixture(scope="session")
def postgresql_url(postgresql_programs: Path) -> Iterator[str]:
    """The URL of the maintenance database of a fresh server; make a database of your own in it."""
    with PostgreSQL(postgresql_programs) as server:
        yield server.url


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where images are kept, also by the processes that tests start: nothing is written into the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("ARCHSPEC_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def server(cache: Path) -> Iterator[ForkServer]:
    """A fork server for the trials of all tests: torch is imported once."""
    with ForkServer() as warm:
        yield warm


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """What is compared to the bit is computed by one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def space_of(tmp_path: Path) -> Callable[..., SearchSpace]:
    """A search space read from a text, as a file of that name."""

    def made(text: str, name: str = "small.yaml") -> SearchSpace:
        (tmp_path / name).write_text(text)
        return load_space(tmp_path / name)

    return made


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
