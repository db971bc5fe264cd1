"""The three axes of a connection with shapes resolved: where a position reads, and where weights come from."""

from dataclasses import dataclass

from archspec.ir.feature import Feature, Pair


@dataclass(frozen=True)
class Point:
    """Each position reads itself."""

    def __str__(self) -> str:
        return "point"


@dataclass(frozen=True)
class Full:
    """Each position reads every position."""

    def __str__(self) -> str:
        return "full"


@dataclass(frozen=True)
class Sliding:
    """Output (i, j) reads inputs stride * (i, j) - before + dilation * t for t in the size; outside does not exist."""

    size: Pair
    dilation: Pair
    stride: Pair
    before: Pair

    @property
    def taps(self) -> int:
        return self.size[0] * self.size[1]

    def __str__(self) -> str:
        rest = [f"{name} {_by(value)}" for name, value in (("dilation", self.dilation), ("stride", self.stride))]
        return f"sliding({_by(self.size)}, {', '.join(rest)}, before {_by(self.before)})"


@dataclass(frozen=True)
class Window:
    """Each position reads its window of a grid moved by `shift`; the map is padded at its end to whole windows.

    With `masked` the padded positions do not exist; otherwise they take part, with value zero before projections.
    """

    size: Pair
    shift: Pair
    masked: bool

    @property
    def positions(self) -> int:
        return self.size[0] * self.size[1]

    def grid(self, feature: Feature) -> Pair:
        """How many windows tile the padded map, down and across."""
        return -(-feature.height // self.size[0]), -(-feature.width // self.size[1])

    def padded(self, feature: Feature) -> Pair:
        """Height and width of the padded map."""
        rows, columns = self.grid(feature)
        return rows * self.size[0], columns * self.size[1]

    def __str__(self) -> str:
        return f"window({_by(self.size)}, shift {_by(self.shift)}{', masked' if self.masked else ''})"


Space = Point | Full | Sliding | Window


def _by(size: Pair) -> str:
    return f"{size[0]}x{size[1]}"


def _flags(**flags: bool) -> str:
    return ", ".join(name.replace("_", " ") for name, on in flags.items() if on) or "plain"


@dataclass(frozen=True)
class Static:
    """Parameters. `init` names how they start: normal, fan or uniform."""

    init: str

    def __str__(self) -> str:
        return f"static({self.init})"


@dataclass(frozen=True)
class Predicted:
    """w = linear(act(norm(linear(z)))): z is the pooled image (`pooled`) or the feature at a position (`local`)."""

    source: str  # "pooled" or "local"
    hidden: int
    norm: bool
    act: str
    hidden_bias: bool

    def __str__(self) -> str:
        return f"{self.source}({self.hidden}, {self.act}, {_flags(norm=self.norm, hidden_bias=self.hidden_bias)})"


@dataclass(frozen=True)
class Attention:
    """w_ij = softmax_j(q_i k_j / sqrt(channels per head) + relative bias), per head."""

    bias: bool
    relative_bias: bool
    value: bool

    def __str__(self) -> str:
        return f"attention({_flags(bias=self.bias, relative_bias=self.relative_bias, value=self.value)})"


Weights = Static | Predicted | Attention
