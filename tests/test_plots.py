"""Every figure's data against records whose answer is known; every figure draws what its data says."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from results_records import NAMED, STUDY, make_records

from archspec.results import plots
from archspec.results.plots import style
from archspec.results.plots.pareto import is_beaten
from archspec.results.records import EvaluationRecord, Objective, completed, ranked

ACCURACY = Objective("accuracy")
PARAMS = Objective("params", "minimise")
RECORDS = make_records()


def record(trial: int | None, accuracy: float | None, params: int, **changes: Any) -> EvaluationRecord:
    """A completed trial with these measures."""
    values = {} if accuracy is None else {"accuracy": accuracy}
    base = replace(RECORDS[0], trial=trial, values=values, cost={"params": params}, uuid=f"u{trial}{changes}")
    return replace(base, **changes)


# --- selection


def test_ranking() -> None:
    records = [record(0, 0.5, 3), record(1, 0.9, 2), record(2, 0.9, 1), record(3, None, 0, state="pruned")]
    records.append(record(None, 0.99, 1, reference="named"))
    assert [r.trial for r in ranked(records, ACCURACY)] == [1, 2, 0]
    assert [r.trial for r in ranked(records, PARAMS)] == [2, 1, 0]
    assert [r.trial for r in completed(records)] == [0, 1, 2]


# --- Pareto front


def test_the_front_is_what_no_trial_beats() -> None:
    records = [
        record(0, 0.5, 10),
        record(1, 0.6, 10),
        record(2, 0.4, 5),
        record(3, 0.6, 20),
        record(4, 0.9, 30),
    ]
    data = plots.pareto_data(records, PARAMS, ACCURACY)
    assert [(point.x, point.y) for point in data.front] == [(5, 0.4), (10, 0.6), (30, 0.9)]
    assert [point.name for point in data.points if not point.on_front] == ["trial 0", "trial 3"]


def test_equal_points_do_not_beat_each_other() -> None:
    data = plots.pareto_data([record(0, 0.5, 10), record(1, 0.5, 10)], PARAMS, ACCURACY)
    assert len(data.front) == 2
    assert not is_beaten([1.0, 2.0], [(1.0, 2.0)])


def test_directions_turn_the_front() -> None:
    records = [record(0, 0.5, 10), record(1, 0.9, 20)]
    least = plots.pareto_data(records, PARAMS, Objective("accuracy", "minimise"))
    most = plots.pareto_data(records, Objective("params"), ACCURACY)
    assert [point.name for point in least.front] == ["trial 0"]
    assert [point.name for point in most.front] == ["trial 1"]


def test_named_points_do_not_shape_the_front_but_are_judged_by_it() -> None:
    named = [record(None, 0.95, 8, reference="strong"), record(None, 0.1, 8, reference="weak")]
    data = plots.pareto_data([record(0, 0.9, 10), record(1, 0.2, 5), *named], PARAMS, ACCURACY)
    assert [point.name for point in data.front] == ["trial 1", "trial 0"]
    assert {point.name: point.on_front for point in data.points if point.is_reference} == {
        "strong": True,
        "weak": False,
    }


def test_the_front_leaves_out_what_has_no_value() -> None:
    records = [
        record(0, 0.5, 10),
        record(1, None, 1),
        record(2, 0.9, 1, state="failed"),
        record(3, 0.9, 1, cost={}),
    ]
    assert [point.name for point in plots.pareto_data(records, PARAMS, ACCURACY).points] == ["trial 0"]


def test_the_front_of_a_whole_study_agrees_with_a_slow_count() -> None:
    data = plots.pareto_data(RECORDS, PARAMS, ACCURACY)
    trials = [point for point in data.points if not point.is_reference]
    slow = [
        point.name
        for point in trials
        if not any(o.x <= point.x and o.y >= point.y and (o.x, o.y) != (point.x, point.y) for o in trials)
    ]
    assert sorted(point.name for point in data.front) == sorted(slow)
    assert {point.name for point in data.points if point.is_reference} == set(NAMED)


def test_the_front_is_drawn_as_a_staircase_with_labelled_diamonds() -> None:
    figure = plots.draw_pareto(plots.pareto_data(RECORDS, PARAMS, ACCURACY))
    data = plots.pareto_data(RECORDS, PARAMS, ACCURACY)
    traces = {trace.name: trace for trace in figure.data if trace.name}
    assert traces["Pareto front"].line.shape == "hv"
    assert list(traces["Pareto front"].x) == [point.x for point in data.front]
    assert len(traces["trials"].x) + len(traces["Pareto front"].x) + len(NAMED) == len(data.points)
    texts = [text.strip() for trace in figure.data if trace.mode == "text" for text in trace.text]
    assert sorted(texts) == sorted(NAMED)


def test_wide_costs_get_a_logarithmic_axis() -> None:
    near, far = [record(0, 0.5, 10), record(1, 0.9, 20)], [record(0, 0.5, 10), record(1, 0.9, 20_000)]
    assert plots.draw_pareto(plots.pareto_data(near, PARAMS, ACCURACY)).layout.xaxis.type is None
    assert plots.draw_pareto(plots.pareto_data(far, PARAMS, ACCURACY)).layout.xaxis.type == "log"


# --- learning curves


def test_curves_by_role() -> None:
    data = plots.curves_data(RECORDS, ACCURACY, best=3)
    best = ranked(RECORDS, ACCURACY)[:3]
    assert [curve.name for curve in data.of("best")] == [r.name for r in best]
    assert [curve.name for curve in data.of("reference")] == list(NAMED)
    trained = [r for r in RECORDS if r.cached_from is None]
    assert len(data.curves) == len(trained)
    first = data.of("best")[0]
    assert first.epochs == tuple(range(1, 9))
    assert first.values == tuple(epoch.val_accuracy for epoch in best[0].curve)


def test_epochs_without_a_value_are_left_out() -> None:
    diverged = next(r for r in RECORDS if r.cause == "diverged")
    assert plots.curves_data([diverged], ACCURACY, "val_loss").curves == ()
    assert len(plots.curves_data([diverged], ACCURACY).curves[0].epochs) == 4


def test_other_curves_are_one_trace_with_gaps() -> None:
    data = plots.curves_data(RECORDS, ACCURACY, best=2)
    figure = plots.draw_curves(data)
    assert [trace.name for trace in figure.data[:1]] == ["other trials"]
    assert len(figure.data) == 1 + len(NAMED) + 2
    others = data.of("other")
    assert len(figure.data[0].x) == sum(len(curve.epochs) + 1 for curve in others)
    assert sum(value is None for value in figure.data[0].y) == len(others)


def test_one_epoch_is_drawn_as_markers() -> None:
    single = replace(RECORDS[0], curve=RECORDS[0].curve[:1])
    figure = plots.draw_curves(plots.curves_data([single], ACCURACY))
    assert figure.data[-1].mode == "markers"


# --- history


def test_history_follows_the_best_so_far() -> None:
    records = [record(2, 0.7, 1), record(0, 0.5, 1), record(1, 0.4, 1, cached_from="other: trial 1")]
    records += [record(3, None, 1, state="pruned"), record(4, None, 1, state="failed")]
    data = plots.history_data(records, ACCURACY)
    assert data.trials == (0, 1, 2)
    assert data.best == (0.5, 0.5, 0.7)
    assert data.cached == (False, True, False)
    assert (data.pruned, data.failed) == ((3,), (4,))
    assert plots.history_data(records, Objective("accuracy", "minimise")).best == (0.5, 0.4, 0.4)
    names = [trace.name for trace in plots.draw_history(data).data]
    assert names == ["trained", "cached", "best so far", "pruned", "failed"]


# --- costs


def test_costs_by_state() -> None:
    data = plots.costs_data(RECORDS)
    assert list(data.trials) == ["complete", "pruned", "failed"]
    assert sum(len(values) for values in data.trials.values()) == 60
    assert data.named == dict.fromkeys(NAMED, 200_000)
    figure = plots.draw_costs(data)
    bins = figure.data[0].xbins
    assert bins.start == min(min(values) for values in data.trials.values())
    assert bins.end > max(max(values) for values in data.trials.values())


# --- importance


def test_importance_finds_connectivity_and_counts_a_training_once() -> None:
    data = plots.importance_data(RECORDS, ACCURACY, STUDY.axes)
    assert data.trials == len({r.uuid for r in completed(RECORDS)}) < len(completed(RECORDS))
    assert [share.name for share in data.axes] == ["connectivity", "sharing", "weights", "size"]
    first = data.axes[0]
    assert first.is_beyond_chance
    assert first.share == max(share.share or 0.0 for share in data.axes)
    assert {share.name for share in data.genes[:3]} == {"stage1.space", "stage2.space", "stage3.space"}
    figure = plots.draw_importance(data.axes)
    assert list(figure.data[0].x)[::-1] == [max(share.share or 0.0, 0.0) for share in data.axes]
    assert all(value >= 0 for value in figure.data[0].error_x.array)


# --- all


@pytest.mark.parametrize("records", [(), RECORDS[:1], (replace(RECORDS[0], state="running", values={}, curve=()),)])
def test_every_figure_draws_with_little_or_nothing(records: tuple[EvaluationRecord, ...]) -> None:
    figures = [
        plots.draw_pareto(plots.pareto_data(records, PARAMS, ACCURACY)),
        plots.draw_curves(plots.curves_data(records, ACCURACY)),
        plots.draw_history(plots.history_data(records, ACCURACY)),
        plots.draw_costs(plots.costs_data(records)),
        plots.draw_importance(plots.importance_data(records, ACCURACY, STUDY.axes).axes),
    ]
    assert all(figure.to_json() and figure.layout.height > 50 for figure in figures)


def test_names_are_escaped_for_plotly() -> None:
    evil = replace(RECORDS[-1], reference="<b>x</b>", params={"<i>": 1})
    figures = [
        plots.draw_pareto(plots.pareto_data([evil], PARAMS, ACCURACY)),
        plots.draw_curves(plots.curves_data([evil], ACCURACY)),
        plots.draw_costs(plots.costs_data([evil])),
    ]
    assert all("x</b>" not in str(figure.to_dict()) for figure in figures)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.93421, "93.42 %"),
        ("params", 213_900, "213.9 k"),
        ("macs", 4_490_566_272, "4.491 G"),
        ("loss", 1.23456, "1.235"),
        ("params", None, "–"),
    ],
)
def test_quantities_read_well(name: str, value: float | None, text: str) -> None:
    assert style.quantity(name, value) == text


def test_data_needs_no_plotly() -> None:
    code = "import sys, archspec.results.report; print([name for name in sys.modules if 'plotly' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
