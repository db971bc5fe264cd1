"""One network as written in YAML: input, stem, stages of blocks, head (strict models, no torch)."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, Tag, field_validator, model_validator

from archspec.schema.axes import InitName, Size, Width
from archspec.schema.base import FROM_LIST, Strict
from archspec.schema.located import LocatedDict
from archspec.schema.nesting import MAXIMUM_STEPS, Listed, Path, Sizes, check_references, references
from archspec.schema.simple import Norm
from archspec.schema.steps import BY_SHAPE, Block, Steps
from archspec.schema.steps import Name as Name
from archspec.schema.validation import rule_error

MAXIMUM_STREAMS = 16
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


Stem = Annotated[
    Annotated[Steps, Tag("<steps>")] | Annotated[PatchStem, Tag("<options>")],
    BY_SHAPE,
]
Downsample = Annotated[
    Annotated[Steps, Tag("<steps>")] | Annotated[MergeDownsample, Tag("<options>")],
    BY_SHAPE,
]


class Head(Strict):
    """Any steps, norm, pooling over positions, linear classifier."""

    steps: Steps | None = None
    norm: Norm | None = None
    pool: Literal["mean", "max", "class_token", "none"] = "mean"
    classifier: bool = True
    """Without one, what is left must be one position with as many channels as there are classes."""
    bias: bool = True


BlockNames = Annotated[tuple[Name, ...], FROM_LIST, Field(min_length=1, max_length=64)]


class Stage(Strict):
    """`depth` blocks at one resolution and width. Several block names take turns (Swin: plain, shifted)."""

    width: Width | Annotated[tuple[Width, ...], FROM_LIST, Field(min_length=1, max_length=MAXIMUM_STREAMS)]
    """A list has one width for each of several maps at once."""
    depth: Annotated[int, Field(ge=1, le=1024)]
    block: Name | BlockNames
    first: Name | None = None
    """The block that takes the place of the first of them, as where a stage begins with a stride."""
    downsample: Downsample | None = None
    """What leads into this stage; left out: the network's `downsample` (none before the first stage)."""

    @property
    def block_names(self) -> tuple[str, ...]:
        return (self.block,) if isinstance(self.block, str) else self.block

    @property
    def widths(self) -> tuple[int, ...]:
        """One for each map."""
        return (self.width,) if isinstance(self.width, int) else self.width

    @property
    def blocks_in_order(self) -> tuple[str, ...]:
        """The name of each of the `depth` blocks."""
        names = self.block_names
        in_turn = tuple(names[index % len(names)] for index in range(self.depth))
        return (self.first, *in_turn[1:]) if self.first else in_turn


class Network(Strict):
    """One YAML file is one network."""

    archspec: Literal[1]
    name: Name
    source: str | None = None
    description: str | None = None
    input: Input
    classes: Annotated[int, Field(ge=1, le=1_000_000)]
    stem: Stem | None = None
    """Left out: the image is the first map."""
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
        check_references(_stage_references(self), self.blocks, "a stage names blocks that are defined under blocks")
        nested = ((path, name) for at, steps in listed_steps(self) for path, name in references(steps, at))
        check_references(nested, self.blocks, "a block that stands among steps is defined under blocks")
        return self

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        sizes = Sizes(self.blocks)
        total = sum(sizes.of(steps, path).steps for path, steps in listed_steps(self) if path[0] != "blocks")
        blocks = {name: sizes.of_block(name, ("blocks", name)).steps for name in self.blocks}
        total += sum(blocks[name] for stage in self.stages for name in stage.blocks_in_order)
        largest = max(blocks, key=lambda name: blocks[name])
        if max(total, blocks[largest]) > MAXIMUM_STEPS:
            found = f"{total:,} steps; the block {largest} alone has {blocks[largest]:,}"
            rule = f"a network has at most {MAXIMUM_STEPS:,} steps, with every block written out where it stands"
            raise rule_error(rule, found, at=("blocks", largest))
        return self


def _stage_references(network: Network) -> Iterator[tuple[Path, str]]:
    """Every block that a stage names: (path in the network, the name)."""
    for index, stage in enumerate(network.stages):
        if isinstance(stage.block, str):
            yield ("stages", index, "block"), stage.block
        else:
            yield from ((("stages", index, "block", place), name) for place, name in enumerate(stage.block))
        if stage.first is not None:
            yield ("stages", index, "first"), stage.first


def listed_steps(network: Network) -> Iterator[tuple[Path, Listed]]:
    """Every list of steps as written, shorthands apart, with its path in the network."""
    for key, written in (("stem", network.stem), ("downsample", network.downsample)):
        if isinstance(written, tuple):
            yield (key,), written
    for index, stage in enumerate(network.stages):
        if isinstance(stage.downsample, tuple):
            yield ("stages", index, "downsample"), stage.downsample
    if network.head.steps is not None:
        yield ("head", "steps"), network.head.steps
    for name, block in network.blocks.items():
        yield ("blocks", name), block
