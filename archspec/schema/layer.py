"""One connection layer as written in YAML: its three axes, and width, bias, rank and initialisation beside them."""

from typing import Annotated, Literal, Self

from pydantic import Field, Tag, model_validator

from archspec.schema.axes import (
    BY_KEY,
    ActivationName,
    Channels,
    ChannelSharing,
    Connectivity,
    InitName,
    Sharing,
    Space,
    Width,
    key_of,
)
from archspec.schema.base import Strict
from archspec.schema.legality import Combination, broken_rules, nearest_legal
from archspec.schema.validation import rule_error
from archspec.schema.weights import Weights

Ratio = Annotated[float, Field(gt=0, le=1024)]


class WidthRatio(Strict):
    """A width as a multiple of the incoming width."""

    ratio: Ratio


class WidthDivide(Strict):
    """A width as a whole fraction of the incoming width."""

    divide: Width


class StageRatio(Strict):
    """A width as a multiple of the width of the stage."""

    stage_ratio: Ratio


RelativeWidth = Annotated[
    Annotated[WidthRatio, Tag("<ratio>")]
    | Annotated[WidthDivide, Tag("<divide>")]
    | Annotated[StageRatio, Tag("<stage_ratio>")],
    BY_KEY,
]
OutputWidth = Width | Literal["stage", "classes"] | RelativeWidth

# What a rank factorises: a static W that mixes channels, positions, or both.
FACTORISED = (
    Combination("point", "full", "offsets", "none", "static"),
    Combination("full", "separate", "none", "all", "static"),
    Combination("full", "full", "none", "none", "static"),
)


class HiddenSize(Strict):
    """A factorised W = W2 act(W1): `size` hidden units, or `ratio` times the mixed size; without `act`, W2 W1."""

    act: ActivationName | None = None
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
    """Output channels; only where channels mix. `stage` is the width of the stage the layer leads into, `classes`
    the number of classes."""
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
        if self.rank is not None and combination not in FACTORISED:
            raise rule_error(
                "rank factorises a static W that mixes fully: space point with channels full (positions offsets), or "
                "space full (positions none) with channels full, or separate and all sharing",
                str(combination),
            )
        return self


def space_name(space: Space) -> str:
    return name_of(space)


def channels_name(channels: Channels) -> str:
    return channels if isinstance(channels, str) else "groups"


def sharing_name(sharing: ChannelSharing) -> str:
    return sharing if isinstance(sharing, str) else "groups"


def weights_name(weights: Weights) -> str:
    return name_of(weights)


def name_of(value: Space | Weights) -> str:
    """The word or key that a value is written with."""
    return str(key_of(value)).strip("<>")
