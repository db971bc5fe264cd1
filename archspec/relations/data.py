"""What the questions about relations answer with, as frozen data: a graph of forms, the difference of two networks."""

from dataclasses import dataclass
from typing import Literal

from archspec.costs import Cost
from archspec.relations.form import Form, FormEdit

Kind = Literal["sparse", "low rank", "dynamic", "sharing"]


@dataclass(frozen=True)
class Node:
    """A form with a name, the named networks that are built of it, and what a user placed at it."""

    name: str
    form: Form
    systems: tuple[str, ...] = ()
    placed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edge:
    """One axis edit: `target` is `source` with one axis further along, and nothing of the graph lies between."""

    source: str
    target: str
    label: str
    kind: Kind
    edits: tuple[FormEdit, ...]
    dashed: bool = False
    """Whether no named network is built of the target (in the paper: LR MLP)."""


@dataclass(frozen=True)
class Graph:
    """Nodes and edges, in a fixed order; names of nodes are unique and edges join them."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)


@dataclass(frozen=True)
class Placement:
    """Where something stands in a graph: the nearest nodes (several when they are equally near), and the way there."""

    name: str
    form: Form
    nodes: tuple[str, ...]
    edits: tuple[tuple[FormEdit, ...], ...]
    """For each of the nodes: what to change in the node to get the form. Empty where they are equal."""
    share: float = 1.0
    """Of a network: the share of its spatial layers that have this form."""

    @property
    def distance(self) -> int:
        """How many axes the nearest node differs in."""
        return len(self.edits[0]) if self.edits else 0


@dataclass(frozen=True)
class StageFacts:
    """One region of a network: stem, a stage (with what leads into it) or head. Costs: of archspec.costs.Cost."""

    name: str
    map: str
    depth: int
    params: int
    macs: int
    activation_bytes: int


@dataclass(frozen=True)
class Edit:
    """One difference of two aligned networks."""

    place: str
    """Where in the block, as the first network counts, in words; of what was added, as the second does."""
    axis: str
    before: str
    after: str
    stages: tuple[str, ...]
    of_axes: bool
    """Whether it is one of the three axes of a block's connection (connectivity, sharing, weights) or a connection more
    or less; otherwise what stands around connections, stem, what leads into stages, head, or a size."""

    def __str__(self) -> str:
        return f"{self.axis}: {self.before or 'none'} → {self.after or 'none'}"


@dataclass(frozen=True)
class StageDifference:
    """Two aligned regions; None where one network has none."""

    before: StageFacts | None
    after: StageFacts | None


@dataclass(frozen=True)
class Difference:
    """What it takes to make network `before` into network `after`."""

    before: str
    after: str
    equal: bool
    """Whether they have the same normal form (one digest)."""
    edits: tuple[Edit, ...]
    stages: tuple[StageDifference, ...]
    cost_before: Cost
    cost_after: Cost

    @property
    def axis_edits(self) -> int:
        """How many places and axes of connections differ; the same one in several stages counts once."""
        return len({(edit.place, edit.axis) for edit in self.edits if edit.of_axes})

    @property
    def other_edits(self) -> int:
        """How many other things differ: norms, activations, widths, depths, sizes."""
        return len({(edit.place, edit.axis) for edit in self.edits if not edit.of_axes})
