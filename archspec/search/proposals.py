"""A study's budget and a worker's turn go in; the next trial comes out, claimed: feasible, new, and allotted once.

Workers propose one after the other. So a sampler sees every trial that runs, no point is proposed twice, and the trials
are as many as the budget says, however many workers ask.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from archspec.errors import SpecError, StudyError
from archspec.results.leases import Lease, Leases, Turn
from archspec.results.records import EvaluationRecord
from archspec.results.standing import Standing
from archspec.search import suggest
from archspec.search.book import SharedBook
from archspec.search.evaluate import Asking, Candidate
from archspec.search.guidance import Guidance, Seen
from archspec.search.keeper import Keeper
from archspec.search.looks import Looks
from archspec.search.space import Assignment, canonical, point, sample
from archspec.search.space.repair import UNUSABLE, repaired
from archspec.search.spaces import Spaces
from archspec.search.study import Study
from archspec.search.table import Table

DRAWS_BEFORE_EXHAUSTED = 2000

Claimed = tuple[EvaluationRecord, Lease | None]


@dataclass
class Proposals:
    """Proposes the trials of a study for one worker.

    Args:
        book_url, book_name: where Optuna's book is, and which of its studies.
        ended_before: so many trials had their outcome when this run began: the fuses look at later ones.
    """

    study: Study
    spaces: Spaces
    standing: Standing
    leases: Leases
    keeper: Keeper
    asking: Asking
    book_url: str
    book_name: str
    ended_before: int
    table: Table | None = None
    known: frozenset[str] = frozenset()
    judged: list[tuple[str, int]] = field(default_factory=list)
    _book: SharedBook | None = None
    _turn: Turn | None = None
    _proposed: Claimed | None = None
    _guide: Guidance | None = None
    _shown: dict[int, Seen | None] = field(default_factory=dict)
    _unfinished: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.looks = Looks(self.spaces, self.table)
        self.distributions: Mapping[str, Any] = {
            gene.name: suggest.distribution(gene) for gene in self.spaces.written.genes
        }

    @property
    def book(self) -> SharedBook:
        """Optuna's book, once a turn was had."""
        assert self._book is not None
        return self._book

    @property
    def is_open(self) -> bool:
        """Whether the book is open."""
        return self._book is not None

    def close(self) -> None:
        """Give the connections to Optuna's database back."""
        if self._book is not None:
            self._book.close()

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """The turn to propose, or False where another worker has it."""
        turn = self.leases.take_turn(self.study.name)
        if turn is None:
            yield False
            return
        self.keeper.hold(turn)
        self._turn = turn
        try:
            if self._book is None:
                # Opened in a turn: two processes that make Optuna's tables at once get into each other's way.
                self._book = self._opened(turn)
            yield True
        finally:
            self._turn = None
            self.keeper.drop(turn)
            self.leases.end_turn(turn)

    def next(self) -> Claimed | None:
        """In one's turn: the next trial, with its lease unless its outcome is known already; None: the budget is spent.

        Raises:
            SpaceExhausted: nothing is left to propose.
            StudyError: a fuse of the study has blown, or its space was edited.
            LeaseLost: the turn went to another worker meanwhile.
        """
        self._check()
        if self.standing.trials() >= self.study.budget.trials:
            return None
        self.known = self.standing.digests()
        self._proposed = None
        self._inform()
        orphan = next(self.book.interrupted(), None)
        if orphan is not None:
            self.book.complete(orphan, self.distributions)
        else:
            self.book.ask(self.distributions)
        return self._proposed

    def record_judgements(self) -> None:
        """Count the suggestions that were not taken."""
        judged, self.judged = self.judged, []
        self.leases.store.record_events(self.study.name, judged)

    def recorded(self, record: EvaluationRecord) -> None:
        """Finish what a dead worker left undone of a trial in Optuna's book."""
        if record.trial is not None:
            self.book.complete(record.trial, self.distributions)

    def _check(self) -> None:
        digest = self.leases.store.get_study(self.study.name).space_digest
        if digest != self.spaces.trained.digest:
            raise StudyError(f"the space of study {self.study.name!r} was edited meanwhile: start this worker again")
        blown = self.study.failures.fuse(self.standing.ended()[self.ended_before :])
        if blown is not None:
            raise StudyError(f"{blown}\n    the same command goes on; `failures:` in the study says when to stop")

    # --- what the sampler asks

    def _opened(self, turn: Turn) -> SharedBook:
        # No two turns have one token, so no two workers and no two runs draw the same numbers.
        seed = suggest.seeded(self.study.seed, "sampler", turn.token).randrange(2**31)
        self._draws = suggest.seeded(self.study.seed, "draw", turn.token)
        inner = suggest.inner_sampler(self.study.sampler, seed)
        study = self.study
        if study.sampler.guided:
            self._guide = Guidance(
                self.spaces.written,
                study.objectives_in_order,
                study.recipe.epochs,
                study.seed,
                study.sampler.startup,
                self._cost_of_new,
            )
        sampler = suggest.FeasibleSampler(
            inner,
            self.distributions,
            self._judge,
            self._draw,
            self._propose,
            self._recall,
            self._repair,
            self._guide,
        )
        objectives = self.study.objectives_in_order
        return SharedBook(self.book_url, self.book_name, objectives, sampler, self.standing.numbers)

    def _judge(self, number: int, assignment: Assignment) -> suggest.Verdict:
        verdict = self._verdict(assignment)
        if verdict != "new":
            self.judged.append((verdict, number))
        return verdict

    def _verdict(self, assignment: Assignment) -> suggest.Verdict:
        look = self.looks(assignment)
        if look.broken:
            return "illegal" if look.broken == UNUSABLE else "infeasible"
        return "duplicate" if look.digest in self.known else "new"

    def _draw(self, number: int) -> Assignment | None:
        for _ in range(DRAWS_BEFORE_EXHAUSTED):
            assignment = sample(self.spaces.written, self._draws)
            if self._verdict(assignment) == "new":
                return assignment
        return None

    def _repair(self, number: int, assignment: Assignment) -> Assignment | None:
        return repaired(self.spaces.written, assignment, self._broken, self._draws)

    def _broken(self, assignment: Assignment) -> float:
        look = self.looks(assignment)
        return look.broken or float(look.digest in self.known)

    def _cost_of_new(self, assignment: Assignment) -> Mapping[str, int] | None:
        look = self.looks(assignment)
        return None if look.broken or look.digest in self.known else look.cost

    def _propose(self, number: int, assignment: Assignment) -> None:
        assert self._turn is not None
        found = point(self.spaces.trained, assignment)
        candidate = Candidate(found.network, found.program, trial=number, genes=found.assignment)
        self._proposed = self.leases.propose(self._turn, self.asking.request(candidate))

    def _recall(self, number: int) -> Assignment | None:
        known = self.standing.record(number)
        if known is None:
            return None
        return {name: label for name, label in known.params.items() if label is not None}

    # --- what the guide has seen

    def _inform(self) -> None:
        """Show the guide every trial of every worker; those that still run have no curve yet."""
        if self._guide is None:
            return
        numbers = self.standing.numbers()
        for record in self.standing.records(numbers - self._shown.keys()):
            seen = self._seen(record)
            if record.is_finished and record.trial is not None:
                self._shown[record.trial] = seen
            elif seen is not None:
                self._unfinished.append(seen)
        shown = [each for _, each in sorted(self._shown.items()) if each is not None]
        self._guide.seen[:] = shown + self._unfinished
        self._unfinished.clear()

    def _seen(self, record: EvaluationRecord) -> Seen | None:
        labels = {name: label for name, label in record.params.items() if label is not None}
        try:
            assignment = canonical(self.spaces.written, labels)
        except SpecError:
            return None  # of a space before an edit, and no point of this one
        if not record.is_finished:
            return Seen(assignment, record.cost, {})
        curve = record.curve
        curves = {
            "accuracy": tuple(epoch.val_accuracy for epoch in curve if epoch.val_accuracy is not None),
            "val_loss": tuple(epoch.val_loss for epoch in curve if epoch.val_loss is not None),
        }
        return Seen(assignment, record.cost, curves)
