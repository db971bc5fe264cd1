"""Two axes of a connection layer as written in YAML: connectivity and sharing (strict models, no torch).

y = W x, and a layer is three choices about W (arXiv 2106.04263, Table 1 and Appendix A):

    connectivity   which entries exist       space (which positions) times channels (which channels)
    sharing        which entries are equal   over positions times over channels
    weights        where values come from    parameters or a function of x: archspec.schema.weights
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from archspec.schema.base import FROM_LIST, Strict

MAXIMUM_SIZE = 8192
MAXIMUM_WIDTH = 65536

Extent = Annotated[int, Field(ge=1, le=MAXIMUM_SIZE)]
Width = Annotated[int, Field(ge=1, le=MAXIMUM_WIDTH)]
# A number means a square; a list of two is [height, width].
Size = Extent | Annotated[tuple[Extent, Extent], FROM_LIST]
Offset = Annotated[int, Field(ge=0, le=MAXIMUM_SIZE)]
Shift = Offset | Annotated[tuple[Offset, Offset], FROM_LIST]
ActivationName = Literal["relu", "gelu", "silu", "tanh", "sigmoid", "hardswish", "relu6"]
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


def by_key_or_word(*words: str) -> Discriminator:
    """As BY_KEY, where these words are written bare and with options: `full` is `<bare full>`."""
    bare = {word: f"<bare {word}>" for word in words}
    return Discriminator(lambda value: bare.get(value) or key_of(value) if isinstance(value, str) else key_of(value))


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


class HaloOptions(Strict):
    """Non-overlapping windows that also read `halo` positions beyond each side (HaloNet, arXiv 2103.12731)."""

    size: Size
    halo: Shift
    padding: Literal["zeros", "masked"] = "zeros"
    """What lies beyond the map: `zeros` take part as keys, `masked` leaves them out of the softmax."""


class GridOptions(Strict):
    """A window is every so-many-th position: size x size of them, spread over the whole map (arXiv 1907.12273)."""

    size: Size
    padding: Literal["zeros", "masked"] = "zeros"
    """As for a window: when the size does not divide the map."""


class ReductionOptions(Strict):
    """Every position reads all of a map that is `ratio` times smaller in each direction (PVT, arXiv 2102.12122)."""

    ratio: Size
    by: Literal["convolution", "mean"] = "convolution"
    norm: Literal["layer", "none"] = "layer"


class FullOptions(Strict):
    """Every position reads every position; tables over offsets hold maps up to `largest`, so that a network runs at
    smaller sizes with the same parameters (they use the centre of the table)."""

    largest: Size


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


class Halo(Strict):
    halo: HaloOptions


class Grid(Strict):
    grid: Size | GridOptions

    @property
    def options(self) -> GridOptions:
        return self.grid if isinstance(self.grid, GridOptions) else GridOptions(size=self.grid)


class PooledSpace(Strict):
    pooled: Size | ReductionOptions

    @property
    def options(self) -> ReductionOptions:
        return self.pooled if isinstance(self.pooled, ReductionOptions) else ReductionOptions(ratio=self.pooled)


class Full(Strict):
    full: FullOptions


class Groups(Strict):
    """So many groups, whatever the width."""

    groups: Width


class GroupWidth(Strict):
    """Groups of so many channels each (channels per head), whatever the width."""

    group_width: Width


Space = Annotated[
    Annotated[Literal["point"], Tag("<point>")]
    | Annotated[Literal["full"], Tag("<bare full>")]
    | Annotated[Full, Tag("<full>")]
    | Annotated[Literal["cross"], Tag("<cross>")]
    | Annotated[Sliding, Tag("<sliding>")]
    | Annotated[Window, Tag("<window>")]
    | Annotated[Halo, Tag("<halo>")]
    | Annotated[Grid, Tag("<grid>")]
    | Annotated[PooledSpace, Tag("<pooled>")],
    by_key_or_word("full"),
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
