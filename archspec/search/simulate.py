"""A table, a sampler and a budget of epochs go in; the steps of a search that asks the table come out, in memory.

No store, no process and no training: what is left of a study are its sampler, its rungs and its budget, so that
hundreds of searches run in minutes. The parts are those of a real study (suggest, guidance, rungs).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import optuna

from archspec.errors import SpecError
from archspec.results.records import Cause, EpochRecord, EvaluationRecord, Objective
from archspec.search import suggest
from archspec.search.guidance import Guidance, seen_of
from archspec.search.optuna_study import OptunaStudy
from archspec.search.pruning import ladder, values_at
from archspec.search.recipe import Recipe
from archspec.search.space import Assignment, SearchSpace, canonical, point, sample
from archspec.search.space.repair import UNUSABLE, repaired
from archspec.search.study import Pruner, Sampler
from archspec.search.table import Entry, Table, replay

DRAWS_BEFORE_EXHAUSTED = 5_000


@dataclass(frozen=True)
class Step:
    """One evaluation of a search."""

    digest: str
    epochs: int
    """Spent on it; one for a trial that failed at once."""
    cause: Cause
    accuracy: float
    """Of its last epoch, of the seed that the table drew."""
    cost: Mapping[str, int]
    duplicate: bool
    """Whether the point had been evaluated before."""

    @property
    def complete(self) -> bool:
        """Whether it was trained to its end."""
        return self.cause == "ok"


@dataclass
class Answers:
    """What a table says of the points of a space; one for many searches, since it keeps what it looked up."""

    space: SearchSpace
    table: Table
    kept: dict[tuple[Any, ...], tuple[str, Mapping[str, int], float]] = field(default_factory=dict)

    def look(self, assignment: Assignment) -> tuple[str, Mapping[str, int], float]:
        """Digest, costs and by how much constraints are broken; UNUSABLE for what the table cannot answer."""
        key = tuple(canonical(self.space, assignment).values())
        if key not in self.kept:
            self.kept[key] = self._looked_up(assignment)
        return self.kept[key]

    def _looked_up(self, assignment: Assignment) -> tuple[str, Mapping[str, int], float]:
        try:
            found = point(self.space, assignment)
        except SpecError:
            return "", {}, UNUSABLE
        broken = sum(max(0.0, bound.violation(found.cost)) for bound in self.space.constraints)
        if not broken and found.program.digest not in self.table:
            broken = UNUSABLE
        return found.program.digest, vars(found.cost), broken


@dataclass
class Simulation:
    """One search on a table. `wasteful` takes every feasible suggestion as it comes, as Optuna alone does."""

    answers: Answers
    objectives: tuple[Objective, ...]
    sampler: Sampler
    pruner: Pruner
    seed: int
    wasteful: bool = False
    inner: optuna.samplers.BaseSampler | None = None
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        space = self.answers.space
        self._epochs = self.answers.table.facts.epochs
        self._distributions = {gene.name: suggest.distribution(gene) for gene in space.genes}
        self._rng = suggest.seeded(self.seed, "draw")
        self._met: set[str] = set()
        self._chosen: dict[int, Assignment] = {}
        self._guide = Guidance(space, self.objectives, self._epochs, self.seed, self.sampler.startup, self._new)
        self._ladder = ladder(self.pruner, Recipe.model_validate(dict(self.answers.table.facts.recipe)))
        inner = self.inner or suggest.inner_sampler(self.sampler, suggest.seeded(self.seed, "inner").randrange(2**31))
        sampler = suggest.FeasibleSampler(
            inner, self._distributions, self._judge, self._draw, self._chosen.__setitem__, lambda _: None,
            self._repair, self._guide if self.sampler.guided and not self.wasteful else None,
        )  # fmt: skip
        self._optuna = OptunaStudy(None, "simulation", self.objectives, sampler)

    def run(self, epochs: int) -> list[Step]:
        """Search until so many epochs are spent or the space is exhausted."""
        spent = 0
        while spent < epochs:
            try:
                number = self._optuna.ask(self._distributions)
            except suggest.SpaceExhausted:
                break
            step = self._evaluated(number, epochs - spent)
            spent += step.epochs
            self.steps.append(step)
        return self.steps

    def _evaluated(self, number: int, left: int) -> Step:
        assignment = self._chosen[number]
        digest, cost, _ = self.answers.look(assignment)
        entry = self.answers.table.answer(digest, self.seed, number)
        curve: list[EpochRecord] = []

        def on_epoch(epoch: EpochRecord) -> bool:
            curve.append(epoch)
            measured = {"accuracy": epoch.val_accuracy, "val_loss": epoch.val_loss}
            values = values_at(self.objectives, measured.get, cost.__getitem__)
            return len(curve) < left and (values is None or self._ladder.goes_on(number, epoch.epoch, values))

        cause, values, message = replay(entry, self._epochs, on_epoch)
        record = _record(number, entry, cause, values, curve, message)
        self._guide.seen.append(seen_of(record, assignment))
        self._optuna.tell(number, record)
        duplicate = digest in self._met
        self._met.add(digest)
        return Step(digest, max(1, len(curve)), cause, values.get("accuracy", 0.0), cost, duplicate)

    # --- what the sampler asks

    def _new(self, assignment: Assignment) -> Mapping[str, int] | None:
        digest, cost, broken = self.answers.look(assignment)
        return cost if not broken and digest not in self._met else None

    def _judge(self, number: int, assignment: Assignment) -> suggest.Verdict:
        digest, _, broken = self.answers.look(assignment)
        if broken:
            return "illegal" if broken == UNUSABLE else "infeasible"
        return "duplicate" if digest in self._met and not self.wasteful else "new"

    def _broken(self, assignment: Assignment) -> float:
        digest, _, broken = self.answers.look(assignment)
        return broken or float(digest in self._met and not self.wasteful)

    def _repair(self, number: int, assignment: Assignment) -> Assignment | None:
        return repaired(self.answers.space, assignment, self._broken, self._rng)

    def _draw(self, number: int) -> Assignment | None:
        for _ in range(DRAWS_BEFORE_EXHAUSTED):
            assignment = sample(self.answers.space, self._rng)
            if self._judge(number, assignment) == "new":
                return assignment
        return None


def _record(
    number: int, entry: Entry, cause: Any, values: Mapping[str, float], curve: list[EpochRecord], message: str
) -> EvaluationRecord:
    """An outcome as Optuna is told it."""
    now = datetime.now(UTC)
    state: Any = {"ok": "complete", "pruned": "pruned"}.get(cause, "failed")
    known: dict[str, Any] = {name: None for name in EvaluationRecord.__dataclass_fields__}
    known |= {"uuid": str(number), "study": "simulation", "trial": number, "digest": entry.digest, "seed": entry.seed}
    known |= {"cost": entry.cost, "params": entry.genes, "state": state, "cause": cause, "message": message}
    known |= {"values": values, "started": now, "finished": now, "starts": 1, "curve": tuple(curve)}
    return EvaluationRecord(**known)


def on_smaller_device(table: Table, share: float) -> Table:
    """The same table where a share of the points, those that hold most, ran out of memory at once.

    Weights predicted at every position count three times, so what decides is no constraint that could be written.
    """

    def held(entry: Entry) -> float:
        local = any("local" in str(gene) for gene in entry.genes.values())
        return entry.cost["activation_bytes"] * (3.0 if local else 1.0)

    limit = sorted(map(held, table.entries))[round((1 - share) * len(table.entries)) - 1]
    failed = (replace(e, cause="out_of_memory", curve=()) if held(e) > limit else e for e in table.entries)
    return Table(table.facts, tuple(failed))
