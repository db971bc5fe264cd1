"""How soon a search finds the best network: samplers compared on a table of evaluations, not one network trained.

    python benchmarks/search.py --table studies/table_nano.parquet --trials 60     20 searches a method, see README.md
    python benchmarks/search.py --table studies/table_nano.parquet --seeds 50 --json search.json --plot search.html

Tasks on the same table: accuracy alone (regret: how far the mean accuracy of the network that a search would name
now lies below that of the best network in the table), and accuracy against multiply-adds (hypervolume of the networks
that were trained to their end, as a share of that of the true front), both against trials and against epochs spent; and
accuracy where 40 % of the networks run out of memory (how many of the trials do, in each third of 60).
Every search is answered with the curve of one seed of a point, so it sees the noise of training; it is judged by means.

    random          uniform over the feasible points, with repetitions, every trial to its last epoch
    tpe defaults    optuna.samplers.TPESampler() as it comes; nsga2 defaults likewise, in the second task
    evolution       regularised evolution (arXiv 1802.01548), each point once
    ours: tpe       what a study does by itself: `sampler: {name: tpe}`, no pruner
    ours: nsga2     the same on NSGA-II; in a space of a few hundred points the surrogate looks at nearly all of them,
                    whoever proposes, so the two hardly differ
    ours: ...       what becomes of it when a part is taken away, or successive halving is added (--ablations)
"""

import argparse
import json
import math
import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from scipy.stats import t

from archspec.results.records import Objective
from archspec.search.simulate import Answers, Simulation, Step, on_smaller_device
from archspec.search.space import load_space
from archspec.search.study import Pruner, Sampler
from archspec.search.table import Table, read_table

ACCURACY = (Objective("accuracy", "maximise"),)
BOTH = (*ACCURACY, Objective("macs", "minimise"))
NONE = Pruner()
HALVING = Pruner(name="successive_halving", warmup=1, reduction=3)
PRONE, TRIALS_IN_MEMORY = 0.4, 60
"""Share of networks that run out of memory in the third task, and trials of each of its searches."""
SHARES = (1 / 12, 1 / 6, 1 / 3, 1 / 2, 1.0)
"""Of the budget, at which numbers are printed."""

Inner = Callable[[int], optuna.samplers.BaseSampler]


@dataclass(frozen=True)
class Method:
    """A way to search. `inner`: Optuna's own sampler, taken as it comes."""

    sampler: Sampler
    pruner: Pruner = NONE
    inner: Inner | None = None
    wasteful: bool = False


METHODS = {
    "random": Method(Sampler(name="random"), wasteful=True),
    "tpe defaults": Method(Sampler(), inner=lambda seed: optuna.samplers.TPESampler(seed=seed), wasteful=True),
    "nsga2 defaults": Method(Sampler(), inner=lambda seed: optuna.samplers.NSGAIISampler(seed=seed), wasteful=True),
    "evolution": Method(Sampler(name="regularised_evolution")),
    "ours: tpe": Method(Sampler(name="tpe")),
    "ours: nsga2": Method(Sampler(name="nsga2")),
}
ABLATIONS = {
    "random, halving": Method(Sampler(name="random"), HALVING),
    "ours: tpe, halving": Method(Sampler(name="tpe"), HALVING),
    "ours: tpe, no surrogate": Method(Sampler(name="tpe", surrogate=False)),
    "ours: tpe, no surrogate, halving": Method(Sampler(name="tpe", surrogate=False), HALVING),
    "ours: random, surrogate": Method(Sampler(name="random", surrogate=True)),
}


@dataclass(frozen=True)
class Truth:
    """What a table knows and a search does not: means over seeds."""

    accuracy: dict[str, float]
    macs: dict[str, int]

    @classmethod
    def of(cls, table: Table) -> "Truth":
        means = {digest: table.mean_accuracy(digest) for digest in table.by_digest}
        macs = {digest: entries[0].cost["macs"] for digest, entries in table.by_digest.items()}
        return cls({digest: mean for digest, mean in means.items() if mean is not None}, macs)

    def regret(self, steps: Sequence[Step]) -> list[float]:
        """After each step: of the network trained longest, of those the one that looked best."""
        best, named, values = max(self.accuracy.values()), (0, -1.0), []
        value = best
        for step in steps:
            if (step.epochs, step.accuracy) > named and step.digest in self.accuracy:
                named = step.epochs, step.accuracy
                value = best - self.accuracy[step.digest]
            values.append(value)
        return values

    def hypervolume(self, steps: Sequence[Step]) -> list[float]:
        """After each step: of the networks trained to their end, as a share of that of all in the table."""
        reference = max(self.macs.values())
        whole = _area([(self.macs[d], a) for d, a in self.accuracy.items()], reference)
        found: list[tuple[int, float]] = []
        values: list[float] = []
        for step in steps:
            if step.complete and step.digest in self.accuracy:
                found.append((self.macs[step.digest], self.accuracy[step.digest]))
                values.append(_area(found, reference) / whole)
            else:
                values.append(values[-1] if values else 0.0)
        return values


def _area(points: Sequence[tuple[int, float]], reference: int) -> float:
    """What (macs, accuracy) points dominate, up to a number of multiply-adds and down to accuracy 0."""
    area, top = 0.0, 0.0
    for macs, accuracy in sorted(points):
        if accuracy > top:
            area += (reference - macs) * (accuracy - top)
            top = accuracy
    return area


@dataclass(frozen=True)
class Run:
    """One search: after each trial, the epochs spent so far and the value reached."""

    spent: tuple[int, ...]
    values: tuple[float, ...]
    duplicates: int

    def at(self, epochs: float, worst: float) -> float:
        """The value when so many epochs were spent."""
        reached = [value for spent, value in zip(self.spent, self.values, strict=True) if spent <= epochs]
        return reached[-1] if reached else worst

    def after(self, trials: int, worst: float) -> float:
        """The value after so many trials; of a search that had fewer, its last one."""
        return self.values[min(trials, len(self.values)) - 1] if self.values and trials else worst


_shared: dict[str, Any] = {}


def _begin(table: str, space: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = read_table(table)
    loaded = load_space(space)
    small = Answers(loaded, on_smaller_device(found, PRONE))
    _shared.update(answers=Answers(loaded, found), truth=Truth.of(found), small=small)


def _searched(job: tuple[str, bool, int, int]) -> Run:
    name, both, seed, budget = job
    method = (METHODS | ABLATIONS)[name]
    inner = method.inner(seed) if method.inner else None
    objectives = BOTH if both else ACCURACY
    search = Simulation(_shared["answers"], objectives, method.sampler, method.pruner, seed, method.wasteful, inner)
    steps = search.run(budget)
    truth: Truth = _shared["truth"]
    values = truth.hypervolume(steps) if both else truth.regret(steps)
    spent, sums = 0, []
    for step in steps:
        spent += step.epochs
        sums.append(spent)
    return Run(tuple(sums), tuple(values), sum(step.duplicate for step in steps))


def _out_of_memory(job: tuple[str, int, int]) -> tuple[float, ...]:
    """The share of trials that run out of memory, in each third of a search."""
    name, seed, epochs = job
    method = (METHODS | ABLATIONS)[name]
    inner = method.inner(seed) if method.inner else None
    search = Simulation(_shared["small"], ACCURACY, method.sampler, method.pruner, seed, method.wasteful, inner)
    failed = [step.cause == "out_of_memory" for step in search.run(TRIALS_IN_MEMORY * epochs)[:TRIALS_IN_MEMORY]]
    third = max(1, len(failed) // 3)
    return tuple(statistics.fmean(failed[start : start + third]) for start in (0, third, len(failed) - third))


def _print_memory(found: dict[str, list[tuple[float, ...]]]) -> None:
    print(f"\nmemory: share of trials that run out of it, where {100 * PRONE:.0f} % of the networks do, in %")
    print(f"{'by thirds of ' + str(TRIALS_IN_MEMORY) + ' trials':<26}" + "".join(f"{n:>15}" for n in (1, 2, 3)))
    for name, runs in found.items():
        cells = (_mean([run[third] for run in runs]) for third in range(3))
        print(f"{name:<26}" + "".join(f"{100 * mean:>8.2f} ±{100 * half:5.2f}" for mean, half in cells))


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % interval (Student)."""
    count = len(values)
    if count < 2:
        return values[0], math.nan
    return statistics.fmean(values), float(t.ppf(0.975, count - 1)) * statistics.stdev(values) / math.sqrt(count)


def _needed(runs: Sequence[Run], goal: float, rising: bool, budget: int, worst: float) -> int | None:
    """The epochs after which the mean over searches has reached the goal and stays there."""
    reached = None
    for epochs in range(budget + 1):
        value = statistics.fmean(run.at(epochs, worst) for run in runs)
        if value < goal if rising else value > goal:
            reached = None
        elif reached is None:
            reached = epochs
    return reached


def _table(runs: dict[str, list[Run]], both: bool, budget: int, epochs: int) -> list[dict[str, Any]]:
    worst = 0.0 if both else 1.0
    goal = statistics.fmean(run.at(budget, worst) for run in runs["random"])
    rows = []
    for name, found in runs.items():
        total = sum(len(run.values) for run in found)
        row: dict[str, Any] = {"method": name, "trials": round(total / len(found))}
        row["duplicates"] = sum(run.duplicates for run in found) / total
        row["needed"] = _needed(found, goal, both, budget, worst)
        row["by epochs"] = {round(s * budget): _mean([r.at(s * budget, worst) for r in found]) for s in SHARES}
        counts = [round(s * budget / epochs) for s in SHARES]
        row["by trials"] = {count: _mean([r.after(count, worst) for r in found]) for count in counts}
        rows.append(row)
    return rows


def _print(title: str, rows: Sequence[dict[str, Any]], budget: int) -> None:
    print(f"\n{title}")
    for kind in ("by epochs", "by trials"):
        heads = "".join(f"{count:>15}" for count in rows[0][kind])
        print(f"{kind:<26}{heads}" + ("  duplicates  to random's last" if kind == "by epochs" else ""))
        for row in rows:
            cells = "".join(f"{100 * mean:>8.2f} ±{100 * half:5.2f}" for mean, half in row[kind].values())
            end = ""
            if kind == "by epochs":
                need = "never" if row["needed"] is None else f"{row['needed']} epochs, {row['needed'] / budget:.2f}"
                end = f"{100 * row['duplicates']:>10.1f} %  {need}"
            print(f"{row['method']:<26}{cells}{end}")


def _drawn(path: Path, tasks: dict[str, dict[str, list[Run]]], budget: int) -> None:
    """Means and intervals against epochs, one figure a task."""
    from archspec.results.search_curves import draw_search_curves

    grid = [round(budget * step / 60) for step in range(1, 61)]
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for task, runs in tasks.items():
        worst = 1.0 if task == "regret" else 0.0
        curves[task] = {name: [_mean([r.at(e, worst) for r in found]) for e in grid] for name, found in runs.items()}
    path.write_text(draw_search_curves(grid, curves))


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--table", required=True)
    words.add_argument("--space", default=str(Path(__file__).parent.parent / "search_spaces" / "table_nano.yaml"))
    words.add_argument("--seeds", type=int, default=20)
    words.add_argument("--trials", type=int, default=100, help="the budget, in trials to the last epoch")
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--ablations", action="store_true")
    words.add_argument("--json", type=Path)
    words.add_argument("--plot", type=Path)
    asked = words.parse_args()
    table = read_table(asked.table)
    budget = asked.trials * table.facts.epochs
    names = [*METHODS, *(ABLATIONS if asked.ablations else ())]
    print(f"{asked.table}: {len(table.by_digest)} points, {table.facts.seeds} seeds, {table.facts.epochs} epochs")
    print(f"{asked.seeds} searches each, a budget of {budget} epochs = {asked.trials} full trials; mean ± 95 %, in %")
    tasks: dict[str, dict[str, list[Run]]] = {}
    said: dict[str, Any] = {}
    with multiprocessing.get_context("spawn").Pool(asked.workers, _begin, (asked.table, asked.space)) as pool:
        for task, both in (("regret", False), ("hypervolume", True)):
            runs = {}
            for name in names:
                if name != "nsga2 defaults" or both:
                    jobs = [(name, both, seed, budget) for seed in range(asked.seeds)]
                    runs[name] = pool.map(_searched, jobs, chunksize=1)
            tasks[task], said[task] = runs, _table(runs, both, budget, table.facts.epochs)
            about = "share of the hypervolume, accuracy and macs" if both else "regret of the accuracy, in points"
            _print(f"{task}: {about}", said[task], budget)
        memory = {}
        for name in names:
            if name != "nsga2 defaults":
                jobs = [(name, seed, table.facts.epochs) for seed in range(asked.seeds)]
                memory[name] = pool.map(_out_of_memory, jobs, chunksize=1)
        said["memory"] = memory
        _print_memory(memory)
    if asked.json:
        asked.json.write_text(json.dumps(said, indent=2) + "\n")
    if asked.plot:
        _drawn(asked.plot, tasks, budget)


if __name__ == "__main__":
    main()
