"""Several workers on one study, and what happens to them: kills, stops, a database that is away, a disk that is full.

After each the tables are checked (`studies.check_books`): every trial of the budget has exactly one outcome, no token
was given twice, nothing runs without a lease.
"""

import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from proxy import Proxy
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from archspec.errors import StoreError, StudyError
from archspec.results.standing import Standing
from archspec.search.nursery import Nursery
from archspec.search.runner import open_store, search
from archspec.search.study import Study
from studies import SPACE, Recorder, check_books, trials_of, wait_for, warm_nursery, write_study

COMMAND = "from archspec.cli import main; main()"
MANY = "{range: [4, 40]}"


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with warm_nursery(tmp_path_factory.getbasetemp() / "cache") as warm:
        yield warm


WIDE = ("data.train=32", "data.val=16", "sampler.name=random")


def any_trial(study: Study) -> bool:
    try:
        return any(record.curve for record in trials_of(study))
    except (StoreError, SQLAlchemyError):
        return False


def try_to_kill(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def write_wide(folder: Path, *changes: str) -> Study:
    """A study of many points, each trained in a blink."""
    space = SPACE.replace("{choose: [8, 12, 16]}", MANY).replace("params <= 3K", "params <= 60K")
    return write_study(folder, "recipe.epochs=2", *WIDE, *changes, space=space)


class Terminal:
    """The command, in a process of its own."""

    def __init__(self, folder: Path, *changes: str, workers: int = 1) -> None:
        words = ["search", str(folder / "study.yaml"), "--workers", str(workers), "--json"]
        for change in (f"output={folder / 'results'}", *changes):
            words += ["--set", change]
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self, seconds: float = 120) -> str:
        """What it said on standard error."""
        return self.process.communicate(timeout=seconds)[1]

    def children(self) -> list[int]:
        """The processes under it: workers, parents of trials, trials."""
        return descendants(self.process.pid)


def descendants(process: int) -> list[int]:
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found: list[int] = []
    new = [process]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    """Changes of a study that put it into a database of each kind."""
    if request.param == "sqlite":
        return ()
    name = re.sub(r"\W", "_", tmp_path.name)
    return (f"storage={request.getfixturevalue('postgresql_url')}", f"name={name}")


def running_trials(study: Study) -> int:
    """Trials that have an epoch recorded and no outcome."""
    return sum(not record.is_finished and bool(record.curve) for record in trials_of(study))


def attempts_of(study: Study) -> list[str | None]:
    with open_store(study) as store:
        return [each.exit for record in trials_of(study) for each in store.attempts(record.uuid)]


def test_two_workers_of_one_command_share_a_study(tmp_path: Path, storage: tuple[str, ...]) -> None:
    changes = (*storage, "budget.trials=16")
    study = write_wide(tmp_path, *changes, "references=[dw_conv_nano]")
    watched = Recorder()
    search(study, watched, workers=2)
    check_books(study, 16)
    assert len(watched.ended) == 17
    assert sorted(watched.started) == sorted({record.name for record in watched.ended})
    with open_store(study) as store:
        owners = {each.owner for record in trials_of(study) for each in store.attempts(record.uuid)}
    assert len(owners) == 2, "both took part"


def test_the_same_command_in_a_second_terminal_helps(tmp_path: Path, nursery: Nursery) -> None:
    study = write_wide(tmp_path, "budget.trials=12", "recipe.epochs=6")
    other = Terminal(tmp_path, "budget.trials=12", "recipe.epochs=6", *WIDE)
    wait_for(lambda: (study.folder / "archspec.db").exists() and any_trial(study))
    search(study, Recorder(), nursery=nursery)
    errors = other.end()
    assert other.process.returncode == 0, errors
    check_books(study, 12)
    with open_store(study) as store:
        places = {each.place for record in trials_of(study) for each in store.attempts(record.uuid)}
    assert len(places) == 2


def test_every_process_may_be_killed(tmp_path: Path, storage: tuple[str, ...]) -> None:
    """kill -9 of workers, of the parents of trials, and of trials, one every half a second, while there is work."""
    changes = (*storage, "budget.trials=30", "recipe.epochs=3", *WIDE)
    study = write_wide(tmp_path, *changes)
    command, rng, kills = Terminal(tmp_path, *changes, workers=2), random.Random(0), 0
    wait_for(lambda: any_trial(study))
    while command.process.poll() is None and kills < 12:
        time.sleep(0.5)
        victims = command.children()
        if victims:
            try_to_kill(rng.choice(victims), signal.SIGKILL)
            kills += 1
    errors = command.end()
    assert command.process.returncode == 0, errors
    assert kills > 3
    check_books(study, 30)
    assert set(attempts_of(study)) - {"ok"}, "no kill met a trial"


def test_workers_stop_with_the_command_that_started_them(tmp_path: Path) -> None:
    changes = ("budget.trials=6", "recipe.epochs=40", *WIDE)
    study = write_wide(tmp_path, *changes)
    command = Terminal(tmp_path, *changes, workers=2)
    wait_for(lambda: any_trial(study) and running_trials(study) == 2)
    workers = command.children()
    command.process.kill()
    command.end()
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), 30)
    assert "released" in attempts_of(study)
    check_books(study, len(trials_of(study)), total=False)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_gives_the_trials_back(tmp_path: Path, nursery: Nursery, number: int, status: int) -> None:
    changes = ("budget.trials=2", "recipe.epochs=60", *WIDE)
    study = write_wide(tmp_path, *changes)
    command = Terminal(tmp_path, *changes, workers=2)
    wait_for(lambda: any_trial(study) and running_trials(study) == 2)
    command.process.send_signal(number)
    errors = command.end()
    assert command.process.returncode == status, errors
    assert "Traceback" not in errors
    assert attempts_of(study) == ["released", "released"]
    assert not list(study.folder.glob("checkpoints/*/.*")), "nothing half-written"
    epochs = {record.uuid: len(record.curve) for record in trials_of(study)}
    with open_store(study) as store:
        assert len(Standing(store, study.name).free("nobody")) == 2
    search(study, Recorder(), nursery=nursery)
    check_books(study, 2)
    assert all(count > 0 for count in epochs.values())


def test_a_worker_that_is_stopped_past_its_lease_loses_its_trial(tmp_path: Path, nursery: Nursery) -> None:
    """SIGSTOP, another worker takes over, SIGCONT: what the sleeper still does is thrown away."""
    changes = ("budget.trials=2", "recipe.epochs=30", "workers.lease_seconds=2", *WIDE)
    study = write_wide(tmp_path, *changes)
    sleeper = Terminal(tmp_path, *changes)
    wait_for(lambda: any_trial(study) and running_trials(study) == 1)
    sleeper.process.send_signal(signal.SIGSTOP)
    search(study, Recorder(), nursery=nursery)
    check_books(study, 2)
    before = trials_of(study)
    sleeper.process.send_signal(signal.SIGCONT)
    errors = sleeper.end()
    assert sleeper.process.returncode == 0, errors
    check_books(study, 2)
    assert trials_of(study) == before
    assert attempts_of(study).count("lost") == 1
    assert not list(study.folder.glob("checkpoints/*/*")), "the loser leaves no file"


@pytest.mark.postgresql
def test_a_database_that_is_away_for_ten_seconds_is_waited_for(
    tmp_path: Path, postgresql_url: str, nursery: Nursery
) -> None:
    url = make_url(postgresql_url)
    name = re.sub(r"\W", "_", tmp_path.name)
    with Proxy("127.0.0.1", url.port or 5432) as proxy:
        there = url.set(port=proxy.port).render_as_string(hide_password=False)
        study = write_wide(tmp_path, f"storage={there}", f"name={name}", "budget.trials=8", "recipe.epochs=4", *WIDE)
        absence = threading.Thread(target=_be_away, args=(proxy, study, 10.0))
        absence.start()
        search(study, Recorder(), nursery=nursery)
        absence.join()
        assert proxy.refused > 0, "nobody missed it"
        check_books(study, 8)


def _be_away(proxy: Proxy, study: Study, seconds: float) -> None:
    wait_for(lambda: any_trial(study))
    proxy.away(True)
    time.sleep(seconds)
    proxy.away(False)


def test_a_disk_that_is_full_costs_checkpoints_and_no_trial(tmp_path: Path) -> None:
    """Files larger than a few kB cannot be written by the processes of trials (RLIMIT_FSIZE)."""
    study = write_wide(tmp_path, "budget.trials=3", "recipe.epochs=2")
    with warm_nursery(tmp_path / "cache") as nursery:
        resource.prlimit(nursery.parent or 0, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        search(study, Recorder(), nursery=nursery)
    check_books(study, 3)
    with open_store(study) as store:
        assert store.count_events(study.name)["unsaved"] == 6
    assert all(record.checkpoint is None for record in trials_of(study))


def test_a_study_says_why_no_worker_can_run(tmp_path: Path) -> None:
    study = write_wide(tmp_path, "recipe.optimizer=no_such_thing")
    with pytest.raises(StudyError, match="no_such_thing"):
        search(study, Recorder(), workers=2)
