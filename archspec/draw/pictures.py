"""A network, and what to draw of it, go in; the page of its pictures comes out."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from archspec.draw.comparison import comparison_data, costs_by_stage_data, draw_comparison, draw_costs_by_stage
from archspec.draw.connections import Drawn, chosen, distinct, drawn
from archspec.draw.fields import FieldsData, draw_fields, fields_data
from archspec.draw.footprint import draw_footprint, footprint_data
from archspec.draw.graph import draw_graph, graph_data
from archspec.draw.matrix import MatrixData, count, draw_matrix, matrix_data
from archspec.draw.page import Page, Section
from archspec.draw.values import Values, measured
from archspec.ir import Connect, Pair, Program, Static
from archspec.relations.data import Graph, Placement
from archspec.resolve import resolve
from archspec.schema.network import Network

MOST = 4
"""Connections drawn unless some are named."""


@dataclass(frozen=True)
class Wanted:
    """What to draw: which connections (by path), at which input size, with whose values."""

    connections: tuple[str, ...] = ()
    size: Pair | None = None
    image: Path | None = None
    weights: Path | None = None
    seed: int = 0


def network_page(network: Network, wanted: Wanted) -> Page:
    """Matrix and footprint of the chosen connections, then the growth of the receptive field.

    Raises SpecError, DrawingError or WeightsError: see archspec.draw.connections and archspec.draw.values.
    """
    program = resolve(network)
    connections = [chosen(program, path) for path in wanted.connections] or distinct(program)[:MOST]
    sections: list[Section] = []
    for number, op in enumerate(connections, 1):
        sections += connection_sections(network, program, op, wanted, f"{number}")
    sections.append(fields_section(fields_data(program)))
    left = len(distinct(program)) - len(connections)
    more = f" · {count(left, 'other kind')} of connection not drawn: name one with --connection" if left > 0 else ""
    about = f"{network.description} · " if network.description else ""
    return Page(network.name, f"{about}{program.image} → {count(program.classes, 'class')}{more}", tuple(sections))


def connection_sections(
    network: Network, program: Program, op: Connect, wanted: Wanted, number: str
) -> tuple[Section, Section]:
    """The matrix of one connection and its footprint."""
    found = drawn(network, op.path, wanted.size)
    values = _values(found, program, wanted)
    matrix = matrix_data(found, values)
    footprint = footprint_data(found, matrix)
    return (
        Section(
            f"matrix-{number}", f"Connection matrix of {op.path}", _matrix_text(matrix, found), draw_matrix(matrix)
        ),
        Section(
            f"footprint-{number}",
            f"What a position of {op.path} reads",
            f"Click a position, or move the slider. {matrix.place}.{_source(matrix)}",
            draw_footprint(footprint),
        ),
    )


def fields_section(*data: FieldsData) -> Section:
    """The growth of the receptive fields of one or two networks."""
    text = (
        "Exact for every position, from what each connection, downsampling and pooling reads. "
        "The band goes from the position that reads least to the one that reads most."
    )
    if not all(each.static for each in data):
        text += " Dashed: what can change a position at all, for its weights are made from features too."
    return Section("fields", "Growth of the receptive field", text, draw_fields(*data))


def _values(found: Drawn, program: Program, wanted: Wanted) -> Values | None:
    """None where nobody asked, or where the weights depend on an image and there is none."""
    if wanted.image is None and (wanted.weights is None or not isinstance(found.connection.weights, Static)):
        return None
    return measured(found, wanted.image, wanted.weights, wanted.seed, program)


def _source(matrix: MatrixData) -> str:
    return f" Values: {matrix.values.source}." if matrix.values else ""


def _matrix_text(matrix: MatrixData, found: Drawn) -> str:
    shared = (
        "Entries of one colour are one value: click one to see where else it stands."
        if matrix.tied
        else "No two pairs of positions share a value."
    )
    text = f"{matrix.facts}. W is the product of both factors: an entry joins (i, d) to (j, c) where both have one."
    return f"{text} {shared} {found.place}.{_source(matrix)}"


def comparison_page(before: Network, after: Network) -> Page:
    """Two networks side by side: their steps, their costs, their receptive fields."""
    programs = resolve(before), resolve(after)
    data = comparison_data(*programs)
    found = data.difference
    said = "They are equal." if found.equal else f"{count(found.axis_edits, 'axis edit')}, {found.other_edits} others."
    steps = f"Step beside step. Orange: changed, and in which axis. Blue: in one of the two only. {said}"
    sections = [
        Section("comparison", f"{before.name} beside {after.name}", steps, draw_comparison(data)),
        Section(
            "costs",
            "What the differences cost",
            "Of one image, region by region; what leads into a stage counts for the stage.",
            draw_costs_by_stage(costs_by_stage_data(found)),
        ),
        fields_section(*map(fields_data, programs)),
    ]
    return Page(f"{before.name} and {after.name}", said, tuple(sections))


def graph_page(graph: Graph, placements: Iterable[Placement] = ()) -> Page:
    """The relation graph, with networks placed in it."""
    data = graph_data(graph, placements)
    text = (
        "An arrow is one axis edit of the connection matrix: towards fewer entries, lower rank or dynamic weights. "
        "In a box: the form's name and networks that are built of it; hover for the axes. Dashed: no named network."
    )
    if data.placements:
        text += " Diamonds are the networks placed here; an open one differs from its nearest form, (+n) by n edits."
    subtitle = f"{count(len(graph.nodes), 'form')}, {count(len(graph.edges), 'edge')}; computed, not drawn by hand"
    section = Section("graph", "Relation graph", text, draw_graph(data))
    return Page("How connection layers are related", subtitle, (section,))
