"""A hole and the place where it is drawn go in; the gene that it makes comes out: a name, choices, and an axis."""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

from archspec.errors import Location
from archspec.search.space.conditions import Condition, Label
from archspec.search.space.holes import Hole, Path

Axis = Literal["connectivity", "sharing", "weights", "width", "depth", "pattern", "other"]
AXES: tuple[Axis, ...] = ("connectivity", "sharing", "weights", "width", "depth", "pattern", "other")

# The key of a network that says which question a hole answers; the innermost one in its path counts.
_KEY_AXES: dict[str, Axis] = {
    "connectivity": "connectivity",
    "sharing": "sharing",
    "weights": "weights",
    "rank": "width",
    "width": "width",
    "ratio": "width",
    "depth": "depth",
    "block": "pattern",
    "first": "pattern",
    "blocks": "pattern",
    "stages": "pattern",
    **dict.fromkeys(("norm", "act", "scale", "drop_path", "bias", "init", "gather"), "other"),
    **dict.fromkeys(("pool", "shuffle", "resize", "multiply"), "other"),
}
# Parts of a path that say nothing that the other parts do not.
_SILENT = (
    *("residual", "branch", "sequence", "parallel", "split", "branches", "streams", "exchange"),
    *("connect", "connectivity", "space"),
)


class Scope(NamedTuple):
    """Where a hole is drawn: for the network, for a stage, or for one block of a stage."""

    stage: int | None = None
    block: int | None = None

    def at(self, hole: Hole) -> "Scope":
        """As much of the scope as makes a difference to the hole."""
        if hole.level == "block":
            return self
        return Scope(self.stage) if hole.level == "stage" else NETWORK

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What the names of the genes in reach begin with, the nearest first."""
        names = [""]
        if self.stage is not None:
            names.insert(0, f"stages.{self.stage}.")
            if self.block is not None:
                names.insert(0, f"stages.{self.stage}.blocks.{self.block}.")
        return tuple(names)


NETWORK = Scope()


@dataclass(frozen=True)
class Gene:
    """One choice of a search space. Every point gives it a value, also where it is not active (then the first)."""

    name: str
    choices: tuple[Label, ...]
    kind: Literal["ordinal", "categorical"]
    axis: Axis
    conditions: Condition
    """When the gene is active, over other genes."""
    low: int | float | None = None
    high: int | float | None = None
    step: int | float | None = None
    """Of a range only: every choice is `low` plus a whole number of steps."""
    log: bool = False
    location: Location | None = field(default=None, compare=False)

    @cached_property
    def index(self) -> dict[Label, int]:
        """The number of each choice."""
        return {label: number for number, label in enumerate(self.choices)}


def gene_of(hole: Hole, name: str, conditions: Condition) -> Gene:
    """The gene of a hole, under a name."""
    scale = hole.range
    return Gene(
        name=name,
        choices=hole.labels,
        kind="ordinal" if _ascending(hole.labels) else "categorical",
        axis=axis_of(hole.path),
        conditions=conditions,
        low=scale.low if scale else None,
        high=scale.high if scale else None,
        step=scale.step if scale else None,
        log=scale.log if scale else False,
        location=hole.location,
    )


def _ascending(labels: tuple[Label, ...]) -> bool:
    numbers = [label for label in labels if isinstance(label, int | float) and not isinstance(label, bool)]
    return len(numbers) == len(labels) and all(a < b for a, b in pairwise(numbers))


def axis_of(path: Path) -> Axis:
    """Which question a hole answers, by its place in the network."""
    return next((_KEY_AXES[str(part)] for part in reversed(path) if str(part) in _KEY_AXES), "other")


def gene_name(hole: Hole, scope: Scope, spelt_out: bool = False) -> str:
    """`stages.0.width`, `blocks.dw.sliding`, `stages.1.dw.sliding`, `stages.1.blocks.0.dw.sliding`, or the hole's name.

    `spelt_out` keeps the whole path, for holes whose short names are the same.
    """
    prefix = scope.at(hole).prefixes[0]
    if hole.name is not None:
        return prefix + hole.name
    if hole.path[0] == "stages":
        # A hole in a stage is where it stands, so the path itself says which stage.
        return ".".join(_short(hole.path, spelt_out, kept=2))
    if hole.path[0] != "blocks":
        return ".".join(_short(hole.path, spelt_out, kept=1))
    inside = ".".join(_short(hole.path[1:], spelt_out, kept=1))
    return f"{prefix}{inside}" if prefix else f"blocks.{inside}"


def _short(path: Path, spelt_out: bool, kept: int) -> list[str]:
    last = len(path) - 1
    return [
        str(part).strip("<>")
        for place, part in enumerate(path)
        if spelt_out or place < kept or (place == last and isinstance(part, str)) or _speaks(part)
    ]


def _speaks(part: str | int) -> bool:
    return isinstance(part, str) and part not in _SILENT and not part.startswith("<")
