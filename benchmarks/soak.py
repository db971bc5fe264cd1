"""Many workers, and kill -9 of any of their processes every few seconds: is every trial recorded, each once?

    python benchmarks/soak.py                                              300 trials, 8 workers, SQLite
    python benchmarks/soak.py --database postgresql://user@host/database
    python benchmarks/soak.py --kill-every 0                               what the framework costs when nothing dies

Trials are as small as they get (one epoch of 32 images), so that what is measured is everything else. After the run
the tables are checked: each trial has one outcome, no token was given twice, nothing runs without a lease, and Optuna's
study says the same as our tables.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from archspec.search.runner import open_store  # noqa: E402
from archspec.search.study import Study, load_study  # noqa: E402
from studies import SPACE, check_invariants, descendants, trials_of  # noqa: E402

WIDE = SPACE.replace("{choose: [8, 12, 16]}", "{range: [4, 64]}").replace("params <= 3K", "params <= 60K")
STUDY = """
study: 1
name: soak
space: space.yaml
data: {name: fractal, size: 16, train: 32, val: 16, classes: 4, seed: 1}
recipe: {epochs: 1, batch: 16, lr: 1e-3}
objectives: [{maximise: accuracy}, {minimise: macs}]
threads: 1
workers: {lease_seconds: 20}
"""


KINDS = {"archspec-worker": "worker", "archspec-fork": "fork server", "archspec-trial": "trial"}
"""What the processes of a command call themselves, see `name_process`."""


def kinds_of(command: int) -> dict[int, str]:
    """The processes under a command, and what each is."""
    found = {}
    for process in descendants(command):
        with suppress(OSError):
            found[process] = KINDS.get(Path(f"/proc/{process}/comm").read_text().strip(), "")
    return {process: kind for process, kind in found.items() if kind}


def start(study: Study, file: Path, workers: int, changes: list[str]) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", "from archspec.cli import main; main()", "search", str(file)]
    words += ["--workers", str(workers), "--json"]
    for change in changes:
        words += ["--set", change]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def run(arguments: argparse.Namespace, folder: Path) -> None:
    (folder / "space.yaml").write_text(WIDE)
    (folder / "study.yaml").write_text(STUDY)
    changes = [f"output={folder / 'results'}", f"budget.trials={arguments.trials}", f"seed={arguments.seed}"]
    changes += [f"sampler.name={arguments.sampler}", f"name=soak_{uuid.uuid4().hex[:8]}"]
    changes += [f"storage={arguments.database}"] if arguments.database else []
    study = load_study(folder / "study.yaml", tuple(changes))
    rng, kills, restarts = random.Random(arguments.seed), dict.fromkeys(KINDS.values(), 0), 0
    began = time.perf_counter()
    command = start(study, folder / "study.yaml", arguments.workers, changes)
    while command.poll() is None:
        time.sleep(arguments.kill_every * rng.uniform(0.5, 1.5) if arguments.kill_every else 0.5)
        if not arguments.kill_every:
            continue
        if rng.random() < 0.03:  # the command itself: its workers notice, and it is typed again
            command.kill()
            command.wait()
            restarts += 1
            command = start(study, folder / "study.yaml", arguments.workers, changes)
            continue
        victims = kinds_of(command.pid)
        if "worker" not in victims.values():
            continue  # the command is still looking at the machine
        victim = rng.choice(sorted(victims))
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            kills[victims[victim]] += 1
    seconds = time.perf_counter() - began
    if command.returncode:
        raise SystemExit(f"the command failed: {command.stderr.read().decode() if command.stderr else ''}")
    check_invariants(study, arguments.trials)
    report(study, arguments, seconds, kills, restarts)


def report(study: Study, arguments: argparse.Namespace, seconds: float, kills: dict[str, int], restarts: int) -> None:
    records = trials_of(study)
    states = {state: sum(record.state == state for record in records) for state in ("complete", "failed")}
    trained = sum(epoch.seconds or 0.0 for record in records for epoch in record.curve)
    with open_store(study) as store:
        attempts = [attempt for record in records for attempt in store.attempts(record.uuid)]
    exits = {str(kind): sum(a.exit == kind for a in attempts) for kind in sorted({str(a.exit) for a in attempts})}
    first, last = min(a.started for a in attempts), max(a.ended for a in attempts if a.ended)
    busy = (last - first).total_seconds()
    each = (busy * arguments.workers - trained) / len(records)
    killed = ", ".join(f"{count} of a {kind}" for kind, count in kills.items())
    where = f"{arguments.database or 'SQLite'}, {arguments.workers} workers, {os.cpu_count()} cores"
    print(f"{len(records)} trials on {where}")
    print(f"outcomes: {states['complete']} complete, {states['failed']} failed; {len(attempts)} attempts: {exits}")
    print(f"kill -9: {killed}, {restarts} of the command")
    print(f"load of the machine (1 minute): {os.getloadavg()[0]:.1f}")
    print(f"{seconds:.1f} s, of which {busy:.1f} s from the first trial to the last; training {trained:.1f} s in all")
    print(f"framework: {each:.3f} s a trial and worker; {len(records) / busy:.1f} trials a second")
    print("every trial has exactly one outcome; our tables and Optuna's agree")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--database", default="", help="a URL of PostgreSQL; left out: SQLite files")
    parser.add_argument("--kill-every", type=float, default=3.0, help="seconds, on average; 0: nothing is killed")
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--seed", type=int, default=0)
    with tempfile.TemporaryDirectory() as folder:
        run(parser.parse_args(), Path(folder))


if __name__ == "__main__":
    main()
