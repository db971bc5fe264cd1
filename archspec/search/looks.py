"""An assignment goes in; what it would be comes out: its digest, its costs, and by how much it breaks the constraints.

Each assignment is looked at once: a sampler that is asked again and again, a repair and a surrogate look at thousands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from archspec.errors import SpecError
from archspec.search.space import Assignment, canonical, point
from archspec.search.space.repair import UNUSABLE
from archspec.search.spaces import Spaces
from archspec.search.table import Table

MAXIMUM_KEPT = 50_000


@dataclass(frozen=True)
class Look:
    """`broken` is 0 for a point that can be evaluated, UNUSABLE for what is no network or not in the table."""

    digest: str
    cost: Mapping[str, int]
    broken: float


_NOTHING = Look("", {}, UNUSABLE)


@dataclass
class Looks:
    """Looks at the points of a study's space; with a table, only points of the table can be evaluated."""

    spaces: Spaces
    table: Table | None = None
    kept: dict[tuple[object, ...], Look] = field(default_factory=dict)

    def __call__(self, assignment: Assignment) -> Look:
        key = tuple(canonical(self.spaces.written, assignment).values())
        found = self.kept.get(key)
        if found is None:
            if len(self.kept) >= MAXIMUM_KEPT:
                self.kept.clear()
            found = self.kept[key] = self._looked_at(assignment)
        return found

    def _looked_at(self, assignment: Assignment) -> Look:
        try:
            written = point(self.spaces.written, assignment)
            broken = sum(max(0.0, bound.violation(written.cost)) for bound in self.spaces.written.constraints)
            same = self.spaces.written.digest == self.spaces.trained.digest
            trained = written if same or broken else point(self.spaces.trained, assignment)
        except SpecError:
            return _NOTHING
        digest = trained.program.digest
        if not broken and self.table is not None and digest not in self.table:
            return _NOTHING
        return Look(digest, vars(trained.cost), broken)
