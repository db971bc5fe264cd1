"""The steps a block is made of, as written in YAML: the simple ones, and those that hold lists of steps in turn.

residual, gate, parallel, split    several branches take one map (or slices of it); their results are joined
streams, exchange                  several maps at once, as in networks of several resolutions (HRNet)
sequence, block                    a list inside a list, written here or under a name
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from archspec.schema.axes import BY_KEY, Width
from archspec.schema.base import FROM_LIST, Strict
from archspec.schema.simple import (
    Activate,
    ClassToken,
    Connect,
    DropPath,
    Gather,
    Linear,
    Mlp,
    Multiply,
    Normalise,
    Pool,
    PositionEmbedding,
    Resize,
    Scale,
    Select,
    Shuffle,
)
from archspec.schema.validation import rule_error

MAXIMUM_BRANCHES = 64
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", max_length=100)]


def _list_or_mapping(value: Any) -> str:
    return "<steps>" if isinstance(value, list | tuple) else "<options>"


# Either a list of steps, or a mapping that says more.
BY_SHAPE = Discriminator(_list_or_mapping)


class BlockReference(Strict):
    """The steps of a named block, here."""

    block: Name


class Residual(Strict):
    """y = x + branch(x), or branch(x) + shortcut(x)."""

    residual: Annotated[Annotated["Steps", Tag("<steps>")] | Annotated["Shortcut", Tag("<options>")], BY_SHAPE]


class Shortcut(Strict):
    branch: "Steps"
    shortcut: "Branch"
    """An empty list is x itself."""


class Sequence(Strict):
    """The steps one after the other."""

    sequence: "Steps"


class Gate(Strict):
    """y = x * branch(x); the branch may give one position or one channel, which stands for all."""

    gate: "Steps"


class ParallelBranches(Strict):
    branches: "Branches"
    join: Literal["sum", "product", "concat", "tokens"] = "sum"
    """`product`: the first branch gives the shape, the others may have one position or one channel. `tokens`: the
    first branch gives the class token of the map that the second one gives."""


class Parallel(Strict):
    """Every branch takes x; an empty branch gives x."""

    parallel: ParallelBranches


class SplitBranches(Strict):
    branches: "Branches"
    join: Literal["concat", "product", "sum"] = "concat"
    sizes: Annotated[tuple[Width, ...], FROM_LIST, Field(min_length=1, max_length=MAXIMUM_BRANCHES)] | None = None
    """Channels of each slice; left out: all alike."""
    cascade: bool = False
    """Each branch but the first takes its slice plus the result of the branch before (Res2Net); an empty one does
    not."""

    @model_validator(mode="after")
    def _a_size_each(self) -> Self:
        if self.sizes is not None and len(self.sizes) != len(self.branches):
            found = f"{len(self.sizes)} sizes for {len(self.branches)} branches"
            raise rule_error("a split has one size for each branch", found, at=("sizes",))
        return self


class Split(Strict):
    """Branch b takes the b-th slice of the channels."""

    split: SplitBranches


class Streams(Strict):
    """Of several maps, map k goes through list k."""

    streams: "Branches"


class Exchange(Strict):
    """One row for each outgoing map; column j of it is the branch from incoming map j, or null. A row is a sum."""

    exchange: Annotated[tuple["Row", ...], FROM_LIST, Field(min_length=1, max_length=MAXIMUM_BRANCHES)]

    @model_validator(mode="after")
    def _rectangular(self) -> Self:
        for number, row in enumerate(self.exchange):
            if len(row) != len(self.exchange[0]):
                rule = "every row of an exchange has one entry for each incoming map"
                raise rule_error(rule, f"{len(row)} after {len(self.exchange[0])}", at=("exchange", number))
            if all(branch is None for branch in row):
                raise rule_error("an outgoing map comes from somewhere", "null only", at=("exchange", number))
        return self


Step = Annotated[
    Annotated[Connect, Tag("<connect>")]
    | Annotated[Linear, Tag("<linear>")]
    | Annotated[Mlp, Tag("<mlp>")]
    | Annotated[Normalise, Tag("<norm>")]
    | Annotated[Activate, Tag("<act>")]
    | Annotated[Scale, Tag("<scale>")]
    | Annotated[Multiply, Tag("<multiply>")]
    | Annotated[DropPath, Tag("<drop_path>")]
    | Annotated[ClassToken, Tag("<class_token>")]
    | Annotated[PositionEmbedding, Tag("<position_embedding>")]
    | Annotated[Gather, Tag("<gather>")]
    | Annotated[Shuffle, Tag("<shuffle>")]
    | Annotated[Pool, Tag("<pool>")]
    | Annotated[Select, Tag("<select>")]
    | Annotated[Resize, Tag("<resize>")]
    | Annotated[BlockReference, Tag("<block>")]
    | Annotated[Residual, Tag("<residual>")]
    | Annotated[Sequence, Tag("<sequence>")]
    | Annotated[Gate, Tag("<gate>")]
    | Annotated[Parallel, Tag("<parallel>")]
    | Annotated[Split, Tag("<split>")]
    | Annotated[Streams, Tag("<streams>")]
    | Annotated[Exchange, Tag("<exchange>")],
    BY_KEY,
]
Steps = Annotated[tuple[Step, ...], FROM_LIST, Field(min_length=1, max_length=64)]
Branch = Annotated[tuple[Step, ...], FROM_LIST, Field(max_length=64)]
Branches = Annotated[tuple[Branch, ...], FROM_LIST, Field(min_length=1, max_length=MAXIMUM_BRANCHES)]
Row = Annotated[tuple[Branch | None, ...], FROM_LIST, Field(min_length=1, max_length=MAXIMUM_BRANCHES)]
Block = Steps

_BRANCHING: tuple[type[Strict], ...] = (
    *(Residual, Shortcut, Sequence, Gate, ParallelBranches, Parallel, SplitBranches, Split, Streams),
    Exchange,
)
for _model in _BRANCHING:
    # They hold lists of steps, which are known only now.
    _model.model_rebuild(force=True)
