"""What a study saved, counted by hand."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from archspec.results.records import EpochRecord, EvaluationRecord, StudyRecord
from archspec.results.savings import savings

STUDY = StudyRecord("s", "", "", "", 0, (), recipe={"epochs": 9})
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def trial(number: int | None, **changes: object) -> EvaluationRecord:
    known: dict[str, object] = dict.fromkeys(EvaluationRecord.__dataclass_fields__)
    known |= {"uuid": str(number), "trial": number, "state": "complete", "seconds": 3600.0, "curve": (), "started": NOW}
    return EvaluationRecord(**known | changes)  # type: ignore[arg-type]


def test_savings_by_hand() -> None:
    """Two whole trainings took 1 and 3 hours; one stopped after 2 of 9 epochs of half an hour each."""
    curve = tuple(EpochRecord(epoch, seconds=1800.0) for epoch in (1, 2))
    records = [
        trial(0),
        trial(1, seconds=3 * 3600.0),
        trial(2, seconds=0.0, cached_from="other"),
        trial(3, state="pruned", seconds=3600.0, curve=curve),
        trial(4, state="failed", seconds=60.0),
        trial(None, seconds=9999.0),
    ]
    found = {saving.reason.split(":")[0]: saving for saving in savings(STUDY, records, {"duplicate": 3, "illegal": 0})}
    assert list(found) == ["suggested again", "evaluated before", "stopped at a rung"]
    assert (found["suggested again"].trials, found["suggested again"].hours) == (3, pytest.approx(6.0))
    assert (found["evaluated before"].trials, found["evaluated before"].hours) == (1, pytest.approx(2.0))
    assert (found["stopped at a rung"].trials, found["stopped at a rung"].hours) == (1, pytest.approx(3.5))


def test_without_a_whole_training_nobody_knows_the_hours() -> None:
    (saving,) = savings(STUDY, [replace(trial(0), state="failed")], {"infeasible": 2})
    assert (saving.trials, saving.hours) == (2, None)
    assert savings(STUDY, [], {}) == ()
