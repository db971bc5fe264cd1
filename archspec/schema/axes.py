"""The three axes of a connection layer as written in YAML: connectivity, sharing, weights (strict models, no torch).

y = W x, and a layer is three choices about W (arXiv 2106.04263, Table 1 and Appendix A):

    connectivity   which entries exist       space (which positions) times channels (which channels)
    sharing        which entries are equal   over positions times over channels
    weights        where values come from    parameters (static) or a function of x (pooled, local, attention)
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag

from archspec.schema.base import FROM_LIST, Strict

MAXIMUM_SIZE = 8192
MAXIMUM_WIDTH = 65536

Extent = Annotated[int, Field(ge=1, le=MAXIMUM_SIZE)]
Width = Annotated[int, Field(ge=1, le=MAXIMUM_WIDTH)]
# A number means a square; a list of two is [height, width].
Size = Extent | Annotated[tuple[Extent, Extent], FROM_LIST]
Offset = Annotated[int, Field(ge=0, le=MAXIMUM_SIZE)]
Shift = Offset | Annotated[tuple[Offset, Offset], FROM_LIST]
ActivationName = Literal["relu", "gelu", "silu", "tanh", "sigmoid", "hardswish"]
InitName = Literal["normal", "fan", "uniform"]


def key_of(value: Any) -> str | None:
    """The tag of a value in a union told apart by its one key (or its bare word): `{sliding: 7}` is `<sliding>`."""
    if isinstance(value, BaseModel):
        names = type(value).model_fields
        return f"<{next(iter(names))}>"
    if isinstance(value, str):
        return f"<{value}>"
    if isinstance(value, dict) and value:
        return f"<{next(iter(value))}>"
    return None


# A choice is written as a bare word (`full`) or as a mapping with one key (`{sliding: 7}`).
BY_KEY = Discriminator(key_of)


class SlidingOptions(Strict):
    """A sliding window: output position i reads the size x size inputs around stride * i."""

    size: Size
    dilation: Size = 1
    stride: Size = 1
    padding: Literal["same", "end", "none"] = "same"
    """Where the map ends: `same` centres the window (an even size reaches one further down and right), `end`
    starts it at the position itself, `none` keeps only windows that lie inside the map."""


class WindowOptions(Strict):
    """Non-overlapping windows: every position of a window reads every position of it."""

    size: Size
    shift: Shift = 0
    """Move the grid of windows by this many positions; positions brought together by wrapping do not connect."""
    padding: Literal["zeros", "masked"] = "zeros"
    """When the size does not divide the map: `zeros` lets padded positions take part as keys (the published Swin
    code), `masked` leaves them out of the softmax."""


class Sliding(Strict):
    sliding: Size | SlidingOptions

    @property
    def options(self) -> SlidingOptions:
        return self.sliding if isinstance(self.sliding, SlidingOptions) else SlidingOptions(size=self.sliding)


class Window(Strict):
    window: Size | WindowOptions

    @property
    def options(self) -> WindowOptions:
        return self.window if isinstance(self.window, WindowOptions) else WindowOptions(size=self.window)


class Groups(Strict):
    """So many groups, whatever the width."""

    groups: Width


class GroupWidth(Strict):
    """Groups of so many channels each (channels per head), whatever the width."""

    group_width: Width


Space = Annotated[
    Annotated[Literal["point"], Tag("<point>")]
    | Annotated[Literal["full"], Tag("<full>")]
    | Annotated[Sliding, Tag("<sliding>")]
    | Annotated[Window, Tag("<window>")],
    BY_KEY,
]

Channels = Annotated[
    Annotated[Literal["separate"], Tag("<separate>")]
    | Annotated[Literal["full"], Tag("<full>")]
    | Annotated[Groups, Tag("<groups>")]
    | Annotated[GroupWidth, Tag("<group_width>")],
    BY_KEY,
]

ChannelSharing = Annotated[
    Annotated[Literal["none"], Tag("<none>")]
    | Annotated[Literal["all"], Tag("<all>")]
    | Annotated[Groups, Tag("<groups>")]
    | Annotated[GroupWidth, Tag("<group_width>")],
    BY_KEY,
]


class Connectivity(Strict):
    """Which entries of W may be nonzero."""

    space: Space
    channels: Channels


class Sharing(Strict):
    """Which nonzero entries of W are equal."""

    positions: Literal["none", "windows", "offsets"]
    channels: ChannelSharing = "none"


class PooledOptions(Strict):
    """One set of weights per image, predicted from the pooled input (D-DW; squeeze-excite style, Appendix D)."""

    reduction: Width = 4
    norm: Literal["batch", "none"] = "batch"
    act: ActivationName = "relu"
    hidden_bias: bool = False


class LocalOptions(Strict):
    """One set of weights per position, predicted from the feature at that position (Eq. 18, involution)."""

    reduction: Width = 4
    norm: Literal["batch", "none"] = "batch"
    act: ActivationName = "relu"
    hidden_bias: bool = True


class AttentionOptions(Strict):
    """Weights are the softmax of query times key (Eq. 19-20), one set per position and channel group (head)."""

    bias: bool = True
    """Whether the query, key and value projections have a bias."""
    relative_bias: bool = False
    """Add a learned value per relative offset and head before the softmax (Eq. 21)."""
    value: bool = True
    """Mix a projection of x (the value) instead of x itself. It belongs here and not in a `linear` step before,
    because queries and keys read x, not the value."""


class Pooled(Strict):
    pooled: PooledOptions


class Local(Strict):
    local: LocalOptions


class Attention(Strict):
    attention: AttentionOptions


def _from_bare_word(value: Any) -> Any:
    return {value: {}} if isinstance(value, str) and value in ("pooled", "local", "attention") else value


# The bare words `pooled`, `local` and `attention` mean their default options.
Weights = Annotated[
    Annotated[Literal["static"], Tag("<static>")]
    | Annotated[Pooled, Tag("<pooled>")]
    | Annotated[Local, Tag("<local>")]
    | Annotated[Attention, Tag("<attention>")],
    BY_KEY,
    BeforeValidator(
        _from_bare_word,
        json_schema_input_type=Literal["static", "pooled", "local", "attention"] | Pooled | Local | Attention,
    ),
]
