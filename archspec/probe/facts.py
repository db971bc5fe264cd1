"""What a probe measured of a module y = f(x), as frozen data without torch; words of it are in `wording.py`.

The terms are those of the language: an entry of W joins output position i and channel d to input position j and
channel c. A position is (row, column). Everything here was measured; nothing was read off a name.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

Pair = tuple[int, int]
Position = tuple[int, int]

SpaceKind = Literal[
    "point",
    "sliding",
    "window",
    "halo",
    "grid",
    "cross",
    "pooled",
    "full",
    "mean",
    "overlapping",
    "irregular",
    "nothing",
]
WeightsKind = Literal["static", "pooled", "local", "attention", "outlook", "unknown"]


@dataclass(frozen=True)
class Map:
    """A feature map; `tokens` positions without a place stand before it (a class token)."""

    height: int
    width: int
    channels: int
    tokens: int = 0

    @property
    def positions(self) -> int:
        return self.height * self.width + self.tokens

    def __str__(self) -> str:
        before = f" and {self.tokens} token{'s' * (self.tokens > 1)}" if self.tokens else ""
        return f"{self.height}x{self.width}x{self.channels}{before}"


@dataclass(frozen=True)
class Space:
    """Which positions a position reads. Numbers that a kind does not use keep their defaults.

    sliding: position i reads stride * i - before + dilation * t for t in the size.
    window: a grid of windows moved by `shift`; halo: and `halo` positions around; grid: every (L / size)-th position.
    pooled: every position of a map `ratio` times smaller. mean: every position, with one weight for all of them.
    overlapping: all windows of `size` around every stride-th position that hold the position (outlook).
    irregular: none of these; the footprints say which.
    """

    kind: SpaceKind
    size: Pair = (1, 1)
    dilation: Pair = (1, 1)
    stride: Pair = (1, 1)
    before: Pair = (0, 0)
    shift: Pair = (0, 0)
    halo: Pair = (0, 0)
    ratio: Pair = (1, 1)

    def __str__(self) -> str:
        def by(pair: Pair) -> str:
            return f"{pair[0]}x{pair[1]}"

        words = {
            "sliding": [f"sliding {by(self.size)}"],
            "window": [f"window {by(self.size)}"],
            "halo": [f"halo {by(self.size)} + {by(self.halo)}"],
            "grid": [f"grid {by(self.size)}"],
            "overlapping": [f"overlapping windows {by(self.size)}"],
            "pooled": [f"pooled {by(self.ratio)}"],
        }.get(self.kind, [self.kind])
        if self.dilation != (1, 1):
            words.append(f"dilation {by(self.dilation)}")
        if self.stride != (1, 1):
            words.append(f"stride {by(self.stride)}")
        if self.shift != (0, 0):
            words.append(f"shift {by(self.shift)}")
        return ", ".join(words)


@dataclass(frozen=True)
class Footprint:
    """Which input positions one output position reads."""

    position: Position
    reads: tuple[Position, ...]


@dataclass(frozen=True)
class Hole:
    """Something that the pattern of its kind has and this module has not (or the other way round: `extra`)."""

    kind: Literal["output", "input", "entry", "channel", "extra"]
    """output: this position reads nothing. input: nothing reads this position. entry: `output` does not read `input`
    where the pattern does. channel: the same of channels. extra: `output` reads `input` where the pattern does not."""
    output: Position | None = None
    input: Position | None = None
    channels: tuple[int, ...] = ()
    """Of which output channels; empty: of all."""


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

    positions: Literal["none", "windows", "offsets", "all", "irregular"]
    """offsets: equal for equal j - i; windows: equal for equal places in the window; all: over all positions read."""
    channels: Literal["none", "groups", "all"]
    channel_groups: tuple[tuple[int, ...], ...] = ()
    """Channels that share one kernel, where more than one does (in a basis of its own where channels are projected)."""
    odd_positions: tuple[Position, ...] = ()
    """Output positions whose weights are unlike those of the others, where the others share theirs."""


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
    elementwise: bool = False
    """Whether functions of single positions (activations, norms, gates) come on top: W is then meant between them."""


@dataclass(frozen=True)
class Equivariance:
    """f(shift x) = shift f(x), away from the borders: for any shift, for shifts by whole blocks, or for none."""

    kind: Literal["any", "blocks", "none", "unknown"]
    period: Pair | None = None
    """The smallest shifts, down and across, that the module moves with: (1, 1) of kind any."""
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


@dataclass(frozen=True)
class Report:
    """A module as a whole (None for a network), and the layers inside it, in their order."""

    target: str
    whole: Facts | None
    layers: tuple[Facts, ...] = ()
    skipped: tuple[str, ...] = field(default=())
    """Inner modules that were not measured, each with the reason."""

    def replaced(self, **changes: object) -> "Report":
        return replace(self, **changes)  # type: ignore[arg-type]
