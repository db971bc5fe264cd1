"""A study file (studies/*.yaml) goes in; what to search, on which data, for which objectives comes out. No torch."""

import hashlib
import json
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, PrivateAttr, Tag, model_validator

from archspec.costs import Cost
from archspec.errors import Problem, SpecError, nearest
from archspec.results.race import Racing
from archspec.results.records import TIMED, Objective
from archspec.schema.base import FROM_LIST, Strict
from archspec.schema.located import LocatedDict, locate
from archspec.schema.network import Name
from archspec.schema.source import read_file, read_text
from archspec.schema.validation import rule_error, validate
from archspec.search.data.config import DataConfig
from archspec.search.policies import Failures, Workers
from archspec.search.recipe import Recipe
from archspec.search.space.match import Match

COSTS = tuple(Cost.__dataclass_fields__)
MEASURED = ("accuracy", "val_loss")
Quantity = Literal[
    "accuracy",
    "val_loss",
    "params",
    "macs",
    "paper_flops",
    "activation_bytes",
    "inference_activation_bytes",
    "latency",
    "throughput",
]
"""What training measures, the exact costs, and two that are timed on the device of the study at the size of its images,
each by the fastest of 20 passes: `latency`, the seconds of one image, and `throughput`, images a second in batches of
the recipe. Workers of one machine share it, so they slow each other down."""


class Maximise(Strict):
    maximise: Quantity


class Minimise(Strict):
    minimise: Quantity


def _side(written: Any) -> str:
    """Which of the two an objective is meant to be, however it is spelt."""
    said = " ".join(map(str, written)) if isinstance(written, dict) else type(written).__name__
    return "minimise" if said.lower().startswith("min") else "maximise"


Written = Annotated[Annotated[Maximise, Tag("maximise")] | Annotated[Minimise, Tag("minimise")], Discriminator(_side)]


class Sampler(Strict):
    """How the next point is chosen. Every sampler proposes only feasible points that were not evaluated before."""

    name: Literal["tpe", "nsga2", "random", "gp", "regularised_evolution"] = "tpe"
    startup: Annotated[int, Field(ge=1, le=10_000)] = 10
    """TPE, GP: so many trials first that are drawn at random, or spread over the space where a surrogate guides."""
    population: Annotated[int, Field(ge=2, le=10_000)] = 20
    """NSGA-II: trials in a generation. Regularised evolution: trials that are alive."""
    tournament: Annotated[int, Field(ge=1, le=10_000)] = 5
    """Regularised evolution: trials of the population that are compared for a parent."""
    surrogate: bool | None = None
    """Whether a model of all learning curves chooses among several proposals of the sampler and the neighbours of the
    best points. Left out: yes for tpe and nsga2, no for the others."""

    @property
    def guided(self) -> bool:
        """Whether a surrogate chooses."""
        return self.name in ("tpe", "nsga2") if self.surrogate is None else self.surrogate


class Pruner(Strict):
    """Which trials stop early: judged at rungs by all objectives, by domination where there are several."""

    name: Literal["none", "median", "successive_halving", "hyperband"] = "none"
    startup: Annotated[int, Field(ge=0, le=10_000)] = 5
    """Median: stop nobody at an epoch that fewer trials have come to, the one that is judged included."""
    warmup: Annotated[int, Field(ge=0, le=10_000)] = 1
    """Median: prune nothing in the first epochs; successive halving and hyperband: the lowest rung, in epochs."""
    reduction: Annotated[int, Field(ge=2, le=16)] = 3
    """Successive halving, hyperband: one of so many goes on from a rung."""


class Budget(Strict):
    trials: Annotated[int, Field(ge=1, le=1_000_000)]
    """How many points are evaluated in all, over every run of the command; references are not counted."""
    hours: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Start no new trial after so many hours of one run."""


class Evaluate(Strict):
    """What stands in place of training."""

    table: Annotated[str, Field(min_length=1)]
    """A Parquet file of `archspec tabulate`: a trial gets the learning curve that its point has there, of one of its
    seeds. Looked for beside the study and in the working directory."""


class Study(Strict):
    """One YAML file is one study. Running it again resumes it."""

    study: Literal[1]
    name: Name
    description: str | None = None
    space: str
    """A name in search_spaces/ or the path of a search space."""
    data: DataConfig = DataConfig()
    recipe: Recipe = Recipe()
    objectives: Annotated[tuple[Written, ...], FROM_LIST, Field(min_length=1, max_length=4)] = (
        Maximise(maximise="accuracy"),
    )
    evaluate: Evaluate | None = None
    """Left out: trials are trained."""
    match: Match | None = None
    """Scale every network to this cost before it is trained, references too; counted at the size of the space."""
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    budget: Budget
    racing: Racing | None = None
    """After the last trial: train the best ones anew with new seeds until they are told apart."""
    failures: Failures = Failures()
    workers: Workers = Workers()
    references: Annotated[tuple[str, ...], FROM_LIST] = ()
    """Named networks (or paths) trained with the same recipe, for the report to compare with."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    storage: str | None = None
    """A database URL (postgresql://..., sqlite:///...). Left out: SQLite files in the study's folder of results."""
    output: str | None = None
    """Where results go. Left out: results/NAME."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """CPU threads of training. `auto` measures one against all when the study begins, and keeps to that: a resumed
    run equals an uninterrupted one bit for bit only with the same number."""

    _path: Path | None = PrivateAttr(default=None)
    _located: LocatedDict | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _objectives_differ(self) -> Self:
        names = [objective.name for objective in self.objectives_in_order]
        if len(set(names)) != len(names):
            raise rule_error("each objective is named once", ", ".join(names), at=("objectives",))
        if not set(names) & set(MEASURED):
            rule = "at least one objective is measured by training; costs and times alone need no study"
            raise rule_error(rule, ", ".join(names), MEASURED, at=("objectives",))
        return self

    @model_validator(mode="after")
    def _trains_what_it_changes(self) -> Self:
        if self.evaluate is not None and self.match is not None:
            rule = "a table answers networks as they were tabulated: a study that asks one has no `match`"
            raise rule_error(rule, str(self.match), at=("match",))
        if self.evaluate is not None and self.racing is not None:
            rule = "a table has no new seeds: a study that asks one has no `racing`"
            raise rule_error(rule, self.evaluate.table, at=("racing",))
        if self.evaluate is not None and self.timed:
            rule = "a table has no times of this device: a study that asks one has no such objective"
            raise rule_error(rule, ", ".join(self.timed), at=("objectives",))
        return self

    @property
    def objectives_in_order(self) -> tuple[Objective, ...]:
        return tuple(
            Objective(objective.maximise, "maximise")
            if isinstance(objective, Maximise)
            else Objective(objective.minimise, "minimise")
            for objective in self.objectives
        )

    @property
    def timed(self) -> tuple[str, ...]:
        """The objectives that are timed on the device."""
        return tuple(objective.name for objective in self.objectives_in_order if objective.name in TIMED)

    @property
    def folder(self) -> Path:
        """Where the study keeps its databases, checkpoints and report."""
        return Path(self.output) if self.output else Path("results") / self.name

    @property
    def located(self) -> LocatedDict | None:
        """What was read, with the place of every value; None for a study that was not read from a file."""
        return self._located

    @property
    def path(self) -> Path | None:
        """The study's file, if it has one."""
        return self._path

    @property
    def source_folder(self) -> Path | None:
        """The folder of the study's file, against which its space may be written."""
        return self._path.parent if self._path else None


def study_path(name_or_path: str | Path) -> Path:
    """The file of a study: a path, or a name in studies/. Raises SpecError naming the nearest."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return path
    named = Path("studies") / f"{name_or_path}.yaml"
    if named.exists():
        return named
    known = tuple(file.stem for file in sorted(Path("studies").glob("*.yaml")))
    rule = "a study is named (a file in studies/) or is a path to a YAML file"
    raise SpecError([Problem(rule, str(name_or_path), nearest=nearest(str(name_or_path), known))])


def load_study(name_or_path: str | Path, overrides: tuple[str, ...] = ()) -> Study:
    """Read and check a study file; `overrides` are `key.path=value` words that replace or add values.

    Raises SpecError with every problem of the file at once.
    """
    path = study_path(name_or_path)
    data = with_values(read_file(path), overrides)
    study = validate(Study, data)
    study._path, study._located = path, data
    return study


def study_from(values: dict[str, Any], path: Path | None) -> Study:
    """A checked study from its plain values, as if it was read from the file of that path."""
    study = Study.model_validate(values)
    study._path = path
    return study


def with_values(data: LocatedDict, overrides: tuple[str, ...]) -> LocatedDict:
    """The data with `key.path=value` words carried out, each value read as YAML. Raises SpecError for other words."""
    data = deepcopy(data)
    for override in overrides:
        _override(data, override)
    return data


def _override(data: LocatedDict, override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise SpecError([Problem("--set takes key.path=value", override, nearest=("budget.trials=3",))])
    read = read_text(f"value: {value}", f"--set {key}")
    here: Any = data
    *parents, last = key.split(".")
    for parent in parents:
        if not isinstance(here.get(parent), dict):
            here[parent] = LocatedDict()
        here = here[parent]
    place = locate(read, ("value",))
    here.put(last, read["value"], place, place)


def protocol_digest(facts: dict[str, Any]) -> str:
    """sha256 of what makes two trainings comparable: data, recipe, precision; equal facts have equal digests."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
