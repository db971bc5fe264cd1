"""A study goes in; what it found comes out of the store: as a page, as data, as a few lines."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archspec.results.race import race
from archspec.results.race_table import new_seeds
from archspec.results.records import EvaluationRecord, StudyRecord
from archspec.results.report import report_data, write_report
from archspec.results.savings import savings
from archspec.results.status import StudyStatus
from archspec.results.summary import best_trials, failures
from archspec.search.runner import open_store
from archspec.search.study import Study


@dataclass(frozen=True)
class _Found:
    study: StudyRecord
    evaluations: tuple[EvaluationRecord, ...]
    events: dict[str, int]
    exits: dict[str, int]


def _found(study: Study) -> _Found:
    with open_store(study) as store:
        name = study.name
        exits = StudyStatus(store, name).exits()
        return _Found(store.get_study(name), store.evaluations(name), store.count_events(name), exits)


def render(study: Study, output: Path | None = None) -> Path:
    """Write the report of a study and return its path. Raises StoreError when it was never run."""
    found = _found(study)
    page = output or study.folder / "report.html"
    return write_report(
        found.study, found.evaluations, page, found.events, exits=found.exits, policies=study.failures.described()
    )


def data(study: Study) -> dict[str, Any]:
    """Everything the report shows, as plain data."""
    found = _found(study)
    policies = study.failures.described()
    return report_data(found.study, found.evaluations, found.events, exits=found.exits, policies=policies)


def headline(study: Study) -> str:
    """What a person wants to know first: how many trials, and the best beside the references."""
    found = _found(study)
    record, evaluations = found.study, found.evaluations
    trials = [evaluation for evaluation in evaluations if evaluation.trial is not None]
    lines = [f"{record.name}: {len(trials)} trials"]
    best = best_trials(record, evaluations, 1)
    references = [each for each in evaluations if each.reference is not None and not each.is_replicate]
    for evaluation in [*best, *sorted(references, key=_accuracy, reverse=True)]:
        what = "best" if evaluation.trial is not None else "reference"
        cost = evaluation.cost
        size = f"{cost['params'] / 1e6:.2f} M params, {cost['macs'] / 1e6:.1f} M macs"
        known = evaluation.measure("accuracy")
        said = f"{100 * known:5.1f} %" if known is not None else f"{evaluation.cause or evaluation.state:>7}"
        lines.append(f"  {what:<10} {evaluation.name:<18} {said}  {size}")
    return "\n".join([*lines, *_saved(found), *_raced(found), *_failures(found, study)])


def _saved(found: _Found) -> list[str]:
    """A line for each reason for which something was not trained."""
    lines = []
    for saving in savings(found.study, found.evaluations, found.events):
        took = saving.hours or 0.0
        hours = "" if saving.hours is None else f", about {took:.1f} h" if took >= 1 else f", about {60 * took:.0f} min"
        lines.append(f"  saved      {saving.trials} trials{hours}: {saving.reason}")
    return lines


def _raced(found: _Found) -> list[str]:
    """A line for each contender of a race: what new seeds gave, with n and interval."""
    ran = race(found.study, found.evaluations)
    if ran is None:
        return []
    state = {"decided": "their order is significant", "undecided": "ties are left", "running": "not over"}[ran.state]
    lines = [f"  raced      {ran.evaluations} trainings with new seeds: {state}"]
    return [*lines, *(f"             {name:<18} {text}" for name, text in new_seeds(ran).items())]


def _failures(found: _Found, study: Study) -> list[str]:
    """A line for each cause for which attempts failed."""
    policies, lines = study.failures.described(), []
    recorded = Counter(str(each.cause) for each in failures(found.evaluations) if each.trial is not None)
    for cause in (cause for cause in found.exits if cause in policies):
        tried = found.exits[cause]
        lines.append(f"  failed     {cause:<18} {tried} attempts, {recorded[cause]} trials ({policies[cause]})")
    return lines


def _accuracy(evaluation: EvaluationRecord) -> float:
    return evaluation.measure("accuracy") or 0.0
