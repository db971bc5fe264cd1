"""Trials of a study and suggestions that were not trained go in; what was saved, in trials and hours, comes out.

Hours are estimates: a training that did not happen counts as the mean of those that came to their end, an epoch that
did not happen as the mean epoch of its own trial. `events` counts a trial at most once, by the first thing that its
sampler suggested: what a loop that trains every suggestion would have trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archspec.results.records import EvaluationRecord, StudyRecord

REPLACED = {
    "duplicate": "suggested again: another point was trained",
    "infeasible": "suggested against a constraint: another point was trained",
    "illegal": "suggested, and no network: another point was trained",
}


@dataclass(frozen=True)
class Saving:
    """So many trials, and the training that they did not cost; None where no trial says how long one takes."""

    reason: str
    trials: int
    hours: float | None


def savings(study: StudyRecord, records: Sequence[EvaluationRecord], events: Mapping[str, int]) -> tuple[Saving, ...]:
    """What was saved, by reason; reasons without a trial are left out."""
    trials = [record for record in records if record.trial is not None]
    whole = [r.seconds for r in trials if r.state == "complete" and r.cached_from is None and r.seconds]
    each = sum(whole) / len(whole) / 3600 if whole else None

    def as_whole(count: int) -> float | None:
        return None if each is None else count * each

    cached = sum(record.cached_from is not None for record in trials)
    stopped = [record for record in trials if record.state == "pruned" and record.cached_from is None]
    found = [Saving(words, events.get(kind, 0), as_whole(events.get(kind, 0))) for kind, words in REPLACED.items()]
    found.append(Saving("evaluated before: answered from the store", cached, as_whole(cached)))
    found.append(Saving("stopped at a rung", len(stopped), sum(_not_trained(study, record) for record in stopped)))
    return tuple(saving for saving in found if saving.trials)


def _not_trained(study: StudyRecord, record: EvaluationRecord) -> float:
    """The hours that the rest of a trial's epochs would have taken."""
    asked = study.recipe.get("epochs")
    seconds = [epoch.seconds for epoch in record.curve if epoch.seconds is not None]
    if not isinstance(asked, int) or not seconds:
        return 0.0
    return max(0, asked - len(record.curve)) * sum(seconds) / len(seconds) / 3600
