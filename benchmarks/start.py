"""What a user waits for before any training: help, load and cost, a thousand specs, compiling.

    python benchmarks/start.py

Prints medians beside their goals. Each start-up is a fresh process.
"""

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from archspec.cli.output import print_table

ROOT = Path(__file__).parent.parent


def process(code: str) -> float:
    """Seconds that a fresh interpreter needs, its own start included."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - started


def measured(code: str) -> float:
    """What a fresh process prints: seconds that it measured itself."""
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


LOAD = """
import sys, time
from archspec.schema.load import load
from archspec.api import cost
load("mixer_nano")
started = time.perf_counter()
cost("swin_tiny")
print(time.perf_counter() - started)
assert "torch" not in sys.modules
"""
HELP = "import sys; sys.argv[1:] = ['--help']; from archspec.cli import main; main()"
COMPILE = """
import time, torch
from archspec import compile
compile("dw_conv_nano", seed=0)
started = time.perf_counter()
compile("swin_tiny", seed=0)
print(time.perf_counter() - started)
"""


def thousand_specs() -> float:
    """Assignment -> network -> program -> digest -> cost, of points drawn from the space around Swin-T."""
    from archspec.search.space import load_space, point, sample

    space = load_space(ROOT / "search_spaces" / "connectivity_tiny.yaml")
    rng = random.Random(0)
    drawn = [sample(space, rng) for _ in range(1000)]
    started = time.perf_counter()
    for assignment in drawn:
        found = point(space, assignment)
        _ = found.program.digest, found.cost
    return time.perf_counter() - started


MEASURES: tuple[tuple[str, Callable[[], float], float, int], ...] = (
    ("archspec --help", lambda: process(HELP), 0.5, 7),
    ("load and cost swin_tiny, after import", lambda: measured(LOAD), 0.05, 5),
    ("1,000 specs resolved, hashed, costed", thousand_specs, 5.0, 3),
    ("compile swin_tiny, after torch", lambda: measured(COMPILE), 2.0, 3),
)  # fmt: skip


def main() -> None:
    rows = []
    for what, run, goal, times in MEASURES:
        seconds = statistics.median(run() for _ in range(times))
        rows.append([what, seconds, goal, seconds <= goal])
    print_table(("what", "seconds", "at most", "met"), rows)


if __name__ == "__main__":
    main()
