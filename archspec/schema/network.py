"""One network as written in YAML: input, stem, stages of blocks, head (strict models, no torch)."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, PrivateAttr, Tag, field_validator, model_validator

from archspec.errors import nearest
from archspec.schema.axes import InitName, Size, Width
from archspec.schema.base import FROM_LIST, Strict
from archspec.schema.located import LocatedDict
from archspec.schema.steps import Block, Norm, Steps
from archspec.schema.validation import rule_error

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", max_length=100)]
Patch = Annotated[int, Field(ge=1, le=256)]


class Input(Strict):
    size: Size
    channels: Annotated[int, Field(ge=1, le=4096)] = 3

    @property
    def height_width(self) -> tuple[int, int]:
        return (self.size, self.size) if isinstance(self.size, int) else self.size


class PatchStem(Strict):
    """Shorthand: patch embedding (a convolution of size = stride), norm, class token, position embedding."""

    patch: Patch
    norm: Norm | None = None
    bias: bool = True
    class_token: bool = False
    position_embedding: bool = False
    init: InitName | None = None


class MergeDownsample(Strict):
    """Shorthand of patch merging: gather merge x merge patches, norm, linear to the width of the next stage."""

    merge: Annotated[int, Field(ge=2, le=64)]
    norm: Norm | None = None
    bias: bool = False
    init: InitName | None = None


def _list_or_mapping(value: Any) -> str:
    return "<steps>" if isinstance(value, list | tuple) else "<shorthand>"


_BY_SHAPE = Discriminator(_list_or_mapping)
Stem = Annotated[
    Annotated[Steps, Tag("<steps>")] | Annotated[PatchStem, Tag("<shorthand>")],
    _BY_SHAPE,
]
Downsample = Annotated[
    Annotated[Steps, Tag("<steps>")] | Annotated[MergeDownsample, Tag("<shorthand>")],
    _BY_SHAPE,
]


class Head(Strict):
    """norm, pooling over positions, linear classifier."""

    norm: Norm | None = None
    pool: Literal["mean", "class_token"] = "mean"
    bias: bool = True


BlockNames = Annotated[tuple[Name, ...], FROM_LIST, Field(min_length=1, max_length=64)]


class Stage(Strict):
    """`depth` blocks at one resolution and width. Several block names take turns (Swin: plain, shifted)."""

    width: Width
    depth: Annotated[int, Field(ge=1, le=1024)]
    block: Name | BlockNames
    downsample: Downsample | None = None
    """What leads into this stage; left out: the network's `downsample` (none before the first stage)."""

    @property
    def block_names(self) -> tuple[str, ...]:
        return (self.block,) if isinstance(self.block, str) else self.block

    @property
    def blocks_in_order(self) -> tuple[str, ...]:
        """The name of each of the `depth` blocks."""
        names = self.block_names
        return tuple(names[index % len(names)] for index in range(self.depth))


class Network(Strict):
    """One YAML file is one network."""

    archspec: Literal[1]
    name: Name
    source: str | None = None
    description: str | None = None
    input: Input
    classes: Annotated[int, Field(ge=1, le=1_000_000)]
    stem: Stem
    downsample: Downsample | None = None
    stages: Annotated[tuple[Stage, ...], FROM_LIST, Field(min_length=1, max_length=64)]
    head: Head = Head()
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The rate of the last block; rates rise linearly from 0 at the first block and end every residual branch."""
    init: InitName = "normal"
    """How static weights start: `normal` truncated normal of 0.02, `fan` truncated normal of 1/sqrt(fan in),
    `uniform` between -1/sqrt(fan in) and 1/sqrt(fan in) (PyTorch's default). A layer may say otherwise."""
    blocks: Annotated[dict[Name, Block], Field(min_length=1, max_length=256)]

    _located: LocatedDict | None = PrivateAttr(default=None)

    @property
    def located(self) -> LocatedDict | None:
        """The YAML this was read from, with the place of each value; None when made in Python."""
        return self._located

    def __eq__(self, other: object) -> bool:
        # Where a network was read from is no part of what it says.
        return isinstance(other, Network) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    @field_validator("archspec", mode="before")
    @classmethod
    def _known_version(cls, value: Any) -> Any:
        if value != 1 or isinstance(value, bool):
            raise rule_error("archspec is the version of the language; this release reads version 1", repr(value))
        return value

    @model_validator(mode="after")
    def _references(self) -> Self:
        for path, name, choices in block_references(self):
            if name not in choices:
                raise rule_error(
                    "a stage names blocks that are defined under blocks", name, nearest(name, choices), path
                )
        return self


def block_references(network: Network) -> Iterator[tuple[tuple[str | int, ...], str, tuple[str, ...]]]:
    """Every use of a block: (path in the network, the name used, the names there are)."""
    choices = tuple(network.blocks)
    for index, stage in enumerate(network.stages):
        if isinstance(stage.block, str):
            yield ("stages", index, "block"), stage.block, choices
            continue
        for position, name in enumerate(stage.block):
            yield ("stages", index, "block", position), name, choices
