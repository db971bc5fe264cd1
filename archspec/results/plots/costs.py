"""Evaluations go in, how an exact cost is spread over the trials comes out, by how the trials ended."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archspec.results.plots.style import BLUE, GREY, INK, ORANGE, PALE, RED, lay_out, quantity, safe, whole_ticks
from archspec.results.records import EvaluationRecord

if TYPE_CHECKING:
    import plotly.graph_objects as go

BINS = 24
_COLOURS = {"complete": BLUE, "pruned": GREY, "failed": RED, "running": PALE}


@dataclass(frozen=True)
class CostsData:
    """One cost of every trial by state, and of the named points."""

    cost: str
    trials: dict[str, tuple[int, ...]]  # by state, in the order complete, pruned, failed, running
    named: dict[str, int]


def costs_data(records: Iterable[EvaluationRecord], cost: str = "params") -> CostsData:
    """The evaluations whose cost is known."""
    known = [(record, record.cost[cost]) for record in records if cost in record.cost]
    by_state = {
        state: tuple(value for record, value in known if record.state == state and record.trial is not None)
        for state in _COLOURS
    }
    named = {record.name: value for record, value in known if record.reference is not None}
    return CostsData(cost, {state: values for state, values in by_state.items() if values}, named)


def draw_costs(data: CostsData) -> "go.Figure":
    """A stacked histogram of equal bins; named points as diamonds below."""
    import plotly.graph_objects as go

    figure = go.Figure()
    everything = [value for values in data.trials.values() for value in values]
    first, last = min(everything, default=0), max(everything, default=0)
    width = max((last - first) / BINS, 1)
    bins = {"start": first, "end": last + width, "size": width}
    tallest = max(Counter((value - first) // width for value in everything).values(), default=1)
    for state, values in data.trials.items():
        figure.add_histogram(x=values, name=state, xbins=bins, marker={"color": _COLOURS[state]})
    if data.named:
        look = {"symbol": "diamond", "size": 11, "color": ORANGE, "line": {"color": INK, "width": 1}}
        text = [f"{safe(name)}: {quantity(data.cost, value)}" for name, value in data.named.items()]
        place = {"x": [*data.named.values()], "y": [0] * len(text), "text": text, "cliponaxis": False}
        hover = "%{text}<extra></extra>"
        figure.add_scatter(**place, name="named points", mode="markers", marker=look, hovertemplate=hover)
    lay_out(figure, 300, x=data.cost)
    figure.update_layout(barmode="stack", bargap=0.05)
    figure.update_yaxes(title="trials", **whole_ticks(tallest))
    return figure
