"""A study goes in; what it found comes out of the store: as a page, as data, as a few lines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archspec.results.records import EvaluationRecord, StudyRecord
from archspec.results.report import report_data, write_report
from archspec.results.standing import Standing
from archspec.results.summary import best_trials
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
        exits = Standing(store, name).exits()
        return _Found(store.get_study(name), store.evaluations(name), store.count_events(name), exits)


def render(study: Study, output: Path | None = None) -> Path:
    """Write the report of a study and return its path. Raises StoreError when it was never run."""
    found = _found(study)
    page = output or study.folder / "report.html"
    return write_report(found.study, found.evaluations, page, found.events, exits=found.exits)


def data(study: Study) -> dict[str, Any]:
    """Everything the report shows, as plain data."""
    found = _found(study)
    return report_data(found.study, found.evaluations, found.events, exits=found.exits)


def headline(study: Study) -> str:
    """What a person wants to know first: how many trials, and the best beside the references."""
    found = _found(study)
    record, evaluations = found.study, found.evaluations
    trials = [evaluation for evaluation in evaluations if evaluation.trial is not None]
    lines = [f"{record.name}: {len(trials)} trials"]
    best = best_trials(record, evaluations, 1)
    references = [evaluation for evaluation in evaluations if evaluation.reference is not None]
    for evaluation in [*best, *sorted(references, key=_accuracy, reverse=True)]:
        what = "best" if evaluation.trial is not None else "reference"
        cost = evaluation.cost
        size = f"{cost['params'] / 1e6:.2f} M params, {cost['macs'] / 1e6:.1f} M macs"
        lines.append(f"  {what:<10} {evaluation.name:<18} {100 * _accuracy(evaluation):5.1f} %  {size}")
    return "\n".join(lines)


def _accuracy(evaluation: EvaluationRecord) -> float:
    return evaluation.measure("accuracy") or 0.0
