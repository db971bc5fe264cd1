"""A study whose space was edited goes in; a printed plan, and the study with the new space, come out.

Trials that are still points of the new space are kept and re-expressed in its genes; the others keep their outcome in
our store and are not told to the sampler. Optuna's categorical choices cannot change, so each edit begins another study
of Optuna's, in which every trial has the number that it had.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from archspec.costs import cost
from archspec.errors import SpecError
from archspec.resolve import resolve
from archspec.results.leases import Leases, Turn
from archspec.results.records import EvaluationRecord, StudyRecord
from archspec.results.status import StudyStatus
from archspec.schema.load import network_from
from archspec.schema.source import read_text
from archspec.search import suggest
from archspec.search.heartbeat import Heartbeat
from archspec.search.optuna_study import OptunaStudy, optuna_name
from archspec.search.space import Assignment, SearchSpace, find, point
from archspec.search.spaces import Spaces
from archspec.search.study import Sampler

SECONDS_BETWEEN_TURNS = 0.1


@dataclass(frozen=True)
class Plan:
    """What an edit does to a study. `kept` has the assignments of trials in the new space, by number."""

    changes: tuple[str, ...]
    trials: int
    kept: Mapping[int, Assignment]
    outside: tuple[int, ...]
    infeasible: tuple[int, ...]

    def __str__(self) -> str:
        lines = ["the space of this study was edited:", *(f"    {change}" for change in self.changes)]
        lines.append(f"    {len(self.kept)} of {self.trials} trials are points of the new space and are kept")
        for numbers, what in ((self.outside, "are no points of it"), (self.infeasible, "break its constraints")):
            if numbers:
                names = ", ".join(map(str, numbers[:12])) + (", ..." if len(numbers) > 12 else "")
                lines.append(f"    {len(numbers)} {what}: their results stay, no sampler learns from them ({names})")
        return "\n".join(lines)


def plan_of(before: StudyRecord, spaces: Spaces, records: tuple[EvaluationRecord, ...]) -> Plan:
    """What the new space means for a study and its trials."""
    kept: dict[int, Assignment] = {}
    outside, infeasible = [], []
    trials = [record for record in records if record.trial is not None]
    for record in trials:
        number, found = record.trial or 0, expressed(record, spaces.trained)
        if found is None:
            outside.append(number)
        elif not _is_feasible(spaces.written, found):
            infeasible.append(number)
        else:
            kept[number] = found
    return Plan(tuple(changes(before, spaces.written)), len(trials), kept, tuple(outside), tuple(infeasible))


def expressed(record: EvaluationRecord, space: SearchSpace) -> Assignment | None:
    """A trial's assignment in a space, by what it had there before or by what its network is; None: no point of it."""
    program = resolve(network_from(read_text(record.spec, f"the spec of {record.name}")))
    labels = {name: label for name, label in record.params.items() if label is not None and name in space.by_name}
    try:
        same = point(space, labels)
    except SpecError:
        same = None  # a choice that was removed, or layers that do not fit
    if same is not None and same.program.digest == program.digest:
        return same.assignment
    try:
        return find(space, program)
    except SpecError:
        return None  # it would take too many tries: its result stays all the same


def _is_feasible(space: SearchSpace, assignment: Assignment) -> bool:
    try:
        written = point(space, assignment)
    except SpecError:
        return False
    return not any(bound.violation(cost(written.program)) > 0 for bound in space.constraints)


def changes(before: StudyRecord, space: SearchSpace) -> list[str]:
    """What was added, removed and changed, a line for each gene and constraint."""
    if not before.genes:
        return ["what it was before is not known: the study was begun by an older archspec"]
    after = tuple(map(str, space.constraints))
    lines = _gene_changes(before.genes, space)
    lines += [f"constraint removed: {text}" for text in before.constraints if text not in after]
    lines += [f"constraint added: {text}" for text in after if text not in before.constraints]
    return lines or ["its genes and constraints are the same: the network around them changed, or its budget"]


def _gene_changes(before: Mapping[str, Any], space: SearchSpace) -> list[str]:
    lines = [f"removed: {name}" for name in before if name not in space.by_name]
    for gene in space.genes:
        old = before.get(gene.name)
        if old is None:
            lines.append(f"added: {gene.name}: {_listed(gene.choices)}")
            continue
        ranges = (old["low"], old["high"]), (gene.low, gene.high)
        if None not in ranges[0] + ranges[1] and ranges[0] != ranges[1]:
            lines.append("range changed: {}: {} to {}, now {} to {}".format(gene.name, *ranges[0], *ranges[1]))
            continue
        added = [label for label in gene.choices if label not in old["choices"]]
        removed = [label for label in old["choices"] if label not in gene.index]
        lines += [f"choices added: {gene.name}: {_listed(added)}"] if added else []
        lines += [f"choices removed: {gene.name}: {_listed(removed)}"] if removed else []
    return lines


def _listed(labels: Any) -> str:
    return ", ".join(map(str, labels))


def genes_of(space: SearchSpace) -> dict[str, dict[str, Any]]:
    """The genes of a space as plain data: what a later edit is compared with."""
    return {
        gene.name: {"choices": list(gene.choices), "low": gene.low, "high": gene.high, "log": gene.log}
        for gene in space.genes
    }


def migrate(
    record: StudyRecord, spaces: Spaces, leases: Leases, optuna_url: str, say: Callable[[str], None]
) -> StudyRecord:
    """A study's record under its present space: as it is where that was not edited, migrated where it was.

    Workers of the old space stop at their next proposal; what they are training is finished.

    Raises:
        StoreError: the study differs in more than its space.
    """
    before = _known(record, leases)
    if before is None or before.space_digest == record.space_digest:
        return record if before is None else replace(record, generation=before.generation)
    leases.store.check_same(replace(record, space_digest=before.space_digest))
    with Heartbeat(leases) as heartbeat:
        while (turn := leases.take_turn(record.name)) is None:
            time.sleep(SECONDS_BETWEEN_TURNS)
        heartbeat.hold(turn)
        try:
            before = leases.store.get_study(record.name)
            if before.space_digest == record.space_digest:  # another terminal was first
                return replace(record, generation=before.generation)
            return _migrated(record, before, spaces, leases, turn, optuna_url, say)
        finally:
            heartbeat.drop(turn)
            leases.end_turn(turn)


def _known(record: StudyRecord, leases: Leases) -> StudyRecord | None:
    return next((known for known in leases.store.studies() if known.name == record.name), None)


def _migrated(
    record: StudyRecord,
    before: StudyRecord,
    spaces: Spaces,
    leases: Leases,
    turn: Turn,
    optuna_url: str,
    say: Callable[[str], None],
) -> StudyRecord:
    after = replace(record, generation=before.generation + 1)
    records = leases.store.evaluations(record.name)
    plan = plan_of(before, spaces, records)
    say(str(plan))
    distributions = {gene.name: suggest.distribution(gene) for gene in spaces.written.genes}
    # Not asked for a trial, but each sampler is told outcomes in its own way.
    sampler = suggest.inner_sampler(Sampler.model_validate(dict(record.sampler)), record.seed)
    trials = [(each, plan.kept.get(each.trial)) for each in records if each.trial is not None]
    ours = StudyStatus(leases.store, record.name).numbers
    with closing(OptunaStudy(optuna_url, optuna_name(after), record.objectives, sampler, ours)) as optuna:
        optuna.copy_trials(trials, distributions)
    # Last, and in one transaction: whatever kills this before leaves the study with its old space.
    leases.edit_space(turn, after, plan.kept)
    return after
