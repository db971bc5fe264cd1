"""A study and its evaluations go in, plain JSON comes out: everything a report says."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from archspec.results.importance import Importance, Share
from archspec.results.plots import importance_data, pareto_data
from archspec.results.plots.pareto import is_beaten
from archspec.results.race import race
from archspec.results.race_table import race_facts
from archspec.results.records import TIMED, EvaluationRecord, Objective, StudyRecord, completed, ranked
from archspec.results.savings import savings

# Our own images: they reward connectivity on purpose.
SYNTHETIC = frozenset({"fractal", "relation"})
SYNTHETIC_NOTICE = "synthetic data: not a ranking of ImageNet"
COSTS = ("params", "macs")  # drawn against the main objective when the study does not ask for other ones
# What cost.py computes without training, here by name: a study without evaluations has no costs to look at.
EXACT = frozenset({*COSTS, "paper_flops", "activation_bytes", "inference_activation_bytes"})


def is_synthetic(study: StudyRecord) -> bool:
    """Whether the study trained on the embedded, generated images."""
    return study.data.get("name") in SYNTHETIC


def main_objective(study: StudyRecord, records: Sequence[EvaluationRecord]) -> Objective:
    """The first objective that is measured by training, not a cost or a time; the first one when all are such."""
    costs = {name for record in records for name in record.cost} | EXACT | set(TIMED)
    return next((objective for objective in study.objectives if objective.name not in costs), study.objectives[0])


def pareto_pairs(study: StudyRecord, records: Sequence[EvaluationRecord]) -> tuple[tuple[Objective, Objective], ...]:
    """The pairs (x, y) worth a figure: the main objective against the others and the usual costs."""
    main = main_objective(study, records)
    others = [objective for objective in study.objectives if objective != main]
    named = {objective.name for objective in others} | {main.name}
    others += [Objective(cost, "minimise") for cost in COSTS if cost not in named]
    return tuple((other, main) for other in others)


def best_trials(
    study: StudyRecord, records: Sequence[EvaluationRecord], count: int = 10
) -> tuple[EvaluationRecord, ...]:
    """The best trials by the main objective; with several, those that no other trial beats."""
    order = ranked(records, main_objective(study, records))
    if len(study.objectives) > 1:
        signs = [-1.0 if objective.direction == "maximise" else 1.0 for objective in study.objectives]
        places: dict[str, tuple[float, ...]] = {}
        for record in order:
            measured = [record.measure(objective.name) for objective in study.objectives]
            if None not in measured:
                places[record.uuid] = tuple(s * (v or 0.0) for s, v in zip(signs, measured, strict=True))
        everything = tuple(places.values())
        order = tuple(r for r in order if r.uuid in places and not is_beaten(places[r.uuid], everything))
    unique: dict[str, EvaluationRecord] = {}
    for record in order:  # an equal, cached trial is the same spec
        unique.setdefault(record.uuid, record)
    return tuple(unique.values())[:count]


def report_data(
    study: StudyRecord,
    records: Sequence[EvaluationRecord],
    events: Mapping[str, int] | None = None,
    best: int = 10,
    exits: Mapping[str, int] | None = None,
    policies: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Everything the report says, as plain JSON. Works for a study that is empty or still running.

    `exits` says how often attempts ended in each way: those beyond the failures that were recorded were retried.
    `policies` says of each cause of failure what the study does then.

    Times are ISO 8601 in UTC, `training_seconds` sums this study's own trainings, `accuracy` is in 0..1.
    """
    raced, everything = race(study, records), records
    records = [record for record in records if not record.is_replicate]
    objective = main_objective(study, records)
    finished = [record.finished for record in records if record.finished is not None]
    data = {
        "study": study.name,
        "notice": SYNTHETIC_NOTICE if is_synthetic(study) else None,
        "objectives": [asdict(objective) for objective in study.objectives],
        "main_objective": objective.name,
        "trials": count_trials(study, records),
        "training_seconds": sum(record.seconds or 0.0 for record in everything if record.cached_from is None),
        "started": _moment(min((r.started for r in records), default=None)),
        "finished": _moment(max(finished, default=None)),
        "best": [_evaluation(record) for record in best_trials(study, records, best)],
        "named_points": [_evaluation(record) for record in records if record.reference is not None],
        "fronts": [_front(records, x, y) for x, y in pareto_pairs(study, records)],
        "importance": _importance(importance_data(records, objective, study.axes)),
        "race": None if raced is None else race_facts(raced),
        "failures": dict(Counter(record.cause for record in failures(records)).most_common()),
        "attempts": dict(exits or {}),
        "policies": dict(policies or {}),
        "events": dict(events or {}),
        "saved": [asdict(saving) for saving in savings(study, records, events or {})],
        "provenance": provenance(study),
    }
    return _plain(data)


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    """Once through JSON: tuples become lists, and a number that JSON does not know is an error here."""
    plain: dict[str, Any] = json.loads(json.dumps(data, allow_nan=False))
    return plain


def count_trials(study: StudyRecord, records: Sequence[EvaluationRecord]) -> dict[str, int | None]:
    """How the trials ended. `trained`: to the end, in this trial; `cached`: an equal point's outcome."""
    trials = [record for record in records if record.trial is not None]
    own = Counter(record.state for record in trials if record.cached_from is None)
    return {
        "asked": study.trials,
        "total": len(trials),
        "trained": own["complete"],
        "cached": sum(record.cached_from is not None for record in trials),
        "pruned": own["pruned"],
        "failed": own["failed"],
        "running": own["running"],
        "resumed": sum(record.starts > 1 for record in trials if record.cached_from is None),
        "with_value": len(completed(records)),
    }


def failures(records: Sequence[EvaluationRecord]) -> tuple[EvaluationRecord, ...]:
    """The trainings of this study that failed, cached outcomes left out."""
    return tuple(record for record in records if record.state == "failed" and record.cached_from is None)


def provenance(study: StudyRecord) -> dict[str, Any]:
    """What is needed to run the study again, the YAML files included."""
    values = asdict(study)
    values["created"] = _moment(study.created)
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def _front(records: Sequence[EvaluationRecord], x: Objective, y: Objective) -> dict[str, Any]:
    data = pareto_data(records, x, y)
    named = [point for point in data.points if point.is_reference]
    return {
        "x": asdict(x),
        "y": asdict(y),
        "trials": [asdict(point) for point in data.front],
        "named_points": [asdict(point) for point in named],
    }


def _importance(found: Importance) -> dict[str, Any]:
    def plain(share: Share) -> dict[str, Any]:
        return asdict(share) | {"is_beyond_chance": share.is_beyond_chance}

    return {
        "trials": found.trials,
        "axes": [plain(share) for share in found.axes],
        "genes": [plain(share) for share in found.genes],
    }


def _evaluation(record: EvaluationRecord) -> dict[str, Any]:
    values = asdict(record) | {"name": record.name}
    values |= {"started": _moment(record.started), "finished": _moment(record.finished)}
    values["curve"] = [asdict(epoch) for epoch in record.curve]
    return values


def _moment(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds")
