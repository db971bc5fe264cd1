"""An audit goes in; each proxy's Kendall tau with its interval, beside the baselines, comes out as a figure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from archspec.results.audit import Audit
from archspec.results.plots.style import BLUE, GREEN, GREY, ORANGE, lay_out, safe

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLOURS = {"baseline": ORANGE, "ceiling": GREEN}


@dataclass(frozen=True)
class TrustBar:
    """One proxy: tau, its interval, and its colour."""

    name: str
    tau: float
    low: float
    high: float
    colour: str


def trust_data(found: Audit) -> tuple[TrustBar, ...]:
    """The proxies that have a tau, the lowest first."""
    bars = []
    for row in found.rows:
        tau = row.tau
        if tau.value is not None and tau.low is not None and tau.high is not None:
            trusted = row.verdict.startswith("may be trusted")
            colour = _COLOURS.get(row.asked.role, BLUE if trusted else GREY)
            bars.append(TrustBar(f"{row.asked.name} (n {row.n})", tau.value, tau.low, tau.high, colour))
    return tuple(sorted(bars, key=lambda bar: bar.tau))


def draw_trust(bars: tuple[TrustBar, ...]) -> "go.Figure":
    """Dots with intervals; baselines orange, another training to the end green, what may be trusted blue."""
    import plotly.graph_objects as go

    figure = go.Figure()
    above, below = [bar.high - bar.tau for bar in bars], [bar.tau - bar.low for bar in bars]
    spread = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": GREY, "thickness": 1.5}
    look = {"size": 11, "color": [bar.colour for bar in bars]}
    hover = "%{y}: tau %{x:.2f}<extra></extra>"
    names = [safe(bar.name) for bar in bars]
    figure.add_scatter(
        x=[bar.tau for bar in bars], y=names, error_x=spread, mode="markers", marker=look, hovertemplate=hover
    )
    figure.add_vline(x=0, line={"color": GREY, "width": 1})
    lay_out(figure, 120 + 28 * len(bars), x="tau")
    figure.update_xaxes(title="Kendall tau-b with longer training, 95 % interval", range=[-1.05, 1.05])
    figure.update_layout(showlegend=False)
    return figure
