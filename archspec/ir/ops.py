"""The ops beside connections: norms, activations, tokens, pooling, residual branches."""

from dataclasses import dataclass, field

from archspec.ir.connect import Op, batch_norm_rows
from archspec.ir.feature import NORMAL, ONES, ZEROS, Init, Parameter


@dataclass(frozen=True)
class Norm(Op):
    """layer: over the channels of a position; batch: over batch and positions; affine: scale and shift only."""

    kind: str
    eps: float

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        width = self.source.channels
        if self.kind == "batch":
            return tuple(batch_norm_rows(width))
        return Parameter("weight", (width,), ONES), Parameter("bias", (width,), ZEROS)


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
    """Reduce the map to one position: its mean, or its class token."""

    kind: str


@dataclass(frozen=True)
class Residual(Op):
    """y = x + ops(x)."""

    ops: tuple[Op, ...] = field(default=())

    def facts(self) -> str:
        return ""
