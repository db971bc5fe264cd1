"""Evaluations go in, the Pareto front of two measures comes out: the trials that no other trial beats."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archspec.results.plots.style import BLUE, DOT, INK, ORANGE, lay_out, quantity, safe
from archspec.results.records import EvaluationRecord, Objective

if TYPE_CHECKING:
    import plotly.graph_objects as go

WIDE = 50  # costs that spread over more than this factor are drawn on a logarithmic axis


@dataclass(frozen=True)
class ParetoPoint:
    """One evaluation. `on_front`: no trial is at least as good in both measures and better in one."""

    name: str
    x: float
    y: float
    is_reference: bool
    on_front: bool


@dataclass(frozen=True)
class ParetoData:
    """Trials and named points; the front is of the trials alone, so that a named point can beat it."""

    x: Objective
    y: Objective
    points: tuple[ParetoPoint, ...]

    @property
    def front(self) -> tuple[ParetoPoint, ...]:
        """The trials on the front, by x."""
        chosen = (point for point in self.points if point.on_front and not point.is_reference)
        return tuple(sorted(chosen, key=lambda point: (point.x, point.y)))


def pareto_data(records: Iterable[EvaluationRecord], x: Objective, y: Objective) -> ParetoData:
    """The completed evaluations that have both measures, in their order."""
    measured = [
        (record, record.measure(x.name), record.measure(y.name)) for record in records if record.state == "complete"
    ]
    found = [(record, a, b) for record, a, b in measured if a is not None and b is not None]
    # Smaller is better from here on.
    signs = [-1.0 if objective.direction == "maximise" else 1.0 for objective in (x, y)]
    trials = [(signs[0] * a, signs[1] * b) for record, a, b in found if record.reference is None]
    points = tuple(
        ParetoPoint(
            record.name,
            a,
            b,
            record.reference is not None,
            not is_beaten((signs[0] * a, signs[1] * b), trials),
        )
        for record, a, b in found
    )
    return ParetoData(x, y, points)


def is_beaten(point: Sequence[float], others: Iterable[Sequence[float]]) -> bool:
    """Whether another point is at least as good everywhere and better somewhere; smaller is better."""
    pairs = (tuple(zip(other, point, strict=True)) for other in others)
    return any(all(o <= p for o, p in pair) and any(o < p for o, p in pair) for pair in pairs)


def draw_pareto(data: ParetoData) -> "go.Figure":
    """Trials as dots, the front as a staircase, named points as labelled diamonds."""
    import plotly.graph_objects as go

    trials = [point for point in data.points if not point.is_reference and not point.on_front]
    named = [point for point in data.points if point.is_reference]
    dots = {"mode": "markers", "hovertemplate": "%{text}<extra></extra>"}
    figure = go.Figure()
    figure.add_scatter(**_places(data, trials), **dots, name="trials", marker={"color": DOT, "size": 9})
    # The corner between two points of the front lies on the side that the better x leaves free.
    shape = "hv" if data.x.direction == "minimise" else "vh"
    front = _places(data, data.front)
    line = {"color": BLUE, "width": 2, "shape": shape}
    mode = {**dots, "mode": "lines+markers"}
    figure.add_scatter(**front, **mode, name="Pareto front", line=line, marker={"size": 10})
    if named:
        look = {"symbol": "diamond", "size": 11, "color": ORANGE, "line": {"color": INK, "width": 1}}
        figure.add_scatter(**_places(data, named), **dots, name="named points", marker=look)
        labels = {**_places(data, named), "text": [f"  {safe(point.name)}" for point in named]}
        figure.add_scatter(**labels, mode="text", textposition="top right", hoverinfo="skip", showlegend=False)
    lay_out(figure, 420, x=data.x.name, y=data.y.name)
    places = [point.x for point in data.points]
    if min(places, default=0) > 0 and max(places) > WIDE * min(places):
        figure.update_xaxes(type="log")
    return figure


def _places(data: ParetoData, points: Sequence[ParetoPoint]) -> dict[str, list[object]]:
    texts: list[object] = [
        f"<b>{safe(point.name)}</b><br>{quantity(data.y.name, point.y)}<br>{quantity(data.x.name, point.x)}"
        for point in points
    ]
    return {"x": [point.x for point in points], "y": [point.y for point in points], "text": texts}
