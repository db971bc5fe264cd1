"""What a network means: frozen ops with resolved shapes go in; their parameter tables and stable text come out.

A program is a list of ops from an image to logits. Shapes are resolved and defaults filled in, so every question about
a network (its meaning, cost, kernels, checkpoints) is answered from here alone, without torch.

Legend: H, W height and width; N positions (N' outgoing); C channels (C' outgoing); K window positions;
G groups of channels; T class tokens.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property

Pair = tuple[int, int]


@dataclass(frozen=True)
class Feature:
    """The shape of a feature map: (B, H, W, C), or (B, 1, T + H * W, C) once there are class tokens."""

    height: int
    width: int
    channels: int
    class_tokens: int = 0

    @property
    def positions(self) -> int:
        return self.height * self.width + self.class_tokens

    @property
    def elements(self) -> int:
        return self.positions * self.channels

    def __str__(self) -> str:
        tokens = f"{self.class_tokens}+" if self.class_tokens else ""
        return f"{tokens}{self.height}x{self.width}x{self.channels}"


@dataclass(frozen=True)
class Init:
    """How a parameter starts: normal(deviation) truncated at two deviations, uniform(bound) or constant(value)."""

    kind: str
    value: float

    def __str__(self) -> str:
        return f"{self.kind}({self.value:.6g})"


ZEROS, ONES = Init("constant", 0.0), Init("constant", 1.0)
NORMAL = Init("normal", 0.02)


@dataclass(frozen=True)
class Parameter:
    """One row of the table of parameters. Buffers (batch statistics) are rows that no optimiser trains."""

    name: str
    shape: tuple[int, ...]
    init: Init
    trainable: bool = True

    @property
    def count(self) -> int:
        return math.prod(self.shape)


# ------------------------------------------------------------------ the axes of a connection, resolved


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

# ------------------------------------------------------------------ ops


@dataclass(frozen=True)
class Op:
    """What every op has: where it stands in the network, and the shapes it takes and gives."""

    path: str
    source: Feature
    target: Feature

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The table of parameters, in the order of a checkpoint; names are relative to `path`."""
        return ()

    def facts(self) -> str:
        """What the op is, apart from its place and shapes, as stable text."""
        own = {f.name for f in fields(Op)}
        return " ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self) if f.name not in own)


@dataclass(frozen=True)
class Connect(Op):
    """y = W x + b, W given by the axes. See archspec/reference.py for what each combination means."""

    space: Space
    channels: str  # "separate", "groups" or "full"
    channel_groups: int  # of the connectivity: C when separate, 1 when full
    share_positions: str  # "none", "windows" or "offsets"
    share_channels: str  # "none", "groups" or "all"
    kernels: int  # distinct kernels over the channels: heads of attention, groups of sharing (see channel_shape)
    weights: Weights
    bias: str  # "none", "channels" or "positions"

    def facts(self) -> str:
        channels = f"groups({self.channel_groups})" if self.channels == "groups" else self.channels
        shared = f"groups({self.kernels})" if self.share_channels == "groups" else self.share_channels
        sharing = f"share positions {self.share_positions}, channels {shared}"
        return f"{self.space} | channels {channels} | {sharing} | {self.weights} | bias {self.bias}"

    @property
    def channel_shape(self) -> tuple[int, ...]:
        """The channel part of the tie index: (kernels,), or (C', C/g) where channels mix; () when all share one."""
        if self.channels == "separate":
            return () if self.share_channels == "all" else (self.kernels,)
        groups = self.channel_groups if self.share_channels == "all" else 1
        return self.target.channels // groups, self.source.channels // self.channel_groups

    @property
    def position_shape(self) -> tuple[int, ...]:
        """The position part of the tie index (design.md, section 1)."""
        if isinstance(self.weights, Predicted) and self.weights.source == "local":
            return (self.neighbours,)
        if self.share_positions == "offsets":
            return self._offset_shape
        if isinstance(self.space, Point):
            return (self.source.positions,)
        if isinstance(self.space, Sliding):
            return (self.target.positions, *self.space.size)
        if isinstance(self.space, Window):
            one = (self.space.positions, self.space.positions)
            return one if self.share_positions == "windows" else (math.prod(self.space.grid(self.source)), *one)
        return self.target.positions, self.source.positions

    @property
    def _offset_shape(self) -> tuple[int, ...]:
        if isinstance(self.space, Point):
            return ()
        if isinstance(self.space, Sliding):
            return self.space.size
        return self.offsets

    @property
    def extent(self) -> Pair:
        """Height and width of the area inside which positions read each other (window, or the whole map)."""
        return self.space.size if isinstance(self.space, Window) else (self.source.height, self.source.width)

    @property
    def offsets(self) -> Pair:
        """How many relative offsets there are down and across inside a window or the whole map."""
        height, width = self.extent
        return 2 * height - 1, 2 * width - 1

    @property
    def neighbours(self) -> int:
        """K: how many positions one position may read, counting those beyond the border."""
        if isinstance(self.space, Point):
            return 1
        if isinstance(self.space, Sliding):
            return self.space.taps
        return self.space.positions if isinstance(self.space, Window) else self.source.positions

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of a static weight, and of what a predictor predicts."""
        return self.channel_shape + self.position_shape

    @property
    def fan_in(self) -> int:
        """Inputs that one output sums over."""
        return self.neighbours * (self.source.channels // self.channel_groups)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return {
            "none": (),
            "channels": (self.target.channels,),
            "positions": (self.target.positions,),
        }[self.bias]

    @cached_property
    def _table(self) -> tuple[Parameter, ...]:
        rows = list(_weight_rows(self))
        if self.bias != "none":
            uniform = isinstance(self.weights, Static) and self.weights.init == "uniform"
            rows.append(Parameter("bias", self.bias_shape, _init("uniform", self.fan_in) if uniform else ZEROS))
        return tuple(rows)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self._table


def _init(name: str, fan_in: int) -> Init:
    if name == "normal":
        return NORMAL
    return Init("normal" if name == "fan" else "uniform", round(fan_in**-0.5, 12))


def _weight_rows(op: Connect) -> Iterator[Parameter]:
    if isinstance(op.weights, Static):
        yield Parameter("weight", op.weight_shape, _init(op.weights.init, op.fan_in))
    elif isinstance(op.weights, Attention):
        yield from _attention_rows(op, op.weights)
    else:
        yield from _predictor_rows(op, op.weights)


def _attention_rows(op: Connect, weights: Attention) -> Iterator[Parameter]:
    """Rows of the projection are query, key and (with `value`) value, each C wide, as in timm's fused qkv."""
    rows = op.source.channels * (3 if weights.value else 2)
    yield Parameter("projection.weight", (rows, op.source.channels), NORMAL)
    if weights.bias:
        yield Parameter("projection.bias", (rows,), ZEROS)
    if weights.relative_bias:
        heads = op.kernels
        yield Parameter("relative_bias", (math.prod(op.offsets), heads), NORMAL)


def _predictor_rows(op: Connect, weights: Predicted) -> Iterator[Parameter]:
    """The predicted vector is laid out (positions of the tie index, kernels): the kernels are contiguous."""
    width, hidden = op.source.channels, weights.hidden
    bound = _init("uniform", width)
    yield Parameter("reduce.weight", (hidden, width), bound)
    if weights.hidden_bias:
        yield Parameter("reduce.bias", (hidden,), bound)
    if weights.norm:
        yield from batch_norm_rows(hidden, "norm.")
    predicted = math.prod(op.weight_shape)
    bound = _init("uniform", hidden)
    yield Parameter("predict.weight", (predicted, hidden), bound)
    yield Parameter("predict.bias", (predicted,), bound)


def batch_norm_rows(width: int, prefix: str = "") -> Iterator[Parameter]:
    """Scale and shift (trained), running mean and variance (buffers)."""
    yield Parameter(f"{prefix}weight", (width,), ONES)
    yield Parameter(f"{prefix}bias", (width,), ZEROS)
    yield Parameter(f"{prefix}running_mean", (width,), ZEROS, trainable=False)
    yield Parameter(f"{prefix}running_var", (width,), ONES, trainable=False)


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


@dataclass(frozen=True)
class Program:
    """A whole network. `name` is what a person calls it and no part of what it means."""

    name: str
    image: Feature
    classes: int
    ops: tuple[Op, ...]

    @cached_property
    def digest(self) -> str:
        """sha256 of the meaning: equal for specs with the same normal form, whatever their names and layout."""
        text = "\n".join(_lines(self.ops, with_paths=False))
        return hashlib.sha256(f"archspec ir 1\n{self.image}\n{text}\n".encode()).hexdigest()

    def __str__(self) -> str:
        head = f"{self.name}: {self.image} -> {self.classes} classes, digest {self.digest[:16]}"
        return "\n".join([head, *_lines(self.ops, with_paths=True)])


def walk(ops: tuple[Op, ...]) -> Iterator[Op]:
    """Every op in the order it runs, a residual before what is inside it."""
    for op in ops:
        yield op
        if isinstance(op, Residual):
            yield from walk(op.ops)


def parameter_table(program: Program) -> dict[str, Parameter]:
    """Every parameter and buffer by its full name, in the order of a checkpoint."""
    return {f"{op.path}.{row.name}": row for op in walk(program.ops) for row in op.parameters}


def _lines(ops: tuple[Op, ...], with_paths: bool, indent: str = "") -> Iterator[str]:
    for op in ops:
        place = f"{op.path}: " if with_paths else ""
        words = (type(op).__name__.lower(), op.facts(), f"[{op.source} -> {op.target}]")
        yield indent + place + " ".join(word for word in words if word)
        if isinstance(op, Residual):
            yield from _lines(op.ops, with_paths, indent + "  ")
