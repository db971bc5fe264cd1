"""A study goes in; its references and trials are evaluated, as many as its budget asks, in as many runs as it takes.

Nothing is held in this process that a kill could lose: assignments and outcomes are in our store before Optuna hears
of them, training is in a checkpoint after every epoch. Running the same study again goes on where it stopped.
"""

import fcntl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch
import yaml

from archspec import __version__
from archspec.errors import SpecError, StoreError, StudyError
from archspec.ir import Program
from archspec.results.records import EvaluationRecord, StudyRecord
from archspec.results.store import Store
from archspec.schema.load import load
from archspec.search import suggest
from archspec.search.data.images import ImageData
from archspec.search.data.load import open_data
from archspec.search.evaluate import Candidate, Evaluator, Observer, candidate
from archspec.search.machine import chosen_device, environment
from archspec.search.space import Assignment, Point, SearchSpace, point, sample
from archspec.search.spaces import Spaces, spaces_of
from archspec.search.study import Study, protocol_digest
from archspec.search.threads import fastest_threads
from archspec.search.train import check_recipe

DRAWS_BEFORE_EXHAUSTED = 2000
FAILURES_THAT_STOP = 8


@dataclass(frozen=True)
class Urls:
    """Where our store and Optuna's book are: two SQLite files of the study's folder, or one server."""

    store: str
    optuna: str


def urls_of(study: Study) -> Urls:
    if study.storage is not None:
        return Urls(study.storage, study.storage.replace("postgresql://", "postgresql+psycopg://", 1))
    folder = study.folder.absolute()
    return Urls(suggest.sqlite_url(folder / "archspec.db"), suggest.sqlite_url(folder / "optuna.db"))


def open_store(study: Study, create: bool = False) -> Store:
    """The store of a study. Raises StoreError when there is none and it is not to be created."""
    return Store.open(urls_of(study).store, create=create)


def finished_trials(study: Study) -> int:
    """How many trials of a study have their outcome; 0 when it was never run."""
    try:
        with open_store(study) as store:
            records = store.evaluations(study.name)
    except StoreError:
        return 0
    return sum(record.trial is not None and record.is_finished for record in records)


def search(study: Study, observer: Observer) -> None:
    """Run or resume a study until its budget is spent.

    Raises:
        StudyError: the study is being run by another process, or its trials keep failing for one cause.
        SpecError, DataError, StoreError: something the study names is not as it should be.
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    with _only_one(study.folder):
        data = open_data(study.data)
        spaces = spaces_of(study, data)
        with open_store(study, create=True) as store:
            _Search.prepare(study, spaces, data, store, observer).run()


@contextmanager
def _only_one(folder: Path) -> Iterator[TextIO]:
    """Two processes on one study would train the same trials; the lock goes with the process that holds it."""
    with (folder / "search.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(f"another process is running this study: {folder}") from None
        yield lock


def _threads(study: Study, space: SearchSpace, data: ImageData, store: Store) -> int:
    """The study's number of threads: as written, as it began, or measured now on its first network."""
    if isinstance(study.threads, int):
        return study.threads
    begun = next((record for record in store.studies() if record.name == study.name), None)
    if begun is not None and isinstance(begun.environment.get("threads"), int):
        return int(str(begun.environment["threads"]))
    if study.references:
        program = candidate(load(study.references[0]), data).program
    else:
        program = next(found for found in _drawn(space, study.seed))
    return fastest_threads(program, study.recipe.batch)


def _drawn(space: SearchSpace, seed: int) -> Iterator[Program]:
    """Programs of points drawn until one can be built; there is one, or the space would have been refused."""
    rng = suggest.seeded(seed, "threads")
    while True:
        try:
            yield point(space, sample(space, rng)).program
        except SpecError:
            continue


@dataclass
class _Search:
    study: Study
    spaces: Spaces
    store: Store
    evaluator: Evaluator
    distributions: Mapping[str, Any]
    candidates: dict[int, Candidate] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    @classmethod
    def prepare(cls, study: Study, spaces: Spaces, data: ImageData, store: Store, observer: Observer) -> "_Search":
        device = chosen_device(study.device)
        check_recipe(study.recipe, device)
        torch.set_num_threads(_threads(study, spaces.trained, data, store))
        facts = {"data": data.digest, "recipe": study.recipe.fingerprint, "code": __version__}
        evaluator = Evaluator(
            study=study.name,
            store=store,
            data=data,
            recipe=study.recipe,
            protocol=protocol_digest(facts),
            seed=study.seed,
            folder=study.folder,
            device=device,
            environment=environment(device),
            observer=observer,
        )
        distributions = {gene.name: suggest.distribution(gene) for gene in spaces.written.genes}
        made = cls(study, spaces, store, evaluator, distributions)
        store.save_study(made._study_record())
        return made

    def _study_record(self) -> StudyRecord:
        written = self.study.model_dump(mode="json", exclude_unset=True)
        return StudyRecord(
            name=self.study.name,
            space=self.spaces.written.path.read_text(),
            study=yaml.safe_dump(written, sort_keys=False),
            space_digest=self.spaces.trained.digest,
            seed=self.study.seed,
            objectives=self.study.objectives_in_order,
            sampler=self.study.sampler.model_dump(mode="json"),
            trials=self.study.budget.trials,
            data=self.study.data.model_dump(mode="json"),
            recipe=self.study.recipe.model_dump(mode="json"),
            axes={gene.name: gene.axis for gene in self.spaces.written.genes},
            archspec_version=__version__,
            environment=dict(self.evaluator.environment),
        )

    def run(self) -> None:
        for name in self.study.references:
            self.evaluator.evaluate(candidate(load(name), self.evaluator.data, reference=name))
        records = self._records()
        self.known = {record.digest for record in records}
        finished = [r for r in records if r.trial is not None and r.is_finished]
        study = self.study
        self.stopping = suggest.EarlyStopping(study.pruner, study.name, study.recipe.epochs, finished)
        sampler = self._sampler(len(finished))
        book = suggest.Suggestions(urls_of(study).optuna, study.name, study.objectives_in_order, sampler)
        with closing(book):
            self._finish_what_was_interrupted(book, finished)
            self._spend(book)

    def _finish_what_was_interrupted(self, book: suggest.Suggestions, finished: list[EvaluationRecord]) -> None:
        """Tell outcomes that a kill kept from Optuna, and train on what it stopped."""
        waiting = set(book.interrupted())
        for record in finished:
            if record.trial in waiting:
                book.tell(record.trial, record)
                waiting.remove(record.trial)
        for number in sorted(waiting):
            book.resume(number, self.distributions)
            self._trial(book, number)

    def _spend(self, book: suggest.Suggestions) -> None:
        deadline = time.monotonic() + (self.study.budget.hours or float("inf")) * 3600
        while len(self._trials()) < self.study.budget.trials and time.monotonic() < deadline:
            self._trial(book, book.ask(self.distributions))
            self._stop_when_all_fail()

    def _trial(self, book: suggest.Suggestions, number: int) -> None:
        if number not in self.candidates:
            self._recall(number)
        self.stopping.start()
        record = self.evaluator.evaluate(self.candidates.pop(number), self.stopping.report)
        self.stopping.finish(record)
        book.tell(number, record)

    def _records(self) -> tuple[EvaluationRecord, ...]:
        return self.store.evaluations(self.study.name)

    def _trials(self) -> list[EvaluationRecord]:
        return [record for record in self._records() if record.trial is not None]

    def _stop_when_all_fail(self) -> None:
        last = self._trials()[-FAILURES_THAT_STOP:]
        if len(last) == FAILURES_THAT_STOP and all(record.state == "failed" for record in last):
            raise StudyError(
                f"the last {FAILURES_THAT_STOP} trials failed; the last one: {last[-1].cause}: {last[-1].message}"
            )

    # --- what the sampler asks

    def _sampler(self, seed_offset: int) -> suggest.FeasibleSampler:
        # A resumed run draws from a stream of its own, so that it does not propose what the first run began with.
        seed = suggest.seeded(self.study.seed, "sampler", seed_offset).randrange(2**31)
        inner = suggest.inner_sampler(self.study.sampler, seed)
        self.draws = suggest.seeded(self.study.seed, "draw", seed_offset)
        return suggest.FeasibleSampler(inner, self.distributions, self._judge, self._draw, self._propose, self._recall)

    def _judge(self, number: int, assignment: Assignment) -> suggest.Verdict:
        verdict = self._verdict(number, assignment)
        if verdict != "new":
            self.store.record_event(self.study.name, verdict, number)
        return verdict

    def _verdict(self, number: int, assignment: Assignment) -> suggest.Verdict:
        try:
            written = point(self.spaces.written, assignment)
            if any(bound.violation(written.cost) > 0 for bound in self.spaces.written.constraints):
                return "infeasible"
            found = point(self.spaces.trained, assignment)
        except SpecError:
            return "illegal"
        if found.program.digest in self.known:
            return "duplicate"
        self.candidates[number] = self._candidate(number, found)
        return "new"

    def _draw(self, number: int) -> Assignment | None:
        for _ in range(DRAWS_BEFORE_EXHAUSTED):
            assignment = sample(self.spaces.written, self.draws)
            if self._verdict(number, assignment) == "new":
                return assignment
        return None

    def _propose(self, number: int, assignment: Assignment) -> None:
        found = self.candidates[number]
        self.known.add(found.program.digest)
        self.store.start_evaluation(self.evaluator.request(found))

    def _recall(self, number: int) -> Assignment | None:
        known = next((record for record in self._trials() if record.trial == number), None)
        if known is None:
            return None
        if number not in self.candidates:
            self.candidates[number] = self._candidate(number, point(self.spaces.trained, self._labels(known)))
        return self._labels(known)

    @staticmethod
    def _labels(known: EvaluationRecord) -> Assignment:
        return {name: label for name, label in known.params.items() if label is not None}

    def _candidate(self, number: int, found: Point) -> Candidate:
        return Candidate(found.network, found.program, trial=number, genes=found.assignment)
