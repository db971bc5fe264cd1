"""A search space, data, a recipe and seeds go in; every feasible point is trained, and one Parquet table comes out.

Each evaluation is a part file of its own beside the table until all are there, and training goes on from checkpoints:
whatever is killed, the same command goes on; with more seeds or points it adds to the table that is there. Several
processes may work on one table; an evaluation is trained by the process that holds the lock of its file.
"""

import json
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from multiprocessing import connection
from pathlib import Path

import torch

from archspec import __version__
from archspec.compiler import build
from archspec.errors import ArchspecError, SpecError, StoreError, StudyError
from archspec.results.records import EpochRecord
from archspec.schema.load import network_yaml
from archspec.search.cheaper import check_rungs, demanding
from archspec.search.data.config import DataConfig
from archspec.search.data.images import ImageData
from archspec.search.data.load import open_data
from archspec.search.failure import TrainingFailed
from archspec.search.growth import Growth
from archspec.search.learning_curve import EpochResult
from archspec.search.machine import environment
from archspec.search.parts import alone, read_parts, write_part
from archspec.search.recipe import Recipe
from archspec.search.space import Assignment, Point, SearchSpace, count, load_space, point, points, sample
from archspec.search.space.spread import spread
from archspec.search.table import Entry, Table, TableFacts, differing, read_table, write_table
from archspec.search.train import check_recipe, train

LARGEST = 20_000
"""Points of a space that are all looked at; of a larger one a sample is drawn."""
DRAWS = 5_000


@dataclass(frozen=True)
class Tabulation:
    """What is asked for; small enough to be handed to worker processes."""

    space: Path
    data: DataConfig
    recipe: Recipe
    seeds: int
    out: Path
    sample: int | None = None
    seed: int = 0
    """Of the sample and of the order."""
    device: str = "cpu"
    deadline: float | None = None
    """Seconds since the epoch after which no further training begins."""

    @property
    def parts(self) -> Path:
        return self.out.with_name(f"{self.out.name}.parts")


@dataclass(frozen=True)
class Roll:
    """The points of a table, in the order of training, where the table comes from, and what it holds already."""

    points: tuple[Point, ...]
    facts: TableFacts
    data: ImageData
    before: Table | None

    @cached_property
    def done(self) -> frozenset[tuple[str, int]]:
        """Digest and seed of the evaluations that the table holds."""
        return frozenset((entry.digest, entry.seed) for entry in self.before.entries) if self.before else frozenset()


def tabulate(asked: Tabulation, workers: int = 1, say: Callable[[str], None] = lambda _: None) -> tuple[Path, int, int]:
    """Train what is missing and write the table; gives its path, the evaluations in it, and those asked for.

    Seeds come one after the other, points in an order spread over the space, so that a table that was cut short
    (deadline, kill) still is a fair picture. Raises SpecError, DataError, StudyError or StoreError.
    """
    roll = enrol(asked)
    _keep_facts(asked, roll.facts)
    wanted = len(roll.points) * asked.seeds
    say(f"{len(roll.points)} of {roll.facts.points} feasible points, {asked.seeds} seeds: {wanted} evaluations")
    try:
        _work_together(asked, roll, workers, wanted, say)
    finally:
        entries = _gathered(asked, roll)
        if entries:
            write_table(asked.out, _said_of(asked, roll, entries), entries)
    enrolled = {each.program.digest for each in roll.points}
    found = sum(entry.digest in enrolled and entry.seed < asked.seeds for entry in entries)
    if found == wanted:
        shutil.rmtree(asked.parts)
    return asked.out, found, wanted


def enrol(asked: Tabulation) -> Roll:
    """The feasible points of different networks, at the size of the data. Raises StudyError where there are none."""
    data = open_data(asked.data)
    written = load_space(asked.space)
    at = {"input": {"size": data.size, "channels": 3}, "classes": len(data.classes)}
    trained = load_space(asked.space, network=at)
    rng = random.Random(f"tabulate|{asked.seed}")
    found = _feasible(written, trained, asked, rng)
    if not found:
        raise StudyError(f"space {written.name!r} has no feasible point at {data.size[0]}x{data.size[1]} pixels")
    assignments = [each.assignment for each in found]
    chosen = spread(trained, assignments, asked.sample or len(found), rng)
    facts = _facts(asked, trained, data, len(found))
    return Roll(tuple(found[number] for number in chosen), facts, data, _before(asked, facts))


def _before(asked: Tabulation, facts: TableFacts) -> Table | None:
    """The table that is added to. Raises StoreError where it is one of something else."""
    if not asked.out.exists():
        return None
    before = read_table(asked.out)
    _refuse(asked.out, facts, before.facts)
    return before


def _refuse(place: Path, facts: TableFacts, other: TableFacts) -> None:
    apart = "; ".join(differing(facts, other))
    if apart:
        raise StoreError(f"{place} holds evaluations of another table: name another --out\n    found: {apart}")


def _feasible(written: SearchSpace, trained: SearchSpace, asked: Tabulation, rng: random.Random) -> list[Point]:
    if count(written) > LARGEST and asked.sample is None:
        raise StudyError(f"{written.name} has {count(written):,} points: take some of them with --sample")
    drawn: Iterator[Assignment]
    drawn = points(written) if count(written) <= LARGEST else (sample(written, rng) for _ in range(DRAWS))
    unique: dict[str, Point] = {}
    for assignment in drawn:
        try:
            cost = point(written, assignment).cost
            found = point(trained, assignment)
            check_rungs(found.network, found.program, demanding(asked.recipe))
        except SpecError:
            continue
        if not any(bound.violation(cost) > 0 for bound in written.constraints):
            unique.setdefault(found.program.digest, found)
    return list(unique.values())


def _facts(asked: Tabulation, space: SearchSpace, data: ImageData, feasible: int) -> TableFacts:
    return TableFacts(
        space=space.name,
        space_text=space.path.read_text(),
        space_digest=space.digest,
        data=asked.data.protocol(),
        data_digest=data.digest,
        size=data.size,
        classes=len(data.classes),
        recipe=asked.recipe.fingerprint,
        epochs=asked.recipe.epochs,
        code=__version__,
        axes={gene.name: gene.axis for gene in space.genes},
        points=feasible,
        sampled=min(asked.sample or feasible, feasible),
        seeds=asked.seeds,
    )


def _keep_facts(asked: Tabulation, facts: TableFacts) -> None:
    """Note where the parts come from, or refuse to mix them with parts of something else."""
    file = asked.parts / "facts.json"
    if file.exists():
        said = json.loads(file.read_text())
        _refuse(asked.parts, facts, TableFacts(**{**said, "size": tuple(said["size"]), "machines": ()}))
    else:
        write_part(file, asdict(facts))


def _work_together(asked: Tabulation, roll: Roll, workers: int, wanted: int, say: Callable[[str], None]) -> None:
    def tell() -> bool:
        say(f"{len(list(asked.parts.glob('*-*.json')))} of {wanted} evaluations")
        return True

    if workers == 1:
        _work(asked, roll, tell)
        return
    spawn = multiprocessing.get_context("spawn")
    crew = [spawn.Process(target=_worker, args=(asked,), daemon=True) for _ in range(workers)]
    try:
        for process in crew:
            process.start()
        while at_work := [process.sentinel for process in crew if process.is_alive()]:
            connection.wait(at_work, timeout=30)
            tell()
    finally:
        for process in crew:
            process.terminate()
            process.join()
    # What a worker that died left behind is trained here; nothing is left where all went well.
    _work(asked, roll, tell)


def _worker(asked: Tabulation) -> None:
    parent = os.getppid()
    with suppress(KeyboardInterrupt):
        _work(asked, enrol(asked), lambda: os.getppid() == parent)


def _work(asked: Tabulation, roll: Roll, goes_on: Callable[[], bool]) -> None:
    """Train every evaluation that has no part yet and that no other process is training.

    `goes_on` is asked after each: a worker whose parent was killed ends too.
    """
    torch.set_num_threads(1 if asked.device == "cpu" else torch.get_num_threads())
    check_recipe(asked.recipe, asked.device)
    for seed in range(asked.seeds):
        for each in roll.points:
            if asked.deadline is not None and time.time() > asked.deadline:
                return
            part = asked.parts / f"{each.program.digest}-{seed}.json"
            if part.exists() or (each.program.digest, seed) in roll.done:
                continue
            with alone(part.with_suffix(".lock")) as mine:
                if mine and not part.exists():
                    entry = _evaluated(asked, roll.data, each, seed, part.with_suffix(".pt"))
                    write_part(part, asdict(entry) | {"machine": environment(asked.device)})
                    for left in asked.parts.glob(f"*{part.stem}.pt*"):
                        left.unlink(missing_ok=True)
                    if not goes_on():
                        return


def _evaluated(asked: Tabulation, data: ImageData, each: Point, seed: int, checkpoint: Path) -> Entry:
    """One training, whatever comes of it."""
    curve: list[EpochRecord] = []
    cause, message = "ok", ""

    def on_epoch(result: EpochResult) -> bool:
        names = ("epoch", "train_loss", "val_loss", "val_accuracy", "lr", "seconds")
        curve.append(EpochRecord(**{name: getattr(result, name) for name in names}))
        return True

    try:
        module = build(each.program, seed=seed, written=each.network)
        kept = {"checkpoint": checkpoint, "identity": each.program.digest, "device": asked.device}
        train(module, data, asked.recipe, seed=seed, growth=Growth(each.network), on_epoch=on_epoch, **kept)  # type: ignore[arg-type]
    except TrainingFailed as error:
        cause, message = error.cause, str(error)
    except (ArchspecError, MemoryError, RuntimeError, ValueError) as error:
        cause, message = "error", f"{type(error).__name__}: {error}"
    return Entry(
        digest=each.program.digest,
        seed=seed,
        name=each.network.name,
        genes=each.assignment,
        cost=vars(each.cost),
        spec=network_yaml(each.network),
        cause=cause,  # type: ignore[arg-type]
        message=message,
        seconds=sum(epoch.seconds or 0.0 for epoch in curve),
        curve=tuple(curve),
    )


def _gathered(asked: Tabulation, roll: Roll) -> list[Entry]:
    """Every evaluation that there is, also of points or seeds that were not asked for this time."""
    entries = list(roll.before.entries) if roll.before else []
    for said in read_parts(asked.parts):
        said.pop("machine")
        said["curve"] = tuple(EpochRecord(**epoch) for epoch in said["curve"])
        if (said["digest"], said["seed"]) not in roll.done:
            entries.append(Entry(**said))
    return sorted(entries, key=lambda entry: (entry.seed, entry.digest))


def _said_of(asked: Tabulation, roll: Roll, entries: list[Entry]) -> TableFacts:
    """The facts of what is there: the points and seeds that were ever asked for, and every machine that trained."""
    before = roll.before.facts.machines if roll.before else ()
    machines = [*before, *(said["machine"] for said in read_parts(asked.parts))]
    once = {json.dumps(machine, sort_keys=True): machine for machine in machines}
    sampled = max(roll.facts.sampled, len({entry.digest for entry in entries}))
    seeds = max(asked.seeds, *(entry.seed + 1 for entry in entries))
    return replace(roll.facts, machines=tuple(once.values()), sampled=sampled, seeds=seeds)
