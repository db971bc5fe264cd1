"""The ops beside connections: norms, activations, tokens, pooling, resizing, residual branches."""

from dataclasses import dataclass, field

from archspec.ir.axes import Sliding
from archspec.ir.connect import Op, batch_norm_rows
from archspec.ir.feature import NORMAL, ONES, ZEROS, Init, Parameter


@dataclass(frozen=True)
class Norm(Op):
    """layer: over the channels of a position; batch: over batch and positions; affine: scale and shift only.

    `centring` (batch only): first x becomes x + weight * mean of x over positions (CC-BN, arXiv 2104.01769).
    """

    kind: str
    eps: float
    centring: bool = False

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        width = self.source.channels
        if self.kind == "batch":
            centring = (Parameter("centring.weight", (width,), ZEROS),) if self.centring else ()
            return (*batch_norm_rows(width), *centring)
        return Parameter("weight", (width,), ONES), Parameter("bias", (width,), ZEROS)

    def facts(self) -> str:
        return f"kind={self.kind} eps={self.eps}{' centring' if self.centring else ''}"


@dataclass(frozen=True)
class Activation(Op):
    """A function of each element."""

    kind: str


@dataclass(frozen=True)
class Scale(Op):
    """Multiply each channel by a learned factor (layer scale)."""

    init: float

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("weight", (self.source.channels,), Init("constant", self.init)),)


@dataclass(frozen=True)
class DropPath(Op):
    """While training, zero a sample's branch with this probability and divide the others by what is kept."""

    rate: float


@dataclass(frozen=True)
class ClassToken(Op):
    """Put one learned position before the map."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("weight", (self.source.channels,), NORMAL),)


@dataclass(frozen=True)
class PositionEmbedding(Op):
    """Add one learned feature to each position."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("weight", (self.source.positions, self.source.channels), NORMAL),)


@dataclass(frozen=True)
class Gather(Op):
    """Concatenate the channels of each size x size patch, row fastest: channel (column * size + row) * C + c.

    That is the order of Swin's patch merging. A map that does not divide is padded with zeros at its end.
    """

    size: int


@dataclass(frozen=True)
class Pool(Op):
    """Reduce the map to one position: its mean or its largest, without the class token, or the class token."""

    kind: str


@dataclass(frozen=True)
class SlidingPool(Op):
    """The mean or the largest over a window that slides over the map, channel by channel.

    What lies beyond the border counts as zero in a mean with `count_padding`, and not at all otherwise.
    """

    kind: str
    space: Sliding
    count_padding: bool


@dataclass(frozen=True)
class MapOnly(Op):
    """The map without its class token."""


@dataclass(frozen=True)
class Shuffle(Op):
    """Interleave groups of channels: channel g * (C / groups) + c goes to c * groups + g."""

    groups: int


@dataclass(frozen=True)
class Resize(Op):
    """To another height and width.

    nearest: position i reads position floor(i * H / H'); bilinear: between the two centres around (i + 1/2) H / H'
    - 1/2, those beyond the border being the border's.
    """

    kind: str


@dataclass(frozen=True)
class Multiply(Op):
    """By a constant."""

    factor: float


@dataclass(frozen=True)
class Residual(Op):
    """y = x + ops(x)."""

    ops: tuple[Op, ...] = field(default=())

    def facts(self) -> str:
        return ""
