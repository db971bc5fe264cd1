"""Forms with names go in; their relation graph comes out. Nothing here knows which edges the paper draws.

B follows A when B is further along some axes and behind in none (archspec.relations.form). An edge joins A to B when B
follows A, no other node lies between, and one axis of connectivity, rank or weights was edited: what
indexes the law may follow that edit (a window is what makes offsets few enough to share), or be the edit itself.
"""

from collections.abc import Iterable, Mapping
from itertools import permutations

from archspec.relations.data import Edge, Graph, Kind, Node, Placement
from archspec.relations.form import Form, FormEdit, form_edits

_RANK_LABELS = {"space": "Spatial LR", "channels": "Channel LR"}


def graph_of(forms: Mapping[str, Form], systems: Mapping[str, tuple[str, ...]] | None = None) -> Graph:
    """The graph of named forms; `systems`: the networks that are built of each. Forms must differ from each other.

    Raises ValueError when two names have one form: they would be one node.
    """
    if len(set(forms.values())) < len(forms):
        same = [name for name, form in forms.items() if list(forms.values()).count(form) > 1]
        raise ValueError(f"one form has several names: {', '.join(same)}")
    nodes = tuple(Node(name, form, (systems or {}).get(name, ())) for name, form in forms.items())
    edges = []
    for source, target in permutations(nodes, 2):
        if _covers(source.form, target.form, forms.values()):
            edits = form_edits(source.form, target.form)
            if len(_free(edits)) <= 1:
                label, kind = _label(source.form, target.form)
                dashed = systems is not None and not target.systems
                edges.append(Edge(source.name, target.name, label, kind, edits, dashed))
    return Graph(nodes, tuple(edges))


def place(name: str, form: Form, graph: Graph, share: float = 1.0) -> Placement:
    """The nodes of a graph that a form is nearest to: those that differ in the fewest axes."""
    ways = {node.name: form_edits(node.form, form) for node in graph.nodes}
    fewest = min(map(len, ways.values()))
    nearest = {node: edits for node, edits in ways.items() if len(edits) == fewest}
    return Placement(name, form, tuple(nearest), tuple(nearest.values()), share)


def with_placed(graph: Graph, placements: Iterable[Placement]) -> Graph:
    """The graph with names written at the nodes that they are nearest to."""
    names: dict[str, list[str]] = {node.name: [] for node in graph.nodes}
    for placement in placements:
        for node in placement.nodes:
            if placement.name not in names[node]:
                names[node].append(placement.name)
    nodes = (Node(node.name, node.form, node.systems, tuple(names[node.name])) for node in graph.nodes)
    return Graph(tuple(nodes), graph.edges)


def _covers(before: Form, after: Form, every: Iterable[Form]) -> bool:
    return before < after and not any(before < between < after for between in every)


def _free(edits: tuple[FormEdit, ...]) -> tuple[FormEdit, ...]:
    """The edits besides that of the index, which follows."""
    return tuple(edit for edit in edits if edit.axis != "index")


def _label(before: Form, after: Form) -> tuple[str, Kind]:
    """The paper's words for the axis that was edited."""
    if before.space != after.space:
        return "Locality Sep.", "sparse"
    if before.channels != after.channels:
        return "Dim. Sep.", "sparse"
    if before.low_rank != after.low_rank:
        added = after.low_rank - before.low_rank
        return ("Dim. LR" if len(added) == 2 else _RANK_LABELS[next(iter(added))]), "low rank"
    if after.weights == "static":
        return "Sharing", "sharing"
    if after.index == "content":
        return "Spatial Dynamic", "dynamic"
    return ("Vec. Atten." if after.weights == "homogeneous" else "Inhomogeneous Vec. Atten."), "dynamic"
