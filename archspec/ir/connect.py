"""A connection layer: from its axes follow the shapes of its weights, and so its table of parameters.

Legend: H, W height and width; N positions (N' outgoing); C channels (C' outgoing); K window positions;
G groups of channels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property

from archspec.ir.axes import Attention, Point, Predicted, Sliding, Space, Static, Weights, Window
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
