"""A study goes in; what it found comes out of the store: as a page, as data, as a few lines."""

from pathlib import Path
from typing import Any

from archspec.results.records import EvaluationRecord, StudyRecord
from archspec.results.report import report_data, write_report
from archspec.results.summary import best_trials
from archspec.search.runner import open_store
from archspec.search.study import Study


def _found(study: Study) -> tuple[StudyRecord, tuple[EvaluationRecord, ...], dict[str, int]]:
    with open_store(study) as store:
        return store.get_study(study.name), store.evaluations(study.name), store.count_events(study.name)


def render(study: Study, output: Path | None = None) -> Path:
    """Write the report of a study and return its path. Raises StoreError when it was never run."""
    record, evaluations, events = _found(study)
    return write_report(record, evaluations, output or study.folder / "report.html", events)


def data(study: Study) -> dict[str, Any]:
    """Everything the report shows, as plain data."""
    record, evaluations, events = _found(study)
    return report_data(record, evaluations, events)


def headline(study: Study) -> str:
    """What a person wants to know first: how many trials, and the best beside the references."""
    record, evaluations, _ = _found(study)
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
