"""Many workers, and kill -9 of any of their processes every few seconds: is every trial recorded, each once?

    python benchmarks/soak.py                                              300 trials, 8 workers, SQLite
    python benchmarks/soak.py --database postgresql://user@host/database
    python benchmarks/soak.py --kill-every 0                               what the framework costs when nothing dies

Trials are as small as they get (one epoch of 32 images), so that what is measured is everything else. After the run
the tables are checked: each trial has one outcome, no token was given twice, nothing runs without a lease, and Optuna's
book says the same as ours.
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
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from archspec.search.runner import open_store  # noqa: E402
from archspec.search.study import Study, load_study  # noqa: E402
from studies import SPACE, check_books, trials_of  # noqa: E402

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


def processes(root: int) -> dict[int, list[str]]:
    """The descendants of a process, with their command lines."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, new = set(), {root}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    lines = {}
    for process in found:
        try:
            lines[process] = Path(f"/proc/{process}/cmdline").read_text().split("\0")
        except OSError:
            continue
    return lines


def kind_of(process: int, lines: dict[int, list[str]]) -> str:
    """What a process of the command is."""
    if "archspec.search.foreman" in lines[process]:
        return "worker"
    parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return "trial" if "archspec.search.child" in lines.get(parent, []) else "parent of trials"


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
    rng, kills, restarts = random.Random(arguments.seed), dict.fromkeys(("worker", "parent of trials", "trial"), 0), 0
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
        lines = processes(command.pid)
        if not any("archspec.search.foreman" in line for line in lines.values()):
            continue  # the command is still looking at the machine
        try:
            victim = rng.choice(sorted(lines))
            kind = kind_of(victim, lines)
            os.kill(victim, signal.SIGKILL)
        except (IndexError, OSError):
            continue
        kills[kind] += 1
    seconds = time.perf_counter() - began
    if command.returncode:
        raise SystemExit(f"the command failed: {command.stderr.read().decode() if command.stderr else ''}")
    check_books(study, arguments.trials)
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
    print(f"{seconds:.1f} s, of which {busy:.1f} s from the first trial to the last; training {trained:.1f} s in all")
    print(f"framework: {each:.3f} s a trial and worker; {len(records) / busy:.1f} trials a second")
    print("every trial has exactly one outcome; the tables and Optuna's book agree")


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
