"""The steps a branch is made of, as written in YAML: connect, its shorthands, norm, act, scale, drop path, tokens."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from archspec.schema.axes import (
    BY_KEY,
    ActivationName,
    Attention,
    Channels,
    ChannelSharing,
    Connectivity,
    InitName,
    Local,
    Pooled,
    Sharing,
    Sliding,
    Space,
    Weights,
    Width,
    Window,
    key_of,
)
from archspec.schema.base import FROM_LIST, Strict
from archspec.schema.legality import Combination, broken_rules, nearest_legal
from archspec.schema.validation import rule_error

Ratio = Annotated[float, Field(gt=0, le=1024)]
NormName = Literal["layer", "batch", "affine"]


class WidthRatio(Strict):
    """A width as a multiple of the incoming width."""

    ratio: Ratio


OutputWidth = Width | Literal["stage"] | WidthRatio


class HiddenSize(Strict):
    """A factorised W = W2 act(W1): `size` hidden units, or `ratio` times the mixed size, with `act` between."""

    act: ActivationName
    size: Width | None = None
    ratio: Ratio | None = None

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.size is None) == (self.ratio is None):
            raise rule_error("a factorised layer states its hidden size once: either size or ratio")
        return self


class ConnectLayer(Strict):
    """One connection layer y = W x (+ bias): the three axes, always written."""

    connectivity: Connectivity
    sharing: Sharing
    weights: Weights
    width: OutputWidth | None = None
    """Output channels; only where channels mix. `stage` is the width of the stage the layer leads into."""
    bias: bool | Literal["channels", "positions"] | None = None
    """`true` is one value per channel, or per position where all channels share W (a token-mixing layer).
    Left out: true for static weights, false for dynamic ones."""
    rank: HiddenSize | None = None
    init: InitName | None = None

    @property
    def combination(self) -> Combination:
        return Combination(
            space_name(self.connectivity.space),
            channels_name(self.connectivity.channels),
            self.sharing.positions,
            sharing_name(self.sharing.channels),
            weights_name(self.weights),
        )

    @model_validator(mode="after")
    def _legal(self) -> Self:
        combination = self.combination
        broken = broken_rules(combination)
        if broken:
            raise rule_error(
                "; ".join(rule.text for rule in broken), str(combination), (str(nearest_legal(combination)),)
            )
        if self.width is not None and combination.channels == "separate":
            raise rule_error(
                "separate channels keep their number: width is for channels full or groups", str(self.width)
            )
        if self.rank is not None and not self._factorises(combination):
            raise rule_error(
                "rank factorises a static W that mixes one axis fully: space point with channels full "
                "(positions offsets), or space full with channels separate, all sharing (positions none)",
                str(combination),
            )
        return self

    @staticmethod
    def _factorises(combination: Combination) -> bool:
        return combination in (
            Combination("point", "full", "offsets", "none", "static"),
            Combination("full", "separate", "none", "all", "static"),
        )


def space_name(space: Space) -> str:
    if isinstance(space, Sliding):
        return "sliding"
    return "window" if isinstance(space, Window) else space


def channels_name(channels: Channels) -> str:
    return channels if isinstance(channels, str) else "groups"


def sharing_name(sharing: ChannelSharing) -> str:
    return sharing if isinstance(sharing, str) else "groups"


def weights_name(weights: Weights) -> str:
    if isinstance(weights, Pooled):
        return "pooled"
    if isinstance(weights, Local):
        return "local"
    return "attention" if isinstance(weights, Attention) else "static"


class LinearLayer(Strict):
    """Shorthand of a 1x1 convolution: space point, channels full, positions offsets, static."""

    width: OutputWidth | None = None
    bias: bool = True
    init: InitName | None = None


class MlpLayer(Strict):
    """Shorthand of the channel MLP: a `linear` of rank ratio x width with an activation between its factors."""

    ratio: Ratio = 4.0
    act: ActivationName = "gelu"
    bias: bool = True
    init: InitName | None = None


class NormOptions(Strict):
    eps: Annotated[float, Field(gt=0, lt=1)] = 1e-5


class LayerNorm(Strict):
    layer: NormOptions


class BatchNorm(Strict):
    batch: NormOptions


Norm = Annotated[
    Annotated[Literal["layer", "batch", "affine"], Tag("<word>")]
    | Annotated[LayerNorm, Tag("<layer>")]
    | Annotated[BatchNorm, Tag("<batch>")],
    Discriminator(lambda value: "<word>" if isinstance(value, str) else key_of(value)),
]


class ScaleOptions(Strict):
    init: Annotated[float, Field(gt=0, le=10)]


class Connect(Strict):
    connect: ConnectLayer


class Linear(Strict):
    linear: LinearLayer


class Mlp(Strict):
    mlp: MlpLayer


class Normalise(Strict):
    norm: Norm


class Activate(Strict):
    act: ActivationName


class Scale(Strict):
    """Layer scale: a learned factor per channel."""

    scale: ScaleOptions


class DropPath(Strict):
    """Drop the branch so far, per sample, with this probability while training (arXiv 1603.09382)."""

    drop_path: Annotated[float, Field(ge=0, lt=1)]


class ClassToken(Strict):
    """Put one learned position before the map; from here on the space is point or full."""

    class_token: Literal[True]


class PositionEmbedding(Strict):
    """Add one learned feature to each position (absolute position embedding)."""

    position_embedding: Literal[True]


class Gather(Strict):
    """Concatenate the channels of each size x size patch: (H, W, C) becomes (H/size, W/size, size^2 C)."""

    gather: Annotated[int, Field(ge=2, le=64)]


Step = Annotated[
    Annotated[Connect, Tag("<connect>")]
    | Annotated[Linear, Tag("<linear>")]
    | Annotated[Mlp, Tag("<mlp>")]
    | Annotated[Normalise, Tag("<norm>")]
    | Annotated[Activate, Tag("<act>")]
    | Annotated[Scale, Tag("<scale>")]
    | Annotated[DropPath, Tag("<drop_path>")]
    | Annotated[ClassToken, Tag("<class_token>")]
    | Annotated[PositionEmbedding, Tag("<position_embedding>")]
    | Annotated[Gather, Tag("<gather>")],
    BY_KEY,
]
Steps = Annotated[tuple[Step, ...], FROM_LIST, Field(min_length=1, max_length=64)]


class Residual(Strict):
    """y = x + branch(x)."""

    residual: Steps


class Sequence(Strict):
    """y = branch(x)."""

    sequence: Steps


Branch = Annotated[
    Annotated[Residual, Tag("<residual>")] | Annotated[Sequence, Tag("<sequence>")],
    BY_KEY,
]
Block = Annotated[tuple[Branch, ...], FROM_LIST, Field(min_length=1, max_length=16)]
