"""The layout of the relation graph, on graphs whose best layout is known, and what stands in its boxes."""

import pytest

from archspec.draw.graph import crossings, draw_graph, graph_data
from archspec.relations.data import Edge, Graph, Node, Placement
from archspec.relations.form import Form, form_edits


def form(space: str = "full", channels: str = "full", weights: str = "static", index: str = "places") -> Form:
    """A form of full rank."""
    return Form(space, channels, frozenset(), weights, index)  # type: ignore[arg-type]


def diamond() -> Graph:
    """a leads to b and c, both to d; and a to d beside them. Written so that the given order crosses."""
    nodes = (
        Node("a", form(), ("one", "two")),
        Node("b", form("local")),
        Node("c", form(channels="separate")),
        Node("e", form("local", index="windows")),
        Node("f", form(channels="separate", index="windows")),
        Node("d", form("local", "separate", "static", "offsets")),
    )
    pairs = [("a", "b"), ("a", "c"), ("b", "f"), ("c", "e"), ("f", "d"), ("e", "d"), ("a", "d")]
    by_name = {node.name: node.form for node in nodes}
    edges = tuple(Edge(s, t, "Step", "sparse", form_edits(by_name[s], by_name[t])) for s, t in pairs)
    return Graph(nodes, edges)


def test_graph_layers_are_longest_ways_and_nothing_crosses() -> None:
    data = graph_data(diamond())
    assert {name: y for name, (_, y) in data.points.items()} == {"a": 0, "b": 1, "c": 1, "e": 2, "f": 2, "d": 3}
    assert data.crossings == 0
    assert len(data.lines["a", "d"]) == 4  # it has a place of its own in both layers that it passes
    assert set(data.lines["a", "d"]).isdisjoint(data.points[name] for name in "bcef")


def test_crossings_are_counted() -> None:
    across = [((0.0, 0.0), (1.0, 1.0)), ((1.0, 0.0), (0.0, 1.0)), ((0.0, 0.0), (0.0, 1.0))]
    assert crossings(across) == 1


def test_a_circle_is_refused() -> None:
    graph = diamond()
    back = Edge("d", "a", "Back", "sparse", ())
    with pytest.raises(ValueError, match="circle"):
        graph_data(Graph(graph.nodes, (*graph.edges, back)))


def test_what_is_placed_stands_in_its_box() -> None:
    near = Placement("mine", form("local"), ("b",), ((),))
    far = Placement(
        "<b>yours</b>", form("local", "groups"), ("b",), (form_edits(form("local"), form("local", "groups")),)
    )
    data = graph_data(diamond(), [far, near])
    assert data.placed("b") == (("mine", 0), ("<b>yours</b>", 1))
    texts = [note.text for note in draw_graph(data).layout.annotations]
    (box,) = [text for text in texts if "mine" in text]
    assert "◆ mine" in box
    assert "◇ &lt;b&gt;yours&lt;/b&gt; (+1)" in box
