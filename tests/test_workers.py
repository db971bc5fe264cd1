"""Several workers on one study, and what happens to them: kills, stops, a database that is away, a disk that is full.

After each the tables are checked (`studies.check_invariants`): every trial of the budget has exactly one outcome, no
token was given twice, nothing runs without a lease.
"""

import os
import random
import re
import resource
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from postgresql import PostgreSQL
from sqlalchemy.exc import SQLAlchemyError

from archspec.errors import StoreError, StudyError
from archspec.results.status import StudyStatus
from archspec.search.processes import ForkServer
from archspec.search.runner import open_store, search
from archspec.search.study import Study
from studies import SPACE, Recorder, Terminal, check_invariants, cloned, trials_of, wait_for, write_study

MANY = "{range: [4, 40]}"


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


def test_two_workers_of_one_command_share_a_study(tmp_path: Path, server: ForkServer, storage: tuple[str, ...]) -> None:
    changes = (*storage, "budget.trials=16")
    study = write_wide(tmp_path, *changes, "references=[dw_conv_nano]")
    watched = Recorder()
    search(study, watched, workers=2, server=server)
    check_invariants(study, 16)
    assert len(watched.ended) == 17
    assert sorted(watched.started) == sorted({record.name for record in watched.ended})
    with open_store(study) as store:
        owners = {each.owner for record in trials_of(study) for each in store.attempts(record.uuid)}
    assert len(owners) == 2, "both took part"


def test_the_same_command_in_a_second_terminal_helps(tmp_path: Path, server: ForkServer) -> None:
    study = write_wide(tmp_path, "budget.trials=12", "recipe.epochs=6")
    other = Terminal(server, tmp_path, "budget.trials=12", "recipe.epochs=6", *WIDE)
    wait_for(lambda: (study.folder / "archspec.db").exists() and any_trial(study))
    search(study, Recorder(), server=server)
    errors = other.end()
    assert other.process.returncode == 0, errors
    check_invariants(study, 12)
    with open_store(study) as store:
        places = {each.place for record in trials_of(study) for each in store.attempts(record.uuid)}
    assert len(places) == 2


def test_every_process_may_be_killed(tmp_path: Path, server: ForkServer, storage: tuple[str, ...]) -> None:
    """kill -9 of workers, of the parents of trials, and of trials, one every half a second, while there is work."""
    changes = (*storage, "budget.trials=16", "recipe.epochs=3", *WIDE)
    study = write_wide(tmp_path, *changes)
    command, rng, kills = Terminal(server, tmp_path, *changes, workers=2), random.Random(0), 0
    wait_for(lambda: any_trial(study))
    while command.process.poll() is None and kills < 6:
        time.sleep(0.5)
        victims = command.children()
        if victims:
            try_to_kill(rng.choice(victims), signal.SIGKILL)
            kills += 1
    errors = command.end()
    assert command.process.returncode == 0, errors
    assert kills > 2
    check_invariants(study, 16)
    assert set(attempts_of(study)) - {"ok"}, "no kill met a trial"


def test_workers_stop_with_the_command_that_started_them(tmp_path: Path, server: ForkServer) -> None:
    changes = ("budget.trials=100", "recipe.epochs=20", *WIDE)  # so many that both are at work at some moment
    study = write_wide(tmp_path, *changes)
    command = Terminal(server, tmp_path, *changes, workers=2)
    wait_for(lambda: any_trial(study) and running_trials(study) == 2)
    workers = command.children()
    command.process.kill()
    command.end()
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    assert "released" in attempts_of(study)
    check_invariants(study, len(trials_of(study)), total=False)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_gives_the_trials_back(tmp_path: Path, server: ForkServer, number: int, status: int) -> None:
    changes = ("budget.trials=100", "recipe.epochs=20", *WIDE)  # so many that both are at work at some moment
    study = write_wide(tmp_path, *changes)
    command = Terminal(server, tmp_path, *changes, workers=2)
    wait_for(lambda: any_trial(study) and running_trials(study) == 2)
    command.process.send_signal(number)
    errors = command.end()
    assert command.process.returncode == status, errors
    assert "Traceback" not in errors
    given_back = len(attempts_of(study)) - attempts_of(study).count("ok")
    assert given_back
    assert attempts_of(study).count("released") == given_back
    assert not list(study.folder.glob("checkpoints/*/.*")), "nothing half-written"
    begun = trials_of(study)
    with open_store(study) as store:
        assert len(StudyStatus(store, study.name).free("nobody")) == given_back
    search(write_wide(tmp_path, *changes, f"budget.trials={len(begun)}"), Recorder(), server=server)
    check_invariants(study, len(begun))


def test_a_worker_that_is_stopped_past_its_lease_loses_its_trial(tmp_path: Path, server: ForkServer) -> None:
    """SIGSTOP, another worker takes over, SIGCONT: what the sleeper still does is thrown away."""
    changes = ("budget.trials=2", "recipe.epochs=30", "workers.lease_seconds=2", *WIDE)
    study = write_wide(tmp_path, *changes)
    sleeper = Terminal(server, tmp_path, *changes)
    wait_for(lambda: any_trial(study) and running_trials(study) == 1)
    sleeper.process.send_signal(signal.SIGSTOP)
    search(study, Recorder(), server=server)
    check_invariants(study, 2)
    before = trials_of(study)
    sleeper.process.send_signal(signal.SIGCONT)
    errors = sleeper.end()
    assert sleeper.process.returncode == 0, errors
    check_invariants(study, 2)
    assert trials_of(study) == before
    assert attempts_of(study).count("lost") == 1
    assert not list(study.folder.glob("checkpoints/*/*")), "the loser leaves no file"


@pytest.mark.postgresql
def test_a_database_that_is_away_for_ten_seconds_is_waited_for(
    tmp_path: Path, postgresql_programs: Path, server: ForkServer
) -> None:
    """A real server is stopped in the midst of a study as if it had crashed, and started ten seconds later."""
    with PostgreSQL(postgresql_programs) as database:
        study = write_wide(tmp_path, f"storage={database.url}", "budget.trials=8", "recipe.epochs=4", *WIDE)
        absence = threading.Thread(target=_be_away, args=(database, study, 10.0))
        absence.start()
        begun = time.monotonic()
        search(study, Recorder(), server=server)
        assert time.monotonic() - begun > 10, "nobody missed it"
        absence.join()
        check_invariants(study, 8)
        assert set(attempts_of(study)) <= {"ok", "lost", "released"}


def _be_away(database: PostgreSQL, study: Study, seconds: float) -> None:
    wait_for(lambda: any_trial(study))
    database.stop()
    time.sleep(seconds)
    database.start()


def test_a_disk_that_is_full_costs_checkpoints_and_no_trial(tmp_path: Path, server: ForkServer) -> None:
    """Files larger than a few kB cannot be written by the processes of trials (RLIMIT_FSIZE)."""
    study = write_wide(tmp_path, "budget.trials=3", "recipe.epochs=2")
    with cloned(server) as own:
        resource.prlimit(own.pid or 0, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        search(study, Recorder(), server=own)
    check_invariants(study, 3)
    with open_store(study) as store:
        assert store.count_events(study.name)["unsaved"] == 6
    assert all(record.checkpoint is None for record in trials_of(study))


def test_a_study_says_why_no_worker_can_run(tmp_path: Path, server: ForkServer) -> None:
    study = write_wide(tmp_path, "recipe.optimizer=no_such_thing")
    with pytest.raises(StudyError, match="no_such_thing"):
        search(study, Recorder(), workers=2, server=server)
