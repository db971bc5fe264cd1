"""Evaluations go in, learning curves come out: best trials and named points in colour, the rest grey."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from archspec.results.plots.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    RED,
    SKY,
    lay_out,
    quantity,
    safe,
    whole_ticks,
)
from archspec.results.records import EvaluationRecord, Objective, ranked

if TYPE_CHECKING:
    import plotly.graph_objects as go

Role = Literal["other", "reference", "best"]
_DASHES = ("dot", "dash", "dashdot", "longdash", "longdashdot")
_COLOURS = (BLUE, RED, GREEN, PURPLE, SKY, ORANGE)


@dataclass(frozen=True)
class Curve:
    """One evaluation's curve: epochs from 1, and the measure after each."""

    name: str
    role: Role
    epochs: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class CurvesData:
    """All curves of one measure: others first, then named points, then the best trials, best first."""

    measure: str
    curves: tuple[Curve, ...]

    def of(self, role: Role) -> tuple[Curve, ...]:
        """The curves of one role."""
        return tuple(curve for curve in self.curves if curve.role == role)


def curves_data(
    records: Sequence[EvaluationRecord], objective: Objective, measure: str = "val_accuracy", best: int = 5
) -> CurvesData:
    """The curves of one epoch measure; the `best` trials stand out. Each training is drawn once."""
    order = {record.uuid: place for place, record in enumerate(ranked(records, objective)[:best])}
    found: list[tuple[tuple[int, int], Curve]] = []
    seen: set[str] = set()
    for place, record in enumerate(records):
        known = [(epoch.epoch, getattr(epoch, measure)) for epoch in record.curve]
        kept = [(epoch, value) for epoch, value in known if value is not None]
        if not kept or (record.uuid in seen and record.reference is None):
            continue
        seen.add(record.uuid)
        role: Role = "reference" if record.reference is not None else "best" if record.uuid in order else "other"
        rank = {"other": 0, "reference": 1, "best": 2}[role], order.get(record.uuid, place)
        epochs, values = zip(*kept, strict=True)
        found.append((rank, Curve(record.name, role, epochs, values)))
    return CurvesData(measure, tuple(curve for _, curve in sorted(found, key=lambda pair: pair[0])))


def draw_curves(data: CurvesData) -> "go.Figure":
    """One grey trace for all others (a gap between two), one trace each for named points and best trials."""
    import plotly.graph_objects as go

    figure = go.Figure()
    gap: list[float | None] = [None]
    others = data.of("other")
    figure.add_scatter(
        x=[epoch for curve in others for epoch in [*curve.epochs, *gap]],
        y=[value for curve in others for value in [*curve.values, *gap]],
        text=[safe(curve.name) for curve in others for _ in [*curve.epochs, *gap]],
        **{"name": "other trials", "mode": "lines", "line": {"color": PALE, "width": 1}},
        hovertemplate="%{text}, epoch %{x}<extra></extra>",
    )
    for curve, dash in zip(data.of("reference"), _DASHES * len(data.curves), strict=False):
        _add(figure, data, curve, {"color": INK, "width": 1.2, "dash": dash})
    for curve, colour in zip(data.of("best"), _COLOURS * len(data.curves), strict=False):
        _add(figure, data, curve, {"color": colour, "width": 2.2})
    lay_out(figure, 420, y=data.measure)
    figure.update_layout(legend={"orientation": "v", "x": 1.02, "y": 1, "yanchor": "top"}, margin={"r": 150})
    last = max((curve.epochs[-1] for curve in data.curves), default=1)
    figure.update_xaxes(title="epoch", **whole_ticks(last))
    return figure


def _add(figure: "go.Figure", data: CurvesData, curve: Curve, line: dict[str, object]) -> None:
    # A single epoch makes no line: markers show it.
    mode = "lines" if len(curve.epochs) > 1 else "markers"
    text = [f"{safe(curve.name)}<br>{quantity(data.measure, value)}" for value in curve.values]
    hover = "%{text}, epoch %{x}<extra></extra>"
    name = safe(curve.name)
    figure.add_scatter(x=curve.epochs, y=curve.values, text=text, name=name, mode=mode, line=line, hovertemplate=hover)
