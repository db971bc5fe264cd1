"""A study's budget and a worker's turn go in; the next trial comes out, claimed: feasible, new, and allotted once.

Workers propose one after the other. So a sampler sees every trial that runs, no point is proposed twice, and the trials
are as many as the budget says, however many workers ask.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from archspec.errors import SpecError, StudyError
from archspec.results.leases import Lease, Leases, Turn
from archspec.results.records import EvaluationRecord
from archspec.results.status import StudyStatus
from archspec.search import suggest
from archspec.search.candidate import Candidate, Requester
from archspec.search.guidance import Guidance, Seen, seen_of
from archspec.search.heartbeat import Heartbeat
from archspec.search.optuna_study import OptunaStudy
from archspec.search.point_facts import PointCache
from archspec.search.space import Assignment, canonical, count, nearest_to_feasible, point, points, sample
from archspec.search.space.feasibility import EXACT_UP_TO
from archspec.search.space.repair import UNUSABLE, repaired
from archspec.search.spaces import Spaces
from archspec.search.study import Study
from archspec.search.table import Table

DRAWS, LAST_DRAWS, WALKS = 200, 2000, 4
"""Points that are drawn before a new one is looked for near so many evaluated ones, and after that."""

Claimed = tuple[EvaluationRecord, Lease | None]


@dataclass
class Proposals:
    """Proposes the trials of a study for one worker.

    Args:
        optuna_url, optuna_name: where Optuna's study is, and its name.
        ended_before: the trials that had their outcome when this run began: the circuit breaker looks at the others.
    """

    study: Study
    spaces: Spaces
    status: StudyStatus
    leases: Leases
    heartbeat: Heartbeat
    requester: Requester
    optuna_url: str
    optuna_name: str
    ended_before: frozenset[int | None]
    table: Table | None = None
    known: frozenset[str] = frozenset()
    judged: list[tuple[str, int]] = field(default_factory=list)
    _optuna: OptunaStudy | None = None
    _turn: Turn | None = None
    _proposed: Claimed | None = None
    _guide: Guidance | None = None
    _shown: dict[int, Seen | None] = field(default_factory=dict)
    _unfinished: list[Seen] = field(default_factory=list)
    _was_edited: bool = False

    def __post_init__(self) -> None:
        self.facts = PointCache(self.spaces, self.table)
        self.distributions: Mapping[str, Any] = {
            gene.name: suggest.distribution(gene) for gene in self.spaces.written.genes
        }

    @property
    def optuna(self) -> OptunaStudy:
        """Optuna's study, once a turn was had."""
        assert self._optuna is not None
        return self._optuna

    @property
    def guide(self) -> Guidance | None:
        """Who chooses among proposals, where anybody does."""
        return self._guide

    @property
    def is_open(self) -> bool:
        """Whether Optuna's study is open."""
        return self._optuna is not None

    def close(self) -> None:
        """Give the connections to Optuna's database back."""
        if self._optuna is not None:
            self._optuna.close()

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """The turn to propose, or False where another worker has it."""
        turn = self.leases.take_turn(self.study.name)
        if turn is None:
            yield False
            return
        self.heartbeat.hold(turn)
        self._turn = turn
        try:
            if self._optuna is None:
                # Opened in a turn: two processes that make Optuna's tables at once get into each other's way.
                self._optuna = self._opened(turn)
            yield True
        finally:
            self._turn = None
            self.heartbeat.drop(turn)
            self.leases.end_turn(turn)

    def next(self) -> Claimed | None:
        """In one's turn: the next trial, with its lease unless its outcome is known already; None: the budget is spent.

        Raises:
            SpaceExhausted: nothing is left to propose.
            StudyError: too many trials fail for one cause, or its space was edited.
            LeaseLost: the turn went to another worker meanwhile.
        """
        self._check()
        if self.status.trials() >= self.study.budget.trials:
            return None
        self.known = self.status.digests()
        self._proposed = None
        self._inform()
        orphan = next(self.optuna.interrupted(), None)
        if orphan is not None:
            self.optuna.complete(orphan, self.distributions)
        else:
            self.optuna.ask(self.distributions)
        return self._proposed

    def record_judgements(self) -> None:
        """Count the suggestions that were not taken."""
        judged, self.judged = self.judged, []
        self.leases.store.record_events(self.study.name, judged)

    def recorded(self, record: EvaluationRecord) -> None:
        """Finish what a dead worker left undone of a trial in Optuna's study."""
        if record.trial is not None:
            self.optuna.complete(record.trial, self.distributions)

    def _check(self) -> None:
        record = self.leases.store.get_study(self.study.name)
        if record.space_digest != self.spaces.trained.digest:
            raise StudyError(f"the space of study {self.study.name!r} was edited meanwhile: start this worker again")
        self._was_edited = record.generation > 0
        ended = [each for each in self.status.ended() if each.trial not in self.ended_before]
        reason = self.study.failures.circuit_breaker(ended)
        if reason is not None:
            raise StudyError(f"{reason}\n    the same command goes on; `failures:` in the study says when to stop")

    # --- what the sampler asks

    def _opened(self, turn: Turn) -> OptunaStudy:
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
        return OptunaStudy(self.optuna_url, self.optuna_name, objectives, sampler, self.status.numbers)

    def _judge(self, number: int, assignment: Assignment) -> suggest.Verdict:
        verdict = self._verdict(assignment)
        if verdict != "new" and all(number != trial for _, trial in self.judged):
            # Once a trial: what a loop that trains every suggestion would have trained.
            self.judged.append((verdict, number))
        return verdict

    def _verdict(self, assignment: Assignment) -> suggest.Verdict:
        facts = self.facts(assignment)
        if facts.violation:
            return "illegal" if facts.violation == UNUSABLE else "infeasible"
        return "duplicate" if facts.digest in self.known else "new"

    def _draw(self, number: int) -> Assignment | None:
        """A new point: drawn; where drawing finds none, looked for where one must be; None: there is hardly any."""
        anywhere = chain(self._drawn(DRAWS), self._near_known(), self._drawn(LAST_DRAWS), self._listed())
        looked_for = anywhere if self.table is None else self._tabulated(self.table)
        return next((each for each in looked_for if self._verdict(each) == "new"), None)

    def _drawn(self, number: int) -> Iterator[Assignment]:
        return (sample(self.spaces.written, self._draws) for _ in range(number))

    def _tabulated(self, table: Table) -> Iterator[Assignment]:
        """The points of the table, each once: of a large space they are too few to be drawn."""
        entries = [found[0] for found in table.by_digest.values()]
        self._draws.shuffle(entries)
        return (found for entry in entries if (found := self.facts.of_table(entry)) is not None)

    def _near_known(self) -> Iterator[Assignment]:
        """Points near evaluated ones; before there are any, the one that is found downhill."""
        numbers = sorted(self.status.numbers())
        some = self._draws.sample(numbers, min(WALKS, len(numbers)))
        for record in self.status.records(frozenset(some)):
            start = self._assignment(record)
            near = None if start is None else self._repair(-1, start)
            if near is not None:
                yield near
        if not numbers:
            found = nearest_to_feasible(self.spaces.written, seed=self.study.seed).assignment
            yield from () if found is None else (found,)

    def _listed(self) -> Iterator[Assignment]:
        """All points of a small space, so that no point is left when it is said that none is left."""
        space = self.spaces.written
        return points(space) if count(space) <= EXACT_UP_TO else iter(())

    def _repair(self, number: int, assignment: Assignment) -> Assignment | None:
        return repaired(self.spaces.written, assignment, self._broken, self._draws)

    def _broken(self, assignment: Assignment) -> float:
        facts = self.facts(assignment)
        return facts.violation or float(facts.digest in self.known)

    def _cost_of_new(self, assignment: Assignment) -> Mapping[str, int] | None:
        facts = self.facts(assignment)
        return None if facts.violation or facts.digest in self.known else facts.cost

    def _propose(self, number: int, assignment: Assignment) -> None:
        assert self._turn is not None
        found = point(self.spaces.trained, assignment)
        candidate = Candidate(found.network, found.program, number, genes=found.assignment, scaling=found.scaling)
        self._proposed = self.leases.propose(self._turn, self.requester.request(candidate))

    def _recall(self, number: int) -> Assignment | None:
        known = self.status.record(number)
        if known is None:
            return None
        return {name: label for name, label in known.params.items() if label is not None}

    # --- what the guide has seen

    def _inform(self) -> None:
        """Show the guide every trial of every worker; those that still run as far as they are."""
        if self._guide is None:
            return
        numbers = self.status.numbers()
        for record in self.status.records(numbers - self._shown.keys()):
            seen = self._seen(record)
            if record.is_finished and record.trial is not None:
                self._shown[record.trial] = seen
            elif seen is not None:
                self._unfinished.append(seen)
        shown = [each for _, each in sorted(self._shown.items()) if each is not None]
        self._guide.seen[:] = shown + self._unfinished
        self._unfinished.clear()

    def _seen(self, record: EvaluationRecord) -> Seen | None:
        assignment = self._assignment(record)
        return None if assignment is None else seen_of(record, assignment)

    def _assignment(self, record: EvaluationRecord) -> Assignment | None:
        """A trial's point; None for one of the space before an edit, which is no point of this one."""
        labels = {name: label for name, label in record.params.items() if label is not None}
        try:
            assignment = canonical(self.spaces.written, labels)
        except SpecError:
            return None
        # The edit may have left the genes and changed the network around them.
        kept = not self._was_edited or self.facts(assignment).digest == record.digest
        return assignment if kept else None
