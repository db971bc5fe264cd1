"""A program goes in, the growth of its receptive field comes out: what each block's positions read of the image.

Two readings are told apart: what W joins with the weights as given, and what can change an output at all, through
the weights too (archspec/draw/blocks.py). For static networks the two are one.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from archspec.draw.blocks import block_reaches
from archspec.draw.reach import Reach, counts, read_at
from archspec.ir import Pair, Program

if TYPE_CHECKING:
    import plotly.graph_objects as go

PLACES = {"centre": 0.5, "a quarter in": 0.25, "corner": 0.0}


@dataclass(frozen=True)
class Spread:
    """Pixels that one position reads, over the positions of a map."""

    least: int
    mean: float
    most: int


@dataclass(frozen=True)
class Field:
    """The fields after one block: of the first of several maps, which is the largest."""

    path: str
    stage: int
    map: Pair
    reads: Spread
    depends: Spread
    overlays: dict[str, NDArray[np.bool_]]  # at each of PLACES: the pixels read, (H, W) of the image


@dataclass(frozen=True)
class FieldsData:
    """After the stem (stage -1) and after every block."""

    name: str
    image: Pair
    fields: tuple[Field, ...]

    @property
    def stages(self) -> tuple[Field, ...]:
        """The last of each stage."""
        return tuple({field.stage: field for field in self.fields}.values())

    @property
    def static(self) -> bool:
        """Whether no weight is made from features further away than what is read."""
        return all(field.reads == field.depends for field in self.fields)


def fields_data(program: Program) -> FieldsData:
    """Exact, for every position, by composing what the ops read; see archspec/draw/reach.py."""
    fields = []
    both = zip(block_reaches(program, False), block_reaches(program, True), strict=True)
    for (path, stage, read), (_, _, depends) in both:
        height, width = len(read[0].rows), len(read[0].columns)
        places = {name: read_at(read, int(share * height), int(share * width)) for name, share in PLACES.items()}
        fields.append(Field(path, stage, (height, width), _spread(read), _spread(depends), places))
    return FieldsData(program.name, (program.image.height, program.image.width), tuple(fields))


def _spread(read: Reach) -> Spread:
    found = counts(read)
    return Spread(int(found.min()), float(found.mean()), int(found.max()))


def draw_fields(*data: FieldsData) -> "go.Figure":
    """Left, growth block by block, a line for each network. Right, which pixels one position reads after each stage."""
    from plotly.subplots import make_subplots

    from archspec.results.plots.style import lay_out

    widths = [0.5, *[0.5 / len(data)] * len(data)]
    titles = ["What a position reads, block by block", *(_map_title(each, len(data) > 1) for each in data)]
    figure = make_subplots(1, 1 + len(data), column_widths=widths, horizontal_spacing=0.07, subplot_titles=titles)
    for number, each in enumerate(data):
        _add_growth(figure, each, number, len(data) > 1)
    placed = len(figure.data)
    for name in PLACES:
        for column, each in enumerate(data, 2):
            _add_overlay(figure, each, name, column)
    lay_out(figure, 480)
    _rule(figure, data, placed)
    return figure


def _map_title(data: FieldsData, several: bool) -> str:
    return data.name if several else "Pixels by the stage that first reads them"


def _side(pixels: float) -> float:
    return float(np.sqrt(pixels))


def _add_growth(figure: "go.Figure", data: FieldsData, number: int, several: bool) -> None:
    from archspec.results.plots.style import BLUE, GREEN, ORANGE, PURPLE

    colour, other = ((BLUE, ORANGE), (GREEN, PURPLE))[number % 2]
    x = list(range(len(data.fields)))
    prefix = f"{data.name}: " if several else ""
    hover = "%{text}<extra></extra>"
    pixels = data.image[0] * data.image[1]
    band = {"fill": "toself", "line": {"width": 0}, "fillcolor": colour, "opacity": 0.18, "hoverinfo": "skip"}
    lower, upper = ([_side(getattr(f.reads, end)) for f in data.fields] for end in ("least", "most"))
    figure.add_scatter(
        x=x + x[::-1], y=upper + lower[::-1], name=f"{prefix}least to most", mode="lines", **band, row=1, col=1
    )
    lines = [("reads", colour, "solid", "mean over positions")]
    if not data.static:
        lines.append(("depends", other, "dash", "mean, with what weights are made from"))
    for which, chosen, dash, label in lines:
        figure.add_scatter(
            x=x,
            y=[_side(getattr(field, which).mean) for field in data.fields],
            text=[_told(field, getattr(field, which), pixels) for field in data.fields],
            name=prefix + label,
            mode="lines+markers",
            line={"color": chosen, "width": 2, "dash": dash},
            marker={"size": 6},
            hovertemplate=hover,
            row=1,
            col=1,
        )


def _told(field: Field, spread: Spread, pixels: int) -> str:
    height, width = field.map
    text = f"{field.path}, map {height}×{width}<br>pixels read: mean {spread.mean:,.0f} ({spread.mean / pixels:.1%})"
    return f"{text}<br>from {spread.least:,} to {spread.most:,}"


def _add_overlay(figure: "go.Figure", data: FieldsData, place: str, column: int) -> None:
    """The number of the first stage that reads a pixel, in colour; what is never read stays empty."""
    first = np.full(data.image, np.nan, np.float32)
    for number, field in reversed(list(enumerate(data.stages))):
        first[field.overlays[place]] = number
    names = ["stem", *(f"stage {field.stage + 1}" for field in data.stages[1:])]
    colours = _stage_colours(len(names))
    steps = [[place / len(names), colour] for step, colour in enumerate(colours) for place in (step, step + 1)]
    bar = {"tickvals": list(range(len(names))), "ticktext": names, "thickness": 12, "len": 0.85}
    figure.add_heatmap(
        z=first,
        colorscale=steps,
        zmin=-0.5,
        zmax=len(names) - 0.5,
        colorbar=bar,
        showscale=column == 2,
        visible=place == next(iter(PLACES)),
        hovertemplate="pixel (%{y}, %{x})<br>first read in stage %{z} (0: stem)<extra></extra>",
        hoverongaps=False,
        name=place,
        row=1,
        col=column,
    )


def _stage_colours(count: int) -> list[str]:
    """Dark to light: what is read first is darkest."""
    from plotly.colors import sample_colorscale

    return list(sample_colorscale("Viridis", [0.95 * place / max(count - 1, 1) for place in range(count)]))


def _rule(figure: "go.Figure", data: tuple[FieldsData, ...], placed: int) -> None:
    from archspec.results.plots.style import GREY, PALE

    longest = max(data, key=lambda each: len(each.fields))
    starts = [n for n, field in enumerate(longest.fields) if n and field.stage != longest.fields[n - 1].stage]
    if len(data) == 1:
        for start in starts:
            line = {"line": {"color": PALE, "width": 1, "dash": "dot"}, "layer": "below"}
            figure.add_vline(start - 0.5, **line, row=1, col=1)
    whole = _side(longest.image[0] * longest.image[1])
    note = {"annotation_text": "the whole image", "annotation_font": {"color": GREY, "size": 11}}
    line = {"line": {"color": GREY, "width": 1}, "annotation_position": "bottom right"}
    figure.add_hline(whole, **line, **note, row=1, col=1)
    ticks = {"tickvals": list(range(len(longest.fields))), "tickfont": {"size": 10}, "showgrid": False}
    if len(data) == 1:
        ticks["ticktext"] = [_short(field) for field in longest.fields]
    blocks = "stem, then blocks (stage.block)" if len(data) == 1 else "blocks after the stem"
    figure.update_xaxes(title=blocks, row=1, col=1, **_thinned(ticks))
    figure.update_yaxes(title="side of a square of as many pixels", rangemode="tozero", row=1, col=1)
    for column in range(2, 2 + len(data)):
        axes = {"showgrid": False, "constrain": "domain", "row": 1, "col": column}
        figure.update_xaxes(title="pixel column", **axes)
        anchor = f"x{column}"
        title = "pixel row" if column == 2 else ""
        figure.update_yaxes(title=title, autorange="reversed", scaleanchor=anchor, **axes)
    per = len(data)
    always = [True] * placed
    buttons = [
        {
            "label": f"position: {name}",
            "method": "update",
            "args": [{"visible": always + [place // per == number for place in range(per * len(PLACES))]}],
        }
        for number, name in enumerate(PLACES)
    ]
    menu = {"buttons": buttons, "x": 1, "xanchor": "right", "y": 1.25, "yanchor": "top", "bgcolor": "white"}
    legend = {"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0}
    figure.update_layout(updatemenus=[menu], legend=legend, margin={"t": 90, "b": 110})
    figure.update_annotations(selector={"font": {"size": 16}}, font={"size": 14}, yshift=6)


def _short(field: Field) -> str:
    return "stem" if field.stage < 0 else f"{field.stage + 1}.{int(field.path.split('.')[3]) + 1}"


def _thinned(ticks: dict[str, object]) -> dict[str, object]:
    values = ticks["tickvals"]
    assert isinstance(values, list)
    kept = values[:: -(-len(values) // 18)]
    texts = ticks.get("ticktext", values)
    assert isinstance(texts, list)
    return ticks | {"tickvals": kept, "ticktext": [texts[place] for place in kept]}
