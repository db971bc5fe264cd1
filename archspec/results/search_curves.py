"""Means and intervals of searches against epochs spent go in; one HTML page with a figure for each task comes out."""

from collections.abc import Mapping, Sequence

from archspec.results.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY

Curve = Sequence[tuple[float, float]]
"""Mean and half the width of its interval, at each point of the grid."""
_COLOURS = (GREY, ORANGE, RED, PURPLE, BLUE, GREEN, SKY)


def draw_search_curves(grid: Sequence[int], tasks: Mapping[str, Mapping[str, Curve]]) -> str:
    """A page that opens offline: the value of each method, with its interval, against epochs spent."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=len(tasks), cols=1, subplot_titles=list(tasks), shared_xaxes=True)
    for row, (task, curves) in enumerate(tasks.items(), 1):
        for place, (name, curve) in enumerate(curves.items()):
            colour = _COLOURS[place % len(_COLOURS)]
            means, upper, lower = ([m + side * h for m, h in curve] for side in (0.0, 1.0, -1.0))
            band = [*upper, *reversed(lower)]
            around = [*grid, *reversed(grid)]
            shape = {"fill": "toself", "fillcolor": colour, "opacity": 0.15, "line_width": 0, "hoverinfo": "skip"}
            group = {"legendgroup": name}
            figure.add_trace(go.Scatter(x=around, y=band, showlegend=False, **shape, **group), row=row, col=1)
            line = go.Scatter(x=list(grid), y=means, name=name, line_color=colour, showlegend=row == 1, **group)
            figure.add_trace(line, row=row, col=1)
        figure.update_yaxes(title_text=task, type="log" if task == "regret" else "linear", row=row, col=1)
    figure.update_xaxes(title_text="epochs spent", row=len(tasks), col=1)
    figure.update_layout(template="plotly_white", height=420 * len(tasks))
    return str(figure.to_html(include_plotlyjs=True))
