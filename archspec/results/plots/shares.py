"""Evaluations go in, which axis and which gene mattered comes out, with interval and chance."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from archspec.results.importance import Importance, Share, importance
from archspec.results.plots.style import AXIS_COLOURS, GREY, INK, RED, lay_out, safe
from archspec.results.records import EvaluationRecord, Gene, Objective, completed

if TYPE_CHECKING:
    import plotly.graph_objects as go


def importance_data(
    records: Iterable[EvaluationRecord], objective: Objective, axes: Mapping[str, str], seed: int = 0
) -> Importance:
    """Importance for one objective over the completed trials; a point trained once counts once."""
    points: dict[str, tuple[Mapping[str, Gene], float]] = {}
    for record in completed(records):
        value = record.measure(objective.name)
        if value is not None and record.params:
            points.setdefault(record.uuid, (record.params, value))
    return importance(tuple(points.values()), axes, seed)


def draw_importance(shares: Sequence[Share]) -> "go.Figure":
    """One bar a share (of axes or of genes), from 0, in the order given; a tick marks what chance reaches."""
    import plotly.graph_objects as go

    known = [share for share in shares if share.share is not None][::-1]
    values = [max(share.share or 0.0, 0.0) for share in known]
    names = [f"{safe(share.name)}  <b>{100 * v:.0f} %</b>" for share, v in zip(known, values, strict=True)]
    figure = go.Figure()
    figure.add_bar(
        **{"x": values, "y": names, "orientation": "h", "showlegend": False, "hoverinfo": "skip"},
        marker={"color": [AXIS_COLOURS.get(share.axis, GREY) for share in known]},
        error_x={
            "array": [max((share.high or 0.0) - v, 0.0) for share, v in zip(known, values, strict=True)],
            "arrayminus": [v - max(share.low or 0.0, 0.0) for share, v in zip(known, values, strict=True)],
            **{"color": INK, "thickness": 1.2, "width": 4},
        },
    )
    look = {"symbol": "line-ns", "size": 16, "line": {"color": RED, "width": 2}}
    chance = [share.chance for share in known]
    hover = "chance reaches %{x:.0%}<extra></extra>"
    figure.add_scatter(x=chance, y=names, name="chance", mode="markers", marker=look, hovertemplate=hover)
    lay_out(figure, 90 + 30 * max(len(known), 1))
    figure.update_layout(bargap=0.35)
    figure.update_xaxes(title="share of variance explained", tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(automargin=True, showgrid=False)
    return figure
