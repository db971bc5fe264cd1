"""The relation graph goes in, its picture comes out: layers by how many edits lie behind a node, as in Figure 4.

Where nodes stand is computed for whatever nodes there are: below every node that leads to them, in the order within a
layer that lets the fewest edges cross, and of those the one with the shortest edges. An edge that passes a layer gets
a place in it (Sugiyama, Tagawa and Toda 1981).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import TYPE_CHECKING

from archspec.relations.data import Edge, Graph, Node, Placement

if TYPE_CHECKING:
    import plotly.graph_objects as go

Point = tuple[float, float]
Line = tuple[Point, Point]
Layers = list[list[str]]
Ways = Mapping[tuple[str, str], tuple[str, ...]]
"""For each edge what it passes: the node it begins at, a place in each layer between, the node it ends at."""

SWEEPS, LARGEST = 8, 7
"""Passes over the layers; nodes of a layer up to which every order is tried."""


@dataclass(frozen=True)
class GraphData:
    """A graph with the place of each node (layers count downwards from 0), the way of each edge, and what is placed."""

    graph: Graph
    points: dict[str, Point]
    lines: dict[tuple[str, str], tuple[Point, ...]]  # by source and target
    placements: tuple[Placement, ...]

    @property
    def crossings(self) -> int:
        """Pairs of edges that cross."""
        return crossings([pair for way in self.lines.values() for pair in pairwise(way)])

    def placed(self, node: str) -> tuple[tuple[str, int], ...]:
        """What stands nearest to a node: name and distance in edits, nearest first."""
        here = {p.name: p.distance for p in self.placements if node in p.nodes}
        return tuple(sorted(here.items(), key=lambda item: item[1]))


def graph_data(graph: Graph, placements: Iterable[Placement] = ()) -> GraphData:
    """The layout of a graph. Raises ValueError where its edges make a circle."""
    layers, ways = _layers(graph)
    points = _points(_ordered(ways, layers))
    lines = {edge: tuple(points[name] for name in way) for edge, way in ways.items()}
    nodes = {node.name: points[node.name] for node in graph.nodes}
    return GraphData(graph, nodes, lines, tuple(placements))


def crossings(lines: Sequence[Line]) -> int:
    """Pairs of lines without a common end that cross."""
    return sum(_cross(a, b) for place, a in enumerate(lines) for b in lines[place + 1 :])


def _layers(graph: Graph) -> tuple[Layers, Ways]:
    """Each node below all that lead to it, and places for the edges that pass a layer."""
    depth = {node.name: 0 for node in graph.nodes}
    for _ in graph.nodes:
        lower = {e.target: depth[e.source] + 1 for e in graph.edges if depth[e.target] <= depth[e.source]}
        depth |= lower
        if not lower:
            break
    else:
        raise ValueError("the edges of a relation graph make no circle")
    layers: Layers = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name, layer in depth.items():
        layers[layer].append(name)
    ways = {}
    for edge in graph.edges:
        between = range(depth[edge.source] + 1, depth[edge.target])
        passed = [f"{edge.source} → {edge.target}"] * len(between)
        for layer, name in zip(between, (f"{name} {n}" for n, name in enumerate(passed)), strict=True):
            layers[layer].append(name)
        places = (f"{name} {n}" for n, name in enumerate(passed))
        ways[edge.source, edge.target] = (edge.source, *places, edge.target)
    return layers, ways


def _ordered(ways: Ways, layers: Layers) -> Layers:
    """The best of some passes downwards and upwards; a pass puts each layer in order for those it comes from."""
    found = [layers]
    for number in range(SWEEPS):
        down = number % 2 == 0
        found.append(_swept(ways, found[-1], down))
    return min(found, key=lambda each: _price(ways, each))


def _price(ways: Ways, layers: Layers) -> tuple[int, float]:
    """Crossings, then the length of all lines whose ends stand in these layers."""
    points = _points(layers)
    steps = (pair for way in ways.values() for pair in pairwise(way))
    lines = [(points[a], points[b]) for a, b in steps if a in points and b in points]
    return crossings(lines), sum(math.dist(*line) for line in lines)


def _swept(ways: Ways, layers: Layers, down: bool) -> Layers:
    """Layer after layer in its best order for the lines to the layers before it."""
    # Upside down, an upward pass is a downward one; crossings and lengths stay.
    done: Layers = []
    for layer in layers if down else layers[::-1]:

        def price(order: Iterable[str]) -> tuple[int, float]:
            return _price(ways, [*done[-1:], list(order)])

        done.append(list(min(permutations(layer), key=price)) if len(layer) <= LARGEST else _exchanged(layer, price))
    return done if down else done[::-1]


def _exchanged(layer: list[str], price: Callable[[Iterable[str]], tuple[int, float]]) -> list[str]:
    """Neighbours of a wide layer change places while that is better."""
    for _ in layer:
        for place in range(len(layer) - 1):
            other = [*layer[:place], layer[place + 1], layer[place], *layer[place + 2 :]]
            layer = min(layer, other, key=price)
    return layer


def _points(layers: Layers) -> dict[str, Point]:
    """Layers are centred on each other."""
    return {
        name: (place - (len(layer) - 1) / 2, float(depth))
        for depth, layer in enumerate(layers)
        for place, name in enumerate(layer)
    }


def _cross(a: Line, b: Line) -> bool:
    def side(line: Line, point: Point) -> float:
        (x0, y0), (x1, y1) = line
        return (x1 - x0) * (point[1] - y0) - (y1 - y0) * (point[0] - x0)

    if {*a} & {*b}:
        return False
    apart = side(a, b[0]) * side(a, b[1]) < 0 and side(b, a[0]) * side(b, a[1]) < 0
    # A line that goes through a node of the other is as bad as one that crosses it.
    touch = any(side(line, p) == 0 and _within(line, p) for line, other in ((a, b), (b, a)) for p in other)
    return apart or touch


def _within(line: Line, point: Point) -> bool:
    (x0, y0), (x1, y1) = line
    return min(x0, x1) <= point[0] <= max(x0, x1) and min(y0, y1) <= point[1] <= max(y0, y1)


def draw_graph(data: GraphData) -> "go.Figure":
    """Boxes with names of networks, arrows coloured by the axis that is edited; what is placed stands in its box."""
    import plotly.graph_objects as go

    from archspec.results.plots.style import INK, ORANGE, lay_out

    texts = {node.name: _text(node, data.placed(node.name)) for node in data.graph.nodes}
    box = 24 + 19 * max((text.count("<br>") + 1 for text in texts.values()), default=1)
    pitch = box + 95
    figure = go.Figure()
    shown: set[str] = set()
    labels: list[Point] = []
    for edge in data.graph.edges:
        way = data.lines[edge.source, edge.target]
        way = (_border(way[0], way[1], box / pitch), *way[1:-1], _border(way[-1], way[-2], box / pitch))
        _add_arrow(figure, way, edge, edge.kind not in shown)
        _add_label(figure, way[:2], edge, labels)
        shown.add(edge.kind)
    for node in data.graph.nodes:
        _add_node(figure, data, node, texts[node.name], box / pitch)
    if data.placements:
        look = {"symbol": "diamond", "size": 11, "color": ORANGE, "line": {"color": INK, "width": 1}}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=look, name="placed here (+n: n edits away)")
    depth = max((y for _, y in data.points.values()), default=0)
    reach = max((abs(x) for way in data.lines.values() for x, _ in way), default=0) + 0.5
    lay_out(figure, int(70 + pitch * depth + box + 20))
    figure.update_xaxes(range=[-reach, reach], visible=False, fixedrange=True)
    edge_of_box = 0.5 * box / pitch
    figure.update_yaxes(range=[depth + edge_of_box + 0.04, -edge_of_box - 0.04], visible=False, fixedrange=True)
    figure.update_layout(margin={"l": 10, "r": 10, "t": 50, "b": 10})
    return figure


WIDE = 0.8
"""A box, in parts of the distance between two neighbours."""
LISTED = 4
"""Placed names written in a box; all are in its hover text."""
_KINDS = {"sparse": "sparser", "low rank": "lower rank", "dynamic": "dynamic weights", "sharing": "shared"}


def _add_arrow(figure: "go.Figure", way: tuple[Point, ...], edge: Edge, first: bool) -> None:
    from archspec.results.plots.style import BLUE, GREEN, PURPLE, RED

    colour = {"sparse": BLUE, "low rank": PURPLE, "dynamic": RED, "sharing": GREEN}[edge.kind]
    figure.add_scatter(
        x=[x for x, _ in way],
        y=[y for _, y in way],
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": "dash" if edge.dashed else "solid"},
        marker={
            "symbol": "arrow",
            "angleref": "previous",
            "size": [*[0] * (len(way) - 1), 13],
            "color": colour,
            "opacity": 1,
        },
        name=_KINDS[edge.kind],
        legendgroup=edge.kind,
        showlegend=first,
        hoverinfo="skip",
    )


def _add_label(figure: "go.Figure", line: tuple[Point, ...], edge: Edge, taken: list[Point]) -> None:
    """On the line, in its middle or, where another label stands, as near to it as there is room."""
    from archspec.results.plots.style import INK, safe

    (x0, y0), (x1, y1) = line
    places = [(x0 + part * (x1 - x0), y0 + part * (y1 - y0)) for part in (0.5, 0.35, 0.65, 0.22, 0.78)]
    free = [(x, y) for x, y in places if all(abs(x - a) > 0.35 or abs(y - b) > 0.1 for a, b in taken)]
    x, y = (free or places)[0]
    taken.append((x, y))
    edits = "<br>".join(safe(str(edit)) for edit in edge.edits)
    note = {"bgcolor": "white", "borderpad": 1, "showarrow": False, "font": {"size": 11, "color": INK}}
    text = f"<i>{safe(edge.label).replace('Inhomogeneous ', 'Inhomogeneous<br>')}</i>"
    hover = f"{safe(edge.source)} → {safe(edge.target)}<br>{edits}"
    figure.add_annotation(x=x, y=y, text=text, hovertext=hover, **note)


def _border(start: Point, end: Point, high: float) -> Point:
    """Where the line from the middle of a box leaves it."""
    across, down = end[0] - start[0], end[1] - start[1]
    sides = (WIDE / 2 / abs(across) if across else math.inf, high / 2 / abs(down) if down else math.inf)
    return start[0] + min(sides) * across, start[1] + min(sides) * down


def _text(node: Node, placed: Sequence[tuple[str, int]]) -> str:
    """The form's name, a network that has it, and what is placed here: filled where no edit lies between."""
    from archspec.results.plots.style import GREY, safe

    lines = [f"<b>{safe(node.name)}</b>"]
    if node.systems:
        more = f" and {len(node.systems) - 1} more" if len(node.systems) > 1 else ""
        lines.append(f'<span style="font-size:11px;color:{GREY}">{safe(node.systems[0])}{more}</span>')
    marked = [f"◇ {safe(name)} (+{distance})" if distance else f"◆ {safe(name)}" for name, distance in placed]
    if len(marked) > LISTED:
        marked = [*marked[: LISTED - 1], f"and {len(marked) - LISTED + 1} more"]
    return "<br>".join([*lines, *(f'<span style="font-size:12px">{line}</span>' for line in marked)])


def _add_node(figure: "go.Figure", data: GraphData, node: Node, text: str, high: float) -> None:
    from archspec.results.plots.style import INK, ORANGE, safe

    x, y = data.points[node.name]
    placed = data.placed(node.name)
    dash = "dash" if any(edge.dashed for edge in data.graph.edges if edge.target == node.name) else "solid"
    line = {"color": ORANGE if placed else INK, "width": 2.5 if placed else 1.3, "dash": dash}
    corners = {"x0": x - WIDE / 2, "x1": x + WIDE / 2, "y0": y - high / 2, "y1": y + high / 2}
    figure.add_shape(type="rect", line=line, fillcolor="white", layer="above", **corners)
    axes = [f"{axis.replace('_', ' ')}: {safe(value)}" for axis, value in node.form.as_dict().items()]
    names = [*map(safe, node.systems), *(f"{safe(name)}: {_far(distance)}" for name, distance in placed)]
    more = [f"and {len(names) - 24} more"] if len(names) > 24 else []
    hover = "<br>".join([f"<b>{safe(node.name)}</b>", *axes, "", *names[:24], *more])
    figure.add_annotation(x=x, y=y, text=text, showarrow=False, font={"size": 13}, hovertext=hover)


def _far(distance: int) -> str:
    return "has this form" if distance == 0 else f"{distance} edit{'' if distance == 1 else 's'} away"
