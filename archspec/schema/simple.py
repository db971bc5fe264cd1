"""The steps that hold no other steps, as written in YAML: connect and its shorthands, norm, act, pool, tokens, ..."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from archspec.schema.axes import ActivationName, InitName, Size, Width, key_of
from archspec.schema.base import Strict
from archspec.schema.layer import ConnectLayer, OutputWidth, Ratio

NormName = Literal["layer", "batch", "affine"]


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


class BatchNormOptions(NormOptions):
    centring: bool = False
    """Add a learned factor per channel times the mean of the map before normalising (CC-BN, arXiv 2104.01769)."""


class LayerNorm(Strict):
    layer: NormOptions


class BatchNorm(Strict):
    batch: BatchNormOptions


Norm = Annotated[
    Annotated[Literal["layer", "batch", "affine"], Tag("<word>")]
    | Annotated[LayerNorm, Tag("<layer>")]
    | Annotated[BatchNorm, Tag("<batch>")],
    Discriminator(lambda value: "<word>" if isinstance(value, str) else key_of(value)),
]


class ScaleOptions(Strict):
    init: Annotated[float, Field(gt=0, le=10)]


class PoolOptions(Strict):
    """A window of size x size slides over the map, as in `sliding`; each channel by itself."""

    size: Size
    stride: Size = 1
    padding: Literal["same", "end", "none"] = "same"


class MeanPoolOptions(PoolOptions):
    count_padding: bool = True
    """Whether positions beyond the border count, as zeros; otherwise the mean is over those that exist."""


class SlidingMean(Strict):
    mean: MeanPoolOptions


class SlidingMax(Strict):
    max: PoolOptions


PoolKind = Annotated[
    Annotated[Literal["mean", "max"], Tag("<word>")]
    | Annotated[SlidingMean, Tag("<mean>")]
    | Annotated[SlidingMax, Tag("<max>")],
    Discriminator(lambda value: "<word>" if isinstance(value, str) else key_of(value)),
]
ResizeMode = Literal["nearest", "bilinear"]


class ResizeOptions(Strict):
    scale: Annotated[int, Field(ge=1, le=64)]
    mode: ResizeMode = "nearest"


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


class Multiply(Strict):
    """y = x times this number."""

    multiply: Annotated[float, Field(ge=-1e6, le=1e6)]


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


class Shuffle(Strict):
    """Interleave so many groups of channels: channel (g, c) goes to (c, g) (ShuffleNet, IGC)."""

    shuffle: Width


class Pool(Strict):
    """A word: the whole map, without its class token, to one position. A mapping: a window that slides."""

    pool: PoolKind


class Select(Strict):
    """Only the class token, as a map of one position, or only the map."""

    select: Literal["class_token", "map"]


class Resize(Strict):
    """A word: to the size of the map that the step around it took. A mapping: by a whole factor."""

    resize: ResizeMode | ResizeOptions
