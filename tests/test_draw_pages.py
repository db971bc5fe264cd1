"""Drawn pages in a real Chromium: no error, nothing loaded from anywhere, every element there, clicks answered."""

from pathlib import Path

import pytest
from browser import needs_chromium, opened

from archspec.draw.graph import draw_graph, graph_data
from archspec.draw.page import Page, Section, write_page, write_pictures
from archspec.draw.pictures import Wanted, comparison_page, graph_page, network_page
from archspec.relations.data import Edge, Graph, Node, Placement
from archspec.relations.form import Form, form_edits
from archspec.schema.load import load

pytestmark = needs_chromium

DRAWN = "[...document.querySelectorAll('.plotly-graph-div')].filter(d => d.querySelector('svg')).map(d => d.id)"
LINKS = "[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.getAttribute('href')))"
SCRIPTS_RAN = "document.querySelectorAll('img[src=\"x\"]').length"


def of(figure: str) -> str:
    """A figure of the page."""
    return f"document.getElementById('{figure}-figure')"


def clicked(figure: str, point: str) -> str:
    """A click on a point of a figure, and time for what it starts."""
    return f"({of(figure)}.emit('plotly_click', {{points: [{point}]}}), new Promise(r => setTimeout(r, 200)))"


def shown(figure: str, trace: int) -> str:
    """How many cells of a heatmap have a value."""
    return f"[...{of(figure)}._fullData[{trace}].z].reduce((n, row) => n + [...row].filter(v => v === +v).length, 0)"


@pytest.fixture(scope="module")
def page_of_a_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = network_page(load("swin_nano"), Wanted(("stages.1.blocks.1.0.1",)))
    return write_page(page, tmp_path_factory.mktemp("network") / "page.html")


def test_a_network(page_of_a_network: Path) -> None:
    questions = [
        DRAWN,
        LINKS,
        "document.title",
        # The slider begins in the middle, and moves to what is clicked: a corner of a moved window.
        f"{of('footprint-1')}._fullLayout.title.text",
        shown("footprint-1", 1),
        clicked("footprint-1", "{x: 0, y: 7, curveNumber: 0}"),
        f"{of('footprint-1')}._fullLayout.title.text",
        shown("footprint-1", 1),
        f"{of('footprint-1')}.layout.sliders[0].active",
    ]
    seen = opened(page_of_a_network, questions)
    assert seen.errors == ()
    drawn, links, title, before, cells_before, _, after, cells_after, active = seen.answers
    assert drawn == ["matrix-1-figure", "footprint-1-figure", "fields-figure"]
    assert links
    assert title == "swin_nano"
    assert before == "Position (3, 3) reads 16 positions (between 4 and 16 over the map)"
    assert after == "Position (7, 0) reads 4 positions (between 4 and 16 over the map)"
    assert (cells_before, cells_after, active) == (16, 4, 56)


def test_a_click_on_a_value_shows_where_it_stands(tmp_path: Path) -> None:
    """A 7x7 kernel on 8x8 positions: its middle tap stands once for each position."""
    page = network_page(load("dw_conv_nano"), Wanted(("stages.0.blocks.0.0.3",), (16, 16)))
    point = "{x: '(0, 0)', y: '(0, 0)', z: 24, curveNumber: 0}"
    questions = [shown("matrix-1", 0), clicked("matrix-1", point), shown("matrix-1", 0), clicked("matrix-1", point)]
    seen = opened(write_page(page, tmp_path / "page.html"), [*questions, shown("matrix-1", 0)])
    assert seen.errors == ()
    everything = (4 + 5 + 6 + 7) ** 2 * 4
    assert seen.answers[::2] == (everything, 64, everything)


def test_two_networks(tmp_path: Path) -> None:
    page = comparison_page(load("swin_nano"), load("dw_conv_nano"))
    boxes = f"{of('comparison')}.querySelectorAll('.shapelayer path').length"
    words = f"{of('comparison')}.querySelector('.infolayer').textContent"
    seen = opened(write_page(page, tmp_path / "page.html"), [DRAWN, boxes, words])
    assert seen.errors == ()
    drawn, boxes, words = seen.answers
    assert drawn == ["comparison-figure", "costs-figure", "fields-figure"]
    assert boxes == len(page.sections[0].figure.layout.shapes) > 30
    assert "space: window 4x4 → sliding 7x7" in words


def hostile_graph() -> Graph:
    """Two forms, one of whose names would run if it were not escaped."""
    forms = {"MLP": Form("full", "full", frozenset(), "static", "places")}
    name = '<img src="x" onerror="throw 1">'
    forms[name] = Form("local", "full", frozenset(), "static", "places")
    edge = Edge("MLP", name, "Locality Sep.", "sparse", form_edits(*forms.values()))
    return Graph(tuple(Node(each, form, ("a", "b")) for each, form in forms.items()), (edge,))


def test_the_graph_and_names_of_users(tmp_path: Path) -> None:
    graph = hostile_graph()
    placed = Placement("</script><script>throw 2</script>", graph.nodes[1].form, (graph.nodes[1].name,), ((),))
    words = f"{of('graph')}.querySelector('.infolayer').textContent"
    page = write_page(graph_page(graph, [placed]), tmp_path / "page.html")
    seen = opened(page, [DRAWN, SCRIPTS_RAN, words])
    assert seen.errors == ()
    drawn, ran, words = seen.answers
    assert drawn == ["graph-figure"]
    assert ran == 0
    assert '<img src="x" onerror="throw 1">' in words
    assert "◆ </script>" in words


def test_png_files(tmp_path: Path) -> None:
    from PIL import Image

    figure = draw_graph(graph_data(hostile_graph()))
    page = Page("graph", "", (Section("graph", "Relation graph", "", figure),))
    (written,) = write_pictures(page, tmp_path / "page.html")
    with Image.open(written) as image:
        assert image.format == "PNG"
        assert image.size == (2200, 2 * figure.layout.height)
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 20


def test_an_error_of_a_page_is_seen(tmp_path: Path) -> None:
    """Otherwise nothing above could fail."""
    page = tmp_path / "page.html"
    page.write_text("<script>console.error('one'); throw new Error('two')</script><img src='http://localhost:9/three'>")
    errors = "\n".join(opened(page).errors)
    assert "one" in errors
    assert "two" in errors
    assert "three" in errors
