"""A connection goes in, its matrix W comes out: which entries exist, which are one value, and what the values are.

W's support is the product of two small matrices, so both are drawn instead of W: N x M over positions, and C' x C
over channels. What they mean is said by archspec/reference alone.

Legend: N outgoing, M incoming positions (with the padding of windows); C channels (C' outgoing); K kernels.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from archspec.draw.connections import Drawn
from archspec.ir import Attention, Connect, Outlook, Predicted

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from archspec.draw.values import Values

ABSENT = -1
CHANNELS = 96
"""Channels drawn along each side of the matrix over channels."""
SCALE, SIGNED, SINGLE = "Viridis", "RdBu", "#0072B2"


@dataclass(frozen=True)
class MatrixData:
    """The two factors of W's support, with the class of each entry: entries of equal class are one value.

    Classes are numbered from 0 in the order of their tie index; ABSENT where there is no entry.
    """

    place: str
    facts: str
    outgoing: tuple[str, ...]  # names of the N positions: (row, column)
    incoming: tuple[str, ...]  # and of the M, with those of padding
    positions: NDArray[np.int32]  # (N, M)
    channels: NDArray[np.int32]  # (C', C), at most CHANNELS of each
    width: tuple[int, int]  # C', C
    row: tuple[int, int]  # positions in a row of the map: outgoing, incoming
    values: "Values | None" = None

    @property
    def entries(self) -> int:
        """Pairs of positions that are joined."""
        return int((self.positions != ABSENT).sum())

    @property
    def share(self) -> float:
        """The part of all pairs of positions that are joined."""
        return self.entries / self.positions.size

    @property
    def classes(self) -> int:
        """Different values over positions."""
        return int(self.positions.max()) + 1

    @property
    def tied(self) -> bool:
        """Whether any two pairs of positions share a value."""
        return self.classes < self.entries

    @property
    def channel_classes(self) -> int:
        """Different values over the channels drawn."""
        return int(self.channels.max()) + 1


def matrix_data(drawn: Drawn, values: "Values | None" = None) -> MatrixData:
    """The matrix of a connection; `values` are those of `archspec.draw.values.measured`."""
    from archspec import reference
    from archspec.reference.connectivity import Position, incoming, outgoing
    from archspec.reference.sharing import channel_index

    op = drawn.connection

    def name(position: Position) -> str:
        if position.token:
            return "class token"
        return f"({position.row}, {position.column})" + (" padding" if position.padding else "")

    positions = reference.tie(op).numpy()
    if predicted_at_positions(op):
        # The index says which of i's values: two outgoing positions share none.
        own = np.arange(len(positions))[:, None] * (positions.max() + 1)
        positions = np.where(positions == ABSENT, ABSENT, positions + own)
    read = incoming(op.space, op.source)
    inside = [
        [channel_index(op, d, c) if mixed(op, d, c) else None for c in range(min(op.source.channels, CHANNELS))]
        for d in range(min(op.target.channels, CHANNELS))
    ]
    columns = {position.column for position in read if not position.token}
    return MatrixData(
        drawn.place,
        op.facts(),
        tuple(map(name, outgoing(op.target))),
        tuple(map(name, read)),
        numbered(positions),
        _channel_classes(inside),
        (op.target.channels, op.source.channels),
        (op.target.width, len(columns)),
        values,
    )


def predicted_at_positions(op: Connect) -> bool:
    """Whether each outgoing position has weights of its own, made from the features."""
    return isinstance(op.weights, Attention | Outlook) or (
        isinstance(op.weights, Predicted) and op.weights.source == "local"
    )


def mixed(op: Connect, d: int, c: int) -> bool:
    """Whether output channel d reads input channel c."""
    from archspec.reference.connectivity import mixes

    return mixes(op, d, c)


def numbered(indices: NDArray[np.integer]) -> NDArray[np.int32]:
    """Indices, ABSENT among them, as numbers without gaps in the same order."""
    found, places = np.unique(indices, return_inverse=True)
    return np.asarray(places.reshape(indices.shape) - int(found[0] == ABSENT), np.int32)


def _channel_classes(inside: list[list[tuple[int, ...] | None]]) -> NDArray[np.int32]:
    order = {index: place for place, index in enumerate(sorted({i for row in inside for i in row if i is not None}))}
    return np.array([[ABSENT if i is None else order[i] for i in row] for row in inside], np.int32)


def draw_matrix(data: MatrixData) -> "go.Figure":
    """Both factors side by side, equal colours for equal values; buttons change to the values, where there are any.

    The first trace is over positions and the second over channels; the others are the values, hidden at first.
    """
    from plotly.subplots import make_subplots

    from archspec.results.plots.style import lay_out

    figure = make_subplots(1, 2, column_widths=[0.64, 0.36], horizontal_spacing=0.13, subplot_titles=_titles(data))
    _add_classes(figure, data)
    _add_channels(figure, data)
    if data.values is not None:
        _add_values(figure, data, data.values)
    lay_out(figure, 640)
    figure.update_layout(margin={"t": 90, "l": 80, "b": 70}, showlegend=False, meta={"action": "matrix"})
    _rule(figure, data)
    figure.update_annotations(font={"size": 14}, yshift=8)
    return figure


def _titles(data: MatrixData) -> tuple[str, str]:
    sizes = f"{len(data.outgoing)} × {len(data.incoming)} positions"
    shared = f"{data.classes:,} values" if data.tied else "a value each"
    over = f"{sizes}: {data.entries:,} entries ({data.share:.1%}), {shared}"
    outgoing, incoming = data.width
    cut = f", the first {data.channels.shape[0]} drawn" if max(data.width) > CHANNELS else ""
    return over, f"{outgoing} × {incoming} channels{cut}: {count(data.channel_classes, 'kernel')}"


def count(number: int, noun: str) -> str:
    """`1 kernel`, `3 kernels`, `2 classes`."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def _add_classes(figure: "go.Figure", data: MatrixData) -> None:
    hover = "i = %{y}<br>j = %{x}<br>"
    hover += "value %{z} of " + f"{data.classes:,}" if data.tied else "a value of its own"
    extra = {}
    if data.values is not None:
        extra["customdata"] = data.values.mean
        hover += f"<br>{data.values.names[0]} %{{customdata:.4g}}"
    figure.add_heatmap(
        z=_or_nothing(data.positions if data.tied else np.minimum(data.positions, 0)),
        x=data.incoming,
        y=data.outgoing,
        hovertemplate=hover + "<extra></extra>",
        **(_scale(data.classes) if data.tied else _single()),
        **extra,
        **_place(1),
        name="positions",
    )


def _add_channels(figure: "go.Figure", data: MatrixData) -> None:
    several = data.channel_classes > 1
    figure.add_heatmap(
        z=_or_nothing(data.channels),
        hovertemplate="d = %{y}<br>c = %{x}<br>"
        + ("kernel %{z}" if several else "one kernel for all")
        + "<extra></extra>",
        **(_scale(data.channel_classes) if several else _single()),
        **_place(2),
        name="channels",
    )


def _or_nothing(classes: NDArray[np.int32]) -> list[list[int | None]]:
    """As lists, which the page's script can read; typed arrays reach it packed."""
    return [[None if number == ABSENT else number for number in row] for row in classes.tolist()]


def _scale(classes: int) -> dict[str, object]:
    # The light end of the scale is hard to tell from the paper.
    return {"colorscale": SCALE, "zmin": 0, "zmax": max(1.1 * (classes - 1), 1), "showscale": False}


def _single() -> dict[str, object]:
    return {"colorscale": [[0, SINGLE], [1, SINGLE]], "showscale": False}


def _place(column: int) -> dict[str, object]:
    number = "" if column == 1 else str(column)
    return {"xaxis": f"x{number}", "yaxis": f"y{number}", "hoverongaps": False}


def _add_values(figure: "go.Figure", data: MatrixData, values: "Values") -> None:
    absent = data.positions == ABSENT
    for name, layer in zip(values.names, values.layers, strict=True):
        signed = bool((layer < 0).any())
        most = float(np.abs(layer).max()) or 1.0
        figure.add_heatmap(
            z=np.where(absent, np.nan, layer),
            x=data.incoming,
            y=data.outgoing,
            hovertemplate=f"i = %{{y}}<br>j = %{{x}}<br>{name} %{{z:.4g}}<extra></extra>",
            colorscale=SIGNED if signed else SCALE,
            zmin=-most if signed else 0,
            zmax=most,
            visible=False,
            colorbar={"x": 0.57, "len": 0.9, "thickness": 12, "title": {"text": ""}, "tickfont": {"size": 11}},
            **_place(1),
            name=name,
        )
    shown = ["equal colour, equal value", *values.names]
    total = len(values.names)
    buttons = [
        {
            "label": label,
            "method": "update",
            "args": [{"visible": [number == 0, True, *(place + 1 == number for place in range(total))]}],
        }
        for number, label in enumerate(shown)
    ]
    menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.17, "yanchor": "top", "bgcolor": "white"}
    figure.update_layout(updatemenus=[menu])


def _rule(figure: "go.Figure", data: MatrixData) -> None:
    """Square cells, y downwards; ticks and pale lines where a row of the map begins."""
    names = {"x": (data.incoming, data.row[1]), "y": (data.outgoing, data.row[0])}
    for axis, (positions, row) in names.items():
        tokens = sum(name == "class token" for name in positions)
        starts = list(range(tokens, len(positions), row))
        update = figure.update_xaxes if axis == "x" else figure.update_yaxes
        kept = starts[:: -(-len(starts) // 14)]
        update(tickvals=[positions[place] for place in kept], showgrid=False, row=1, col=1)
        for start in starts[1:] if row > 1 else []:
            line = {"line": {"color": "#C9CFD6", "width": 0.6}, "layer": "above", "row": 1, "col": 1}
            (figure.add_vline if axis == "x" else figure.add_hline)(start - 0.5, **line)
    figure.update_xaxes(title="incoming position j (row, column)", tickangle=-90, tickfont={"size": 10}, row=1, col=1)
    figure.update_yaxes(title="outgoing position i (row, column)", tickfont={"size": 10}, row=1, col=1)
    figure.update_xaxes(title="incoming channel c", showgrid=False, constrain="domain", row=1, col=2)
    figure.update_yaxes(title="outgoing channel d", showgrid=False, row=1, col=2)
    for column, anchor in ((1, "x"), (2, "x2")):
        figure.update_yaxes(autorange="reversed", scaleanchor=anchor, constrain="domain", row=1, col=column)
    figure.update_xaxes(constrain="domain")
