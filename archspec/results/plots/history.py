"""Evaluations go in, the history of the search comes out: each trial's value and the best so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archspec.results.plots.style import BLUE, DOT, GREEN, GREY, RED, lay_out, quantity, whole_ticks
from archspec.results.records import EvaluationRecord, Objective, completed

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class HistoryData:
    """Trials by number. `best` is the best value up to and with each trained or cached trial."""

    objective: Objective
    trials: tuple[int, ...]
    values: tuple[float, ...]
    cached: tuple[bool, ...]
    best: tuple[float, ...]
    pruned: tuple[int, ...]
    failed: tuple[int, ...]


def history_data(records: Sequence[EvaluationRecord], objective: Objective) -> HistoryData:
    """The completed trials that have the objective, in order, and the numbers of those that ended early."""
    measured = [(record, record.measure(objective.name)) for record in completed(records)]
    rows = sorted(
        (record.trial or 0, value, record.cached_from is not None) for record, value in measured if value is not None
    )
    better = max if objective.direction == "maximise" else min
    values = [value for _, value, _ in rows]
    ended = {state: _numbers(records, state) for state in ("pruned", "failed")}
    return HistoryData(
        objective=objective,
        trials=tuple(number for number, _, _ in rows),
        values=tuple(values),
        cached=tuple(cached for _, _, cached in rows),
        best=tuple(better(values[: count + 1]) for count in range(len(values))),
        pruned=ended["pruned"],
        failed=ended["failed"],
    )


def _numbers(records: Sequence[EvaluationRecord], state: str) -> tuple[int, ...]:
    return tuple(sorted(r.trial for r in records if r.trial is not None and r.state == state))


def draw_history(data: HistoryData) -> "go.Figure":
    """Values as dots, the best so far as a staircase, trials that ended early as crosses along the bottom."""
    import plotly.graph_objects as go

    figure = go.Figure()
    name = data.objective.name
    for kind, colour, cached in (("trained", DOT, False), ("cached", GREEN, True)):
        chosen = [place for place, value in enumerate(data.cached) if value is cached]
        figure.add_scatter(
            x=[data.trials[place] for place in chosen],
            y=[data.values[place] for place in chosen],
            text=[quantity(name, data.values[place]) for place in chosen],
            hovertemplate="trial %{x}: %{text}<extra></extra>",
            **{"name": kind, "mode": "markers", "marker": {"color": colour, "size": 8}},
        )
    line = {"color": BLUE, "width": 2, "shape": "hv"}
    figure.add_scatter(x=data.trials, y=data.best, name="best so far", mode="lines", line=line)
    floor = min(data.values, default=0.0)
    for kind, numbers, colour in (("pruned", data.pruned, GREY), ("failed", data.failed, RED)):
        look = {"symbol": "x-thin", "size": 8, "line": {"color": colour, "width": 2}}
        text = {"name": kind, "mode": "markers", "hovertemplate": f"trial %{{x}}: {kind}<extra></extra>"}
        if numbers:
            figure.add_scatter(x=numbers, y=[floor] * len(numbers), marker=look, **text)
    lay_out(figure, 360, y=name)
    last = max((*data.trials, *data.pruned, *data.failed), default=1)
    figure.update_xaxes(title="trial", **whole_ticks(last))
    return figure
