"""An assignment goes in; the facts of its point come out: its digest, its costs, by how much it breaks constraints.

Each is computed once: a sampler that is asked again and again, a repair and a surrogate ask for thousands.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from archspec.errors import SpecError
from archspec.resolve import resolve
from archspec.schema.load import network_from
from archspec.schema.source import read_text
from archspec.search.cheaper import check_rungs
from archspec.search.space import Assignment, canonical, find, point
from archspec.search.space.repair import UNUSABLE
from archspec.search.spaces import Spaces
from archspec.search.table import Entry, Table

MAXIMUM_KEPT = 50_000


@dataclass(frozen=True)
class PointFacts:
    """`violation` is 0 for a point that can be evaluated, UNUSABLE for what is no network or not in the table."""

    digest: str
    cost: Mapping[str, int]
    violation: float


_NO_POINT = PointFacts("", {}, UNUSABLE)


@dataclass
class PointCache:
    """The facts of the points of a study's space; with a table, only points of the table can be evaluated."""

    spaces: Spaces
    table: Table | None = None
    kept: dict[tuple[object, ...], PointFacts] = field(default_factory=dict)

    def __call__(self, assignment: Assignment) -> PointFacts:
        key = tuple(canonical(self.spaces.written, assignment).values())
        found = self.kept.get(key)
        if found is None:
            if len(self.kept) >= MAXIMUM_KEPT:
                self.kept.clear()
            found = self.kept[key] = self._computed(assignment)
        return found

    def of_table(self, entry: Entry) -> Assignment | None:
        """The point that was tabulated: by its genes where they are those of the space, else by its network."""
        space = self.spaces.trained
        if entry.genes.keys() != space.by_name.keys():
            with suppress(SpecError):  # it would take too many tries
                return find(space, resolve(network_from(read_text(entry.spec, entry.name))))
            return None
        # A table writes the labels of a gene as text where they are of several kinds.
        labels = {gene.name: {str(each): each for each in gene.choices} for gene in space.genes}
        said = {name: labels[name].get(str(label)) for name, label in entry.genes.items()}
        known = {name: label for name, label in said.items() if label is not None}
        return known if len(known) == len(said) else None

    def _computed(self, assignment: Assignment) -> PointFacts:
        try:
            written = point(self.spaces.written, assignment)
            violation = sum(max(0.0, bound.violation(written.cost)) for bound in self.spaces.written.constraints)
            same = self.spaces.written.digest == self.spaces.trained.digest
            trained = written if same or violation else point(self.spaces.trained, assignment)
            check_rungs(trained.network, trained.program, () if violation else self.spaces.rungs)
        except SpecError:
            return _NO_POINT
        digest = trained.program.digest
        if not violation and self.table is not None and digest not in self.table:
            return _NO_POINT
        return PointFacts(digest, vars(trained.cost), violation)
