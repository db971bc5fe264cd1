"""A connection layer: from its axes follow the shapes of its weights, and so its table of parameters.

Legend: H, W height and width; N positions (N' outgoing); C channels (C' outgoing); K window positions;
G groups of channels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property

from archspec.ir.axes import (
    Attention,
    Cross,
    Full,
    Outlook,
    Point,
    Predicted,
    Reduced,
    Sliding,
    Space,
    Static,
    Weights,
    Window,
)
from archspec.ir.feature import NORMAL, ONES, ZEROS, Feature, Init, Pair, Parameter


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
        """The position part of the tie index (archspec/README.md)."""
        if isinstance(self.weights, Predicted) and self.weights.source == "local":
            return (self.neighbours,)
        if self.share_positions == "offsets":
            return self._offset_shape
        if isinstance(self.space, Point):
            return (self.source.positions,)
        if isinstance(self.space, Sliding):
            return (self.target.positions, *self.space.size)
        if isinstance(self.space, Window):
            one = (self.space.positions, self.neighbours)
            return one if self.share_positions == "windows" else (math.prod(self.space.grid(self.source)), *one)
        return self.target.positions, self.neighbours

    @property
    def _offset_shape(self) -> tuple[int, ...]:
        if isinstance(self.space, Point):
            return ()
        if isinstance(self.space, Sliding):
            return self.space.size
        return (sum(self.offsets) - 1,) if isinstance(self.space, Cross) else self.offsets

    @property
    def extent(self) -> Pair:
        """Height and width of the area whose positions share what they read (window, or the whole map)."""
        return self.space.size if isinstance(self.space, Window) else (self.source.height, self.source.width)

    @property
    def farthest(self) -> Pair:
        """The largest relative offset, down and across, that a table over offsets holds."""
        (height, width), (down, across) = self.extent, (0, 0)
        if isinstance(self.space, Full) and self.space.largest:
            height, width = self.space.largest
        if isinstance(self.space, Window):
            down, across = self.space.halo
        return height - 1 + down, width - 1 + across

    @property
    def offsets(self) -> Pair:
        """How many relative offsets a table over offsets holds, down and across."""
        down, across = self.farthest
        return 2 * down + 1, 2 * across + 1

    @property
    def relative_offsets(self) -> int:
        """How many relative offsets there are between a query and the keys it reads: rows of a relative bias."""
        return self.space.taps if isinstance(self.space, Sliding) else math.prod(self._offset_shape)

    @property
    def neighbours(self) -> int:
        """K: how many positions one position may read, counting those beyond the border."""
        if isinstance(self.space, Point):
            return 1
        if isinstance(self.space, Sliding):
            return self.space.taps
        if isinstance(self.space, Window):
            return math.prod(self.space.reach)
        if isinstance(self.space, Cross):
            return self.source.height + self.source.width - 1
        return self.space.map(self.source).positions if isinstance(self.space, Reduced) else self.source.positions

    @property
    def area(self) -> Pair:
        """Height and width of what one position reads, where that is a rectangle: its taps, window or map."""
        if isinstance(self.space, Sliding):
            return self.space.size
        return self.space.reach if isinstance(self.space, Window) else (self.source.height, self.source.width)

    @property
    def token_asks(self) -> bool:
        """Whether only the class token has a query (class attention): its result is the one outgoing position."""
        return isinstance(self.weights, Attention) and bool(self.source.class_tokens - self.target.class_tokens)

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
    elif isinstance(op.weights, Outlook):
        yield from _outlook_rows(op, op.weights)
    else:
        yield from _predictor_rows(op, op.weights)
    if isinstance(op.space, Reduced):
        yield from _reduction_rows(op.space, op.source.channels)


def _projection_rows(name: str, rows: int, width: int, bias: bool) -> Iterator[Parameter]:
    yield Parameter(f"{name}.weight", (rows, width), NORMAL)
    if bias:
        yield Parameter(f"{name}.bias", (rows,), ZEROS)


def _attention_rows(op: Connect, weights: Attention) -> Iterator[Parameter]:
    """Rows of the projection are query, key and (with `value`) value, each C wide, as in timm's fused qkv."""
    width, heads = op.source.channels, op.kernels
    yield from _projection_rows("projection", width * (3 if weights.value else 2), width, weights.bias)
    if weights.relative_bias:
        yield Parameter("relative_bias", (op.relative_offsets, heads), NORMAL)
    if weights.centre:
        yield Parameter("centre.weight", (op.relative_offsets, heads, width), NORMAL)
    if weights.post_convolution:
        yield Parameter("post_convolution.weight", (heads, *(weights.post_convolution,) * 2), NORMAL)
    if weights.mix_heads:
        yield from _projection_rows("mix_heads", heads, heads, bias=True)
    if weights.pre_convolution:
        size = (weights.pre_convolution.size,) * 2
        shape = {"shared": size, "separate": (width, *size), "full": (width, width, *size)}
        taps = math.prod(size) * (width if weights.pre_convolution.channels == "full" else 1)
        yield Parameter("pre_convolution.weight", shape[weights.pre_convolution.channels], _init("fan", taps))
    if weights.output:
        yield from _projection_rows("output", width, width, weights.bias)


def _outlook_rows(op: Connect, weights: Outlook) -> Iterator[Parameter]:
    """The predicted vector is laid out (kernels, slots of i, slots of j), as in timm's outlook attention."""
    width = op.source.channels
    if weights.value:
        yield from _projection_rows("projection", width, width, weights.bias)
    yield from _projection_rows("predict", op.kernels * op.neighbours**2, width, bias=True)


def _reduction_rows(space: Reduced, width: int) -> Iterator[Parameter]:
    if space.by == "convolution":
        init = _init("uniform", width * math.prod(space.ratio))
        yield Parameter("reduction.weight", (width, width, *space.ratio), init)
        yield Parameter("reduction.bias", (width,), ZEROS)
    if space.norm:
        yield Parameter("reduction.norm.weight", (width,), ONES)
        yield Parameter("reduction.norm.bias", (width,), ZEROS)


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
