"""The relation graph: nodes, edges and labels against the paper's; the order behind it; placing networks in it."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import archspec
from archspec.cli.app import app
from archspec.relations.form import CHANNELS, INDEXES, SPACES, Form, form_edits
from archspec.relations.graph import graph_of, place, with_placed
from archspec.relations.index import named
from archspec.relations.measured import measured_form
from archspec.relations.nodes import EXAMPLES, main_form, paper_graph, place_network, whole_graph
from archspec.relations.reading import forms
from archspec.resolve import resolve
from archspec.schema.load import load, network_from, network_yaml
from archspec.schema.source import read_text

PAPER = yaml.safe_load((Path(__file__).parent / "relation_graph.yaml").read_text())
RANKS = [frozenset(), frozenset({"space"}), frozenset({"channels"}), frozenset({"space", "channels"})]
FORMS = st.builds(
    Form,
    st.sampled_from(SPACES),
    st.sampled_from(CHANNELS),
    st.sampled_from(RANKS),
    st.sampled_from(["static", "homogeneous", "inhomogeneous"]),
    st.sampled_from(INDEXES),
)


def computed() -> dict[str, Form]:
    """The forms of the paper's nodes, from the files of the zoo and not from the index."""
    return {node: main_form(forms(resolve(load(example)))) for node, example in EXAMPLES.items()}


def test_the_graph_of_the_zoo_is_the_papers() -> None:
    graph = graph_of(computed(), {name: node.systems for name, node in nodes().items()})
    assert [node.name for node in graph.nodes] == list(PAPER["nodes"])
    assert len(graph.nodes) == 12
    found = {(edge.source, edge.target, edge.label, edge.kind) for edge in graph.edges}
    assert found == set(map(tuple, PAPER["edges"]))
    assert len(graph.edges) == 13
    assert {edge.target for edge in graph.edges if edge.dashed} == set(PAPER["dashed"])


def nodes() -> dict[str, object]:
    return {node.name: node for node in paper_graph(named()).nodes}


def test_every_edge_is_one_edit_of_connectivity_rank_or_weights_and_the_index_may_follow() -> None:
    for edge in paper_graph(named()).edges:
        free = [edit.axis for edit in edge.edits if edit.axis != "index"]
        assert len(free) == 1 or (not free and [edit.axis for edit in edge.edits] == ["index"])


def test_the_systems_of_the_paper_stand_at_their_nodes() -> None:
    graph = paper_graph(named())
    for name, systems in PAPER["nodes"].items():
        assert set(systems) <= set(graph[name].systems), name


@pytest.mark.parametrize("name", PAPER["systems_elsewhere"])
def test_systems_that_stand_elsewhere_are_known_with_the_reason(name: str) -> None:
    _, where, _ = PAPER["systems_elsewhere"][name]
    placement = place(name, main_form(named()[name].forms), paper_graph(named()))
    assert list(placement.nodes) == where
    assert placement.distance == (0 if name == "res2net_50" else 1)


@pytest.mark.parametrize("node", EXAMPLES)
def test_a_node_that_changes_in_one_axis_changes_the_graph(node: str) -> None:
    """The graph is computed: no other value of any axis gives the paper's 13 edges at any node."""
    own = computed()
    true = {(edge.source, edge.target) for edge in graph_of(own).edges}
    assert len(true) == 13
    form = own[node]
    others = [replace(form, space=space) for space in SPACES]
    others += [replace(form, channels=channels) for channels in ("full", "separate")]
    others += [replace(form, weights=weights) for weights in ("static", "homogeneous", "inhomogeneous")]
    for other in others:
        if other != form and other not in own.values():
            assert {(edge.source, edge.target) for edge in graph_of({**own, node: other}).edges} != true, str(other)


@given(FORMS, FORMS, FORMS)
def test_forms_are_partly_ordered(a: Form, b: Form, c: Form) -> None:
    assert a <= a
    assert not (a < b and b < a)
    if a <= b and b <= c:
        assert a <= c
    assert (a == b) == (not form_edits(a, b))


@given(st.lists(FORMS, min_size=2, max_size=12, unique=True))
def test_an_edge_joins_neighbours_in_the_order(found: list[Form]) -> None:
    graph = graph_of({str(form): form for form in found})
    for edge in graph.edges:
        source, target = graph[edge.source].form, graph[edge.target].form
        assert source < target
        assert not any(source < between < target for between in found)


def test_two_names_for_one_form_are_no_graph() -> None:
    form = computed()["Conv."]
    with pytest.raises(ValueError, match="several names"):
        graph_of({"a": form, "b": form})


def test_the_representations_of_appendix_b() -> None:
    """Which sources of weights keep the order of the window (vector) and which lose it (set)."""
    vector = ("inhomogeneous", "static_and_dynamic", "post_convolution", "pre_convolution", "pre_convolution_full")
    for name in (*vector, "homogeneous"):
        assert {form.index for form in named()[f"weight_{name}"].forms} == {"offsets"}, name
    for name in ("dot_product", "relative_bias"):
        assert {form.index for form in named()[f"weight_{name}"].forms} == {"content"}, name


MEASURED = {
    "MLP": ("full", "full", "none", "static", ()),
    "LR MLP": ("full", "full", "none", "static", ("space", "channels")),
    "Conv.": ("sliding", "full", "offsets", "static", ()),
    "Sep. MLP": ("full", "separate", "none", "static", ()),
    "Bottleneck": ("sliding", "full", "offsets", "static", ("channels",)),
    "Pyramid / MS Conv.": ("sliding", "full", "offsets", "static", ("space",)),
    "DW-S Conv.": ("sliding", "separate", "offsets", "static", ()),
    "ViT": ("full", "separate", "none", "attention", ()),
    "Local ViT": ("window", "separate", "none", "attention", ()),
    "PVT": ("pooled", "separate", "none", "attention", ()),
    "Dynamic DW-S Conv.": ("sliding", "separate", "offsets", "pooled", ()),
    "Dynamic Local-S MLP": ("sliding", "separate", "none", "local", ()),
}


def test_what_a_probe_says_of_each_node_gives_its_form() -> None:
    found = {node: measured_form(*facts) for node, facts in MEASURED.items()}
    assert found == computed()
    with pytest.raises(ValueError, match="no form"):
        measured_form("nothing", "separate", "none", "static")
    with pytest.raises(ValueError, match="no form"):
        measured_form("full", "separate", "none", "unknown")


@pytest.mark.parametrize("node", [node for node, example in EXAMPLES.items() if example.startswith("layer_")])
def test_nodes_that_are_single_layers_are_measured(node: str) -> None:
    """The form of a compiled layer, from its Jacobian alone (Bottleneck and PVT are parts of larger networks)."""
    text = network_yaml(load(EXAMPLES[node]))
    if "MLP" in node and "Local" not in node:  # fewer entries of W to measure
        text = text.replace("size: 8", "size: 4").replace("16", "6").replace("size: 32", "size: 5")
    network = network_from(read_text(text, node))
    module = archspec.compile(network, seed=0).get_submodule("stages.0.blocks.0")
    size, width = network.input.height_width[0], network.input.channels
    facts = archspec.probe(module, (size, size, width), layout="nhwc")
    assert facts.row is not None
    columns = {"space": facts.row.spatial, "channels": facts.row.channel}
    low_rank = [direction for direction, found in columns.items() if found == "low rank"]
    kinds = facts.space.kind, facts.channels.kind, facts.ties.positions, facts.dependence.kind
    assert measured_form(*kinds, low_rank) == computed()[node]  # type: ignore[arg-type]


def test_placing_a_form_names_every_nearest_node_with_the_way_there() -> None:
    graph = paper_graph(named())
    static_windows = Form("local", "separate", frozenset(), "static", "places")
    placement = place("mine", static_windows, graph)
    assert placement.nodes == ("Sep. MLP", "DW-S Conv.")
    assert [[str(edit) for edit in edits] for edits in placement.edits] == [
        ["space: full → local"],
        ["index: offsets → places"],
    ]
    placed = with_placed(graph, [placement])
    assert [node.name for node in placed.nodes if node.placed == ("mine",)] == ["Sep. MLP", "DW-S Conv."]


@pytest.mark.parametrize(("space", "weights"), list(product(SPACES, ("static", "homogeneous", "inhomogeneous"))))
def test_every_form_has_a_place(space: str, weights: str) -> None:
    form = Form(space, "separate", frozenset(), weights, "offsets")  # type: ignore[arg-type]
    placement = place("mine", form, paper_graph(named()))
    assert placement.nodes
    assert all(len(edits) == placement.distance for edits in placement.edits)


def test_a_network_stands_where_its_layers_do_with_their_share() -> None:
    first, second = place_network("swin_tiny", named()["swin_tiny"].forms, paper_graph(named()))
    assert (first.nodes, first.distance, round(first.share, 3)) == (("Local ViT",), 0, round(10 / 12, 3))
    assert second.nodes == ("ViT",), "the windows of the last stage cover the map"


def test_the_whole_graph_holds_the_papers_nodes_and_every_other_form_once() -> None:
    graph = whole_graph(named())
    assert {node.name for node in graph.nodes} > set(EXAMPLES)
    every = {form for each in named().values() for form in each.forms}
    assert {node.form for node in graph.nodes} == every | set(computed().values())


def test_the_command_prints_nodes_edges_and_what_is_placed(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["graph", "halonet_nano"])
    assert result.exit_code == 0, result.output
    assert "12 nodes, 13 edges" in result.stdout
    assert "halonet_nano: Local ViT" in result.stdout
    data = json.loads(CliRunner().invoke(app, ["graph", "halonet_nano", "--json"]).stdout)
    assert len(data["edges"]) == 13
    assert data["placements"][0]["nodes"] == ["Local ViT"]
    assert [node["name"] for node in data["nodes"] if node["placed"]] == ["Local ViT"]
