"""The third axis of a connection layer as written in YAML: where the values of W come from (strict models, no torch).

static       parameters
pooled       predicted from the pooled image: one set per image
local        predicted from the feature at a position: one set per position
attention    products of queries and keys
outlook      predicted from a position: the map of a whole window to itself
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Tag

from archspec.schema.axes import ActivationName, Size, Width, by_key_or_word
from archspec.schema.base import Strict

# Sizes of the small convolutions inside attention; an enumeration, so that the JSON Schema says it too.
OddSize = Literal[1, 3, 5, 7, 9, 11, 13, 15]
Normalisation = Literal["softmax", "none"]


class StaticOptions(Strict):
    """Weights are parameters."""

    normalise: Normalisation = "none"
    """`softmax`: over the positions that one position reads, as in lightweight convolution (arXiv 1901.10430)."""


class PooledOptions(Strict):
    """One set of weights per image, predicted from the pooled input (D-DW; squeeze-excite style, Appendix D)."""

    reduction: Width = 4
    norm: Literal["batch", "none"] = "batch"
    act: ActivationName = "relu"
    hidden_bias: bool = False
    normalise: Normalisation = "none"
    """`softmax`: over the positions that one position reads, as in dynamic convolution (arXiv 1901.10430)."""


class LocalOptions(Strict):
    """One set of weights per position, predicted from the feature at that position (Eq. 18, involution)."""

    reduction: Width = 4
    norm: Literal["batch", "none"] = "batch"
    act: ActivationName = "relu"
    hidden_bias: bool = True
    normalise: Normalisation = "none"
    """`softmax`: over the positions that one position reads."""


class PreConvolutionOptions(Strict):
    """A convolution of the map that queries and keys are projected from (Eq. 24-25): one kernel for all channels
    (`shared`), one for each (`separate`), or a full one."""

    size: OddSize
    channels: Literal["shared", "separate", "full"] = "separate"


class AttentionOptions(Strict):
    """Weights are the softmax of query times key (Eq. 19-20), one set per position and channel group (head)."""

    bias: bool = True
    """Whether the projections have a bias."""
    relative_bias: bool = False
    """Add a learned value per relative offset and head before the softmax (Eq. 21)."""
    value: bool = True
    """Mix a projection of x (the value) instead of x itself. It belongs here and not in a `linear` step before,
    because queries and keys read x, not the value."""
    output: bool = False
    """Project what was mixed. It is a `linear` step after, except that padded positions of windows are projected too,
    as in Swin's published code."""
    normalise: Normalisation = "softmax"
    """`none`: the products themselves are the weights."""
    centre: bool = False
    """Add a static term: a learned vector per relative offset and head times the query's feature (Eq. 22)."""
    post_convolution: Literal[0] | OddSize = 0
    """Convolve each query's products over what it reads, circularly, one kernel of this size per head (Eq. 23)."""
    pre_convolution: PreConvolutionOptions | None = None
    mix_heads: bool = False
    """Mix the heads' products by a 1x1 convolution before the softmax (ResT, arXiv 2105.13677)."""
    queries: Literal["all", "class_token"] = "all"
    """`class_token`: only the class token asks; what comes out is one position (class attention, VOLO, CaiT)."""


class OutlookOptions(Strict):
    """Each window's map to itself is predicted from its centre; y sums over windows (VOLO, arXiv 2106.13112)."""

    stride: Size = 1
    """Every so-many-th position is the centre of a window; it predicts from the mean of its stride x stride patch."""
    bias: bool = False
    """Whether the value projection has a bias."""
    value: bool = True
    """Mix a projection of x (the value) instead of x itself."""


class Static(Strict):
    static: StaticOptions


class Pooled(Strict):
    pooled: PooledOptions


class Local(Strict):
    local: LocalOptions


class Attention(Strict):
    attention: AttentionOptions


class Outlook(Strict):
    outlook: OutlookOptions


_BARE = ("pooled", "local", "attention", "outlook")


def _from_bare_word(value: Any) -> Any:
    return {value: {}} if isinstance(value, str) and value in _BARE else value


# The bare words mean the default options.
Weights = Annotated[
    Annotated[Literal["static"], Tag("<bare static>")]
    | Annotated[Static, Tag("<static>")]
    | Annotated[Pooled, Tag("<pooled>")]
    | Annotated[Local, Tag("<local>")]
    | Annotated[Attention, Tag("<attention>")]
    | Annotated[Outlook, Tag("<outlook>")],
    by_key_or_word("static"),
    BeforeValidator(
        _from_bare_word,
        json_schema_input_type=Literal["static", "pooled", "local", "attention", "outlook"]
        | Static
        | Pooled
        | Local
        | Attention
        | Outlook,
    ),
]
