"""Several maps at once, and the branches that take and give them: what they take, do and are joined to."""

from dataclasses import dataclass

from archspec.ir.connect import Op
from archspec.ir.feature import Feature


@dataclass(frozen=True)
class Streams:
    """The shapes of several maps that a network holds at once. Stands only around `Branches`."""

    features: tuple[Feature, ...]

    @property
    def elements(self) -> int:
        return sum(feature.elements for feature in self.features)

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.features))})"


Shape = Feature | Streams


@dataclass(frozen=True)
class Everything:
    """A branch takes all that there is."""

    def __str__(self) -> str:
        return "everything"


@dataclass(frozen=True)
class Channels:
    """A branch takes the channels from `start` up to `stop`."""

    start: int
    stop: int

    def __str__(self) -> str:
        return f"channels {self.start} to {self.stop}"


@dataclass(frozen=True)
class Stream:
    """A branch takes one of several maps."""

    index: int

    def __str__(self) -> str:
        return f"stream {self.index}"


Feed = Everything | Channels | Stream


@dataclass(frozen=True)
class Branch:
    """What a branch takes, its ops one after the other (none: what it takes is what it gives), and what it gives."""

    feed: Feed
    ops: tuple[Op, ...]
    target: Shape


@dataclass(frozen=True)
class Branches(Op):
    """Several branches of one map or of several, and their results joined.

    join     sum, product   elementwise; in a product one position or one channel of a later branch stands for all
             concat         channel after channel, in the order of the branches
             streams        each result is a map of its own
             tokens         the first result, one position, becomes the class token of the second one's map
    cascade  each branch but the first takes its slice plus the result of the branch before; an empty one does not
    """

    source: Shape  # type: ignore[assignment]  # every other op takes and gives one map
    target: Shape  # type: ignore[assignment]
    branches: tuple[Branch, ...]
    join: str
    cascade: bool = False

    @property
    def commutes(self) -> bool:
        """Whether the order of the branches means nothing."""
        same_shapes = all(branch.target == self.target for branch in self.branches)
        return not self.cascade and (self.join == "sum" or (self.join == "product" and same_shapes))

    def facts(self) -> str:
        return f"join={self.join}{' cascade' if self.cascade else ''}"


def fed(feed: Feed, source: Shape) -> Shape:
    """The shape of what a branch takes."""
    if isinstance(feed, Stream):
        return source.features[feed.index] if isinstance(source, Streams) else source
    if isinstance(feed, Channels) and isinstance(source, Feature):
        return Feature(source.height, source.width, feed.stop - feed.start, source.class_tokens)
    return source
