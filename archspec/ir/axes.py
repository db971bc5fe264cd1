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
    """Each position reads every position. Tables over offsets hold maps up to `largest`; None: up to this map."""

    largest: Pair | None = None

    def __str__(self) -> str:
        return f"full(largest {_by(self.largest)})" if self.largest else "full"


@dataclass(frozen=True)
class Cross:
    """Each position reads its row and its column (criss-cross), itself once."""

    def __str__(self) -> str:
        return "cross"


@dataclass(frozen=True)
class Reduced:
    """Each position reads every position of a smaller map: x reduced `ratio` times in each direction (PVT's pyramid).

    `by` convolution (size = stride = ratio, channels full, with a bias) or mean; `norm`: a layer norm after it.
    Rows and columns that do not fill a patch are dropped, as by a convolution without padding.
    """

    ratio: Pair
    by: str
    norm: bool

    def map(self, feature: Feature) -> Feature:
        """The smaller map."""
        return Feature(feature.height // self.ratio[0], feature.width // self.ratio[1], feature.channels)

    def __str__(self) -> str:
        return f"reduced({_by(self.ratio)}, {self.by}{', norm' if self.norm else ''})"


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
    `interlaced`: a window takes every (padded / size)-th position instead of neighbouring ones (grid attention).
    `halo`: a window also reads so many positions beyond each of its sides; those beyond the map are padding.
    At most one of shift, interlaced and halo is there.
    """

    size: Pair
    shift: Pair
    masked: bool
    interlaced: bool = False
    halo: Pair = (0, 0)

    @property
    def positions(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def reach(self) -> Pair:
        """Height and width of what a window reads: its size and the halo around it."""
        return self.size[0] + 2 * self.halo[0], self.size[1] + 2 * self.halo[1]

    def grid(self, feature: Feature) -> Pair:
        """How many windows tile the padded map, down and across."""
        return -(-feature.height // self.size[0]), -(-feature.width // self.size[1])

    def padded(self, feature: Feature) -> Pair:
        """Height and width of the padded map, without the halo of the outer windows."""
        rows, columns = self.grid(feature)
        return rows * self.size[0], columns * self.size[1]

    def surrounded(self, feature: Feature) -> Pair:
        """Height and width of the padded map with the halo of the outer windows."""
        height, width = self.padded(feature)
        return height + 2 * self.halo[0], width + 2 * self.halo[1]

    def __str__(self) -> str:
        masked = ", masked" if self.masked else ""
        if self.interlaced:
            return f"grid({_by(self.size)}{masked})"
        if self.halo != (0, 0):
            return f"halo({_by(self.size)}, halo {_by(self.halo)}{masked})"
        return f"window({_by(self.size)}, shift {_by(self.shift)}{masked})"


Space = Point | Full | Sliding | Window | Cross | Reduced


def _by(size: Pair) -> str:
    return f"{size[0]}x{size[1]}"


def _flags(**flags: bool) -> str:
    return ", ".join(name.replace("_", " ") for name, on in flags.items() if on) or "plain"


@dataclass(frozen=True)
class Static:
    """Parameters. `init` names how they start: normal, fan or uniform.

    `normalise`: a softmax over the neighbours, as in lightweight convolution (arXiv 1901.10430).
    """

    init: str
    normalise: bool = False

    def __str__(self) -> str:
        return f"static({self.init}{', softmax' if self.normalise else ''})"


@dataclass(frozen=True)
class Predicted:
    """w = linear(act(norm(linear(z)))): z is the pooled image (`pooled`) or the feature at a position (`local`).

    Where a local window moves by a stride, z is the mean of the stride x stride patch (involution).
    `normalise`: a softmax over the neighbours, as in dynamic convolution (arXiv 1901.10430).
    """

    source: str  # "pooled" or "local"
    hidden: int
    norm: bool
    act: str
    hidden_bias: bool
    normalise: bool = False

    def __str__(self) -> str:
        flags = _flags(norm=self.norm, hidden_bias=self.hidden_bias, softmax=self.normalise)
        return f"{self.source}({self.hidden}, {self.act}, {flags})"


@dataclass(frozen=True)
class PreConvolution:
    """Queries and keys read x convolved by size x size taps: one kernel for all channels (`shared`, Eq. 24), one
    for each (`separate`) or a full one (`full`, Eq. 25)."""

    size: int
    channels: str

    def __str__(self) -> str:
        return f"{self.size}x{self.size} {self.channels}"


@dataclass(frozen=True)
class Attention:
    """w_ij = softmax_j(q_i k_j / sqrt(channels per head) + relative bias), per head.

    In this order: dot products, post-convolution (Eq. 23), relative bias (Eq. 21), centre (Eq. 22), heads mixed, mask,
    softmax. Then, with `output`, y is projected (before the padding of windows is dropped, as in timm's Swin).
    """

    bias: bool
    relative_bias: bool
    value: bool
    output: bool = False
    softmax: bool = True
    centre: bool = False
    post_convolution: int = 0
    pre_convolution: PreConvolution | None = None
    mix_heads: bool = False

    def __str__(self) -> str:
        flags = _flags(
            bias=self.bias,
            relative_bias=self.relative_bias,
            value=self.value,
            output=self.output,
            without_softmax=not self.softmax,
            centre=self.centre,
            mix_heads=self.mix_heads,
        )
        post = f", post-convolution {self.post_convolution}" if self.post_convolution else ""
        pre = f", pre-convolution {self.pre_convolution}" if self.pre_convolution else ""
        return f"attention({flags}{post}{pre})"


@dataclass(frozen=True)
class Outlook:
    """Every `stride`-th position predicts a map of its window to its window; y sums over windows (arXiv 2106.13112).

    w_ij = sum over windows that hold i and j of softmax_j(linear(mean of the stride x stride patch)
    / sqrt(channels per head)), per head.
    """

    stride: Pair
    bias: bool
    value: bool

    def grid(self, feature: Feature) -> Pair:
        """How many windows there are, down and across."""
        return -(-feature.height // self.stride[0]), -(-feature.width // self.stride[1])

    def __str__(self) -> str:
        return f"outlook(stride {_by(self.stride)}, {_flags(bias=self.bias, value=self.value)})"


Weights = Static | Predicted | Attention | Outlook
