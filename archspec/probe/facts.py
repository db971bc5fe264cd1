"""What a probe measured of a module y = f(x), as frozen data without torch; words of it are in `wording.py`.

The terms are those of the language: an entry of W joins output position i and channel d to input position j and
channel c. A position is (row, column). Everything here was measured; nothing was read off a name.
"""

from dataclasses import dataclass, field
from typing import Literal

from archspec.probe.maps import Footprint as Footprint
from archspec.probe.maps import Hole as Hole
from archspec.probe.maps import Map as Map
from archspec.probe.maps import Pair as Pair
from archspec.probe.maps import Position as Position
from archspec.probe.maps import Space as Space
from archspec.probe.maps import SpaceKind as SpaceKind

WeightsKind = Literal["static", "pooled", "local", "attention", "outlook", "unknown"]


@dataclass(frozen=True)
class Channels:
    """Which channels a channel reads."""

    kind: Literal["separate", "groups", "full", "irregular"]
    groups: tuple[tuple[int, ...], ...] = ()
    """Of kind groups: the output channels of each group, in order."""
    permuted: bool = False
    """Whether the groups are no contiguous blocks, or a group writes to other channels than it reads (a shuffle)."""
    projected: bool = False
    """Whether that holds only after a fixed linear map of channels before or after (as value and output projections
    of attention, or a 1x1 convolution): as they stand, the channels are mixed."""
    mixing: bool = False
    """Whether channels, as they stand, are mixed."""


@dataclass(frozen=True)
class Ties:
    """Which entries of W are equal, for every input that was tried."""

    positions: Literal["none", "windows", "offsets", "rows", "columns", "outputs", "inputs", "all", "irregular"]
    """offsets: equal for equal j - i; rows, columns: for equal j - i inside each row (column) of the map only; windows:
    for equal places in the window; outputs: all that one position reads; inputs: all that read one position; all: over
    all positions read."""
    channels: Literal["none", "groups", "all"]
    channel_groups: tuple[tuple[int, ...], ...] = ()
    """Channels that share one kernel, where more than one does (in a basis of its own where channels are projected)."""
    odd_positions: tuple[Position, ...] = ()
    """Output positions whose weights are unlike those of the others, where the others share theirs."""
    mirrored: tuple[Literal["left-right", "up-down", "point"], ...] = ()
    """How the kernel, where one is shared over offsets, is its own mirror image."""
    border: bool = False
    """Whether only positions that read as many others as any do share their weights (a border that is reflected)."""


@dataclass(frozen=True)
class Dependence:
    """Whether the entries of W change with the input, and with what of it."""

    kind: WeightsKind
    words: Literal["static", "dynamic homogeneous", "dynamic inhomogeneous", "dynamic pairwise", "unknown"]
    reads: Literal["nothing", "image", "centre", "neighbourhood", "pair", "unknown"] = "nothing"
    """Which inputs an entry (i, j) changes with: the whole image, x_i, what is around i, or x_i and x_j."""
    normalised: bool | None = None
    """Of pairs: whether an entry also changes with the other positions that i reads (a softmax over them)."""
    channels: tuple[int, ...] | None = None
    """The output channels whose weights change, where others' do not; None: of all (or none, if static)."""
    dimensions: int | None = None
    """How many dimensions of the output change with the weights, where not all do: the width of the dynamic heads."""
    choice: bool = False
    """Whether each output channel takes the value of one of the positions it reads, and the input says which (max)."""
    elementwise: bool = False
    """Whether functions of single positions (activations, norms, gates) come on top: W is then meant between them."""


@dataclass(frozen=True)
class Equivariance:
    """f(shift x) = shift f(x), away from the borders: for any shift, for shifts by whole blocks, along one axis alone,
    or for none."""

    kind: Literal["any", "blocks", "axis", "none", "unknown"]
    period: Pair | None = None
    """The smallest shifts, down and across, that the module moves with: (1, 1) of kind any; 0 along the axis along
    which it moves with none, of kind axis."""
    tried: tuple[Pair, ...] = ()
    """The shifts that were tried."""
    remark: str = ""


@dataclass(frozen=True)
class TableRow:
    """A row of Table 1 of arXiv 2106.04263 (as ground truth section 6 reads it), and how far the module is from it."""

    layer: str
    spatial: str
    channel: str
    sharing: str
    weights: str
    representation: str
    differences: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        return not self.differences


@dataclass(frozen=True)
class AxisEdit:
    """One axis in which the nearest spec and the module differ."""

    axis: str
    measured: str
    spec: str


@dataclass(frozen=True)
class NearestSpec:
    """The legal `connect:` step nearest to what was measured, as YAML, and the axes in which it differs."""

    yaml: str
    edits: tuple[AxisEdit, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What the findings rest on."""

    inputs: int
    seed: int
    rows: int
    """Rows of the Jacobian that were measured, of `rows_of`."""
    rows_of: int
    tolerance: float
    positions: int
    """Output positions whose support was measured, of `positions_of`."""
    positions_of: int
    redrawn: tuple[str, ...] = ()
    """Parameters that were zero or constant and were re-drawn in the copy that was measured."""


@dataclass(frozen=True)
class Facts:
    """All that was measured of one module."""

    path: str
    kind: str
    """The name of its class: shown beside the findings, never used for them."""
    source: Map
    target: Map
    space: Space
    channels: Channels
    ties: Ties
    dependence: Dependence
    equivariance: Equivariance
    evidence: Evidence
    affine: bool
    """Whether the Jacobian is the same for every input."""
    footprints: tuple[Footprint, ...] = ()
    holes: tuple[Hole, ...] = ()
    weights_read: Space | None = None
    """Where weights are dynamic: which positions they are made from."""
    row: TableRow | None = None
    nearest: NearestSpec | None = None
    notes: tuple[str, ...] = ()
    """Limits of what was measured, and doubts."""
    parts: tuple["Part", ...] = ()
    """Where some outgoing channels read other positions than the rest: each group of channels, measured by itself."""


@dataclass(frozen=True)
class Part:
    """Outgoing channels that read alike, and what was measured of them alone."""

    channels: tuple[int, ...]
    reads: tuple[int, ...]
    """The incoming channels that they read."""
    facts: Facts


@dataclass(frozen=True)
class Report:
    """A module as a whole (None for a network), and the layers inside it, in their order."""

    target: str
    whole: Facts | None
    layers: tuple[Facts, ...] = ()
    skipped: tuple[str, ...] = field(default=())
    """Inner modules that were not measured, each with the reason."""
