"""Names and numbers go in, how every figure shows them comes out: labels, units, colours, one layout."""

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Okabe & Ito's colours, told apart by colour-blind readers (https://jfly.uni-koeln.de/color/).
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY, DOT, PALE, INK = "#8A929C", "#AEB7C2", "#C9CFD6", "#22272E"
AXIS_COLOURS = {"connectivity": BLUE, "sharing": GREEN, "weights": ORANGE, "size": PURPLE}

LABELS = {
    "accuracy": "validation accuracy",
    "val_accuracy": "validation accuracy",
    "val_loss": "validation loss",
    "loss": "validation loss",
    "latency": "seconds an image",
    "throughput": "images a second",
    "params": "parameters",
    "macs": "multiply-adds",
    "paper_flops": "FLOPs as the paper counts",
    "activation_bytes": "activation bytes",
    "activation_bytes_train": "activation bytes in training",
    "activation_bytes_inference": "activation bytes at inference",
}
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def label(name: str) -> str:
    """What a measure is called on an axis."""
    return LABELS.get(name, name.replace("_", " "))


def is_share(name: str) -> bool:
    """Whether a measure is a fraction that is shown in per cent."""
    return "accuracy" in name


def quantity(name: str, value: float | None) -> str:
    """A value as people read it: `93.42 %`, `0.214 M`, `1.37`; a dash for nothing."""
    if value is None:
        return "–"
    if is_share(name):
        return f"{100 * value:.2f} %"
    for size, prefix in _PREFIXES:
        if abs(value) >= size:
            return f"{value / size:.4g} {prefix}"
    return f"{value:.4g}"


def safe(text: str) -> str:
    """Text for a figure: plotly reads a little HTML in names and hover texts, but no entities of quotes."""
    return html.escape(text, quote=False)


def whole_ticks(count: float) -> dict[str, object]:
    """An axis of whole numbers with at most ten steps: 1, 2 or 5 times a power of ten."""
    steps = (size * 10**power for power in range(12) for size in (1, 2, 5))
    return {"tickformat": "d", "dtick": next(step for step in steps if count <= 10 * step)}


def lay_out(figure: "go.Figure", height: int, x: str = "", y: str = "") -> "go.Figure":
    """The look that all figures share; `x` and `y` are measures by name and get label and unit."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 70, "r": 20, "t": 20, "b": 55},
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"align": "left", "bgcolor": "white"},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": PALE, "activecolor": GREY},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
    )
    grid = {
        "gridcolor": "#E8EBEF",
        "zeroline": False,
        "linecolor": PALE,
        "ticks": "outside",
        "tickcolor": PALE,
    }
    figure.update_xaxes(**grid)
    figure.update_yaxes(**grid)
    for name, update in ((x, figure.update_xaxes), (y, figure.update_yaxes)):
        if name:
            update(title=label(name), tickformat=".0%" if is_share(name) else "~s")
    return figure
