"""A connection's matrix goes in, its footprint comes out: for each position of y, what it reads of x, on the map.

Legend: N outgoing, M incoming positions; H, W height and width of a map, here with the padding of windows.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from archspec.draw.connections import Drawn
from archspec.draw.matrix import ABSENT, MatrixData

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class FootprintData:
    """For each outgoing position a map of what it reads; what stands on no map (a class token) is left out.

    `weights` are mean magnitudes where values were measured, and 1 for every entry otherwise.
    """

    place: str
    outgoing: tuple[str, ...]
    target: tuple[int, int]  # H, W of y
    source: tuple[int, int]  # H, W of x, without padding
    origin: tuple[int, int]  # row and column of the first incoming position: below 0 where a halo begins
    reads: NDArray[np.bool_]  # (N, H, W) of the incoming map
    weights: NDArray[np.float32] | None  # the same shape
    what: str  # what the weights are

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many existing positions each outgoing position reads: (N,)."""
        top, left = -self.origin[0], -self.origin[1]
        inside = self.reads[:, top : top + self.source[0], left : left + self.source[1]]
        return np.asarray(inside.sum(axis=(1, 2)), np.int64)

    def centre(self, position: int) -> tuple[float, float]:
        """Where an outgoing position stands on the incoming map: row and column."""
        row, column = divmod(position, self.target[1])
        down, across = (old / new for old, new in zip(self.source, self.target, strict=True))
        return (row + 0.5) * down - 0.5, (column + 0.5) * across - 0.5


def footprint_data(drawn: Drawn, matrix: MatrixData) -> FootprintData:
    """The same entries as the matrix has, laid out on the map."""
    from archspec.reference.connectivity import incoming

    op = drawn.connection
    read = [position for position in incoming(op.space, op.source) if not position.token]
    tokens = len(matrix.incoming) - len(read)
    first, last = read[0], read[-1]
    shape = last.row - first.row + 1, last.column - first.column + 1
    rows = slice(op.target.class_tokens, None)
    weights = matrix.values.mean[rows, tokens:].reshape(-1, *shape) if matrix.values else None
    reduced = len(read) < op.source.height * op.source.width
    return FootprintData(
        matrix.place,
        matrix.outgoing[rows],
        (op.target.height, op.target.width),
        shape if reduced else (op.source.height, op.source.width),
        (first.row, first.column),
        (matrix.positions[rows, tokens:] != ABSENT).reshape(-1, *shape),
        weights,
        matrix.values.names[0] if matrix.values else "reads",
    )


def draw_footprint(data: FootprintData) -> "go.Figure":
    """One map with a slider over positions: a frame each. The chosen position is marked by a ring."""
    import plotly.graph_objects as go

    from archspec.results.plots.style import GREY, INK, ORANGE, lay_out, whole_ticks

    start = _middle(data)
    rows = [data.origin[0] + row for row in range(data.reads.shape[1])]
    columns = [data.origin[1] + column for column in range(data.reads.shape[2])]
    cells = {"x": columns, "y": rows, "xgap": 1, "ygap": 1, "hoverongaps": False}
    figure = go.Figure()
    ground = np.where(_exists(data), 0.0, 1.0)
    pale = [[0, "#EDF0F3"], [1, "#D9C9A8"]]
    figure.add_heatmap(z=ground, zmin=0, zmax=1, colorscale=pale, showscale=False, hoverinfo="none", **cells)
    bar = {"title": {"text": data.what, "side": "right"}, "thickness": 12, "len": 0.8}
    most = 1.0 if data.weights is None else float(data.weights.max()) or 1.0
    look = {"colorscale": "Viridis", "reversescale": True, "colorbar": bar} if data.weights is not None else {}
    look = look or {"colorscale": [[0, "#0072B2"], [1, "#0072B2"]], "showscale": False}
    weight = "<br>" + data.what + " %{z:.4g}" if data.weights is not None else ""
    hover = "j = (%{y}, %{x})" + weight + "<extra></extra>"
    figure.add_heatmap(z=_shown(data, start), zmin=0, zmax=most, hovertemplate=hover, **look, **cells)
    ring = {"symbol": "circle-open", "size": 15, "color": ORANGE, "line": {"width": 3.5}}
    row, column = data.centre(start)
    figure.add_scatter(x=[column], y=[row], mode="markers", marker=ring, hoverinfo="skip", showlegend=False)
    figure.frames = [_frame(data, position) for position in range(len(data.reads))]
    lay_out(figure, 620)
    figure.update_layout(
        title={"text": _title(data, start), "font": {"size": 14}, "x": 0.02}, margin={"t": 60, "b": 110}
    )
    meta = {"action": "footprint", "source": data.source, "target": data.target, "positions": len(data.reads)}
    figure.update_layout(sliders=[_slider(data, start)], meta=meta)
    if data.source[0] * data.source[1] < data.reads[0].size:
        height, width = data.source
        edge = {"x0": -0.5, "y0": -0.5, "x1": width - 0.5, "y1": height - 0.5, "line": {"color": INK, "width": 1.5}}
        figure.add_shape(type="rect", **edge)
        note = {"text": "beyond the line: padding", "font": {"size": 11, "color": GREY}, "showarrow": False}
        figure.add_annotation(x=1, y=1.02, xref="paper", yref="paper", xanchor="right", yanchor="bottom", **note)
    figure.update_xaxes(title="column", showgrid=False, constrain="domain", **whole_ticks(len(columns)))
    figure.update_yaxes(title="row", showgrid=False, autorange="reversed", scaleanchor="x", constrain="domain")
    figure.update_yaxes(**whole_ticks(len(rows)))
    return figure


def _middle(data: FootprintData) -> int:
    """A position near the middle, but on no axis of symmetry: what it reads says most."""
    height, width = data.target
    return (height // 2 - (height > 2)) * width + width // 2 - (width > 2)


def _exists(data: FootprintData) -> NDArray[np.bool_]:
    there = np.zeros(data.reads.shape[1:], bool)
    top, left = -data.origin[0], -data.origin[1]
    there[top : top + data.source[0], left : left + data.source[1]] = True
    return there


def _shown(data: FootprintData, position: int) -> NDArray[np.float32]:
    """The weights of what is read, and nothing elsewhere."""
    values = np.float32(1) if data.weights is None else data.weights[position]
    return np.where(data.reads[position], values, np.nan).astype(np.float32)


def _title(data: FootprintData, position: int) -> str:
    most, least = int(data.counts.max()), int(data.counts.min())
    spread = f"every position: {most}" if most == least else f"between {least} and {most} over the map"
    return f"Position {data.outgoing[position]} reads {int(data.counts[position])} positions ({spread})"


def _frame(data: FootprintData, position: int) -> "go.Frame":
    import plotly.graph_objects as go

    row, column = data.centre(position)
    traces = [go.Heatmap(z=_shown(data, position)), go.Scatter(x=[column], y=[row])]
    layout = {"title": {"text": _title(data, position)}}
    return go.Frame(name=str(position), data=traces, traces=[1, 2], layout=layout)


def _slider(data: FootprintData, start: int) -> dict[str, object]:
    now = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [
        {"label": name, "method": "animate", "args": [[str(position)], now]}
        for position, name in enumerate(data.outgoing)
    ]
    look = {"currentvalue": {"prefix": "position i = ", "font": {"size": 13}}, "ticklen": 0, "minorticklen": 0}
    return {"active": start, "steps": steps, "pad": {"t": 40}, "font": {"color": "rgba(0,0,0,0)", "size": 1}, **look}
