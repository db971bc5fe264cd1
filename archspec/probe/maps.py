"""What is read of a map, as frozen data without torch: maps, spaces, footprints and holes in them."""

from dataclasses import dataclass
from typing import Literal

Pair = tuple[int, int]
Position = tuple[int, int]

SpaceKind = Literal[
    "point",
    "sliding",
    "window",
    "halo",
    "grid",
    "cross",
    "causal",
    "pooled",
    "full",
    "mean",
    "overlapping",
    "irregular",
    "nothing",
]


@dataclass(frozen=True)
class Map:
    """A feature map; `tokens` positions without a place stand before it (a class token)."""

    height: int
    width: int
    channels: int
    tokens: int = 0

    @property
    def positions(self) -> int:
        return self.height * self.width + self.tokens

    def __str__(self) -> str:
        before = f" and {self.tokens} token{'s' * (self.tokens > 1)}" if self.tokens else ""
        return f"{self.height}x{self.width}x{self.channels}{before}"


@dataclass(frozen=True)
class Space:
    """Which positions a position reads. Numbers that a kind does not use keep their defaults.

    sliding: position i reads stride * i - before + dilation * t for t in the size.
    window: a grid of windows moved by `shift`; halo: and `halo` positions around; grid: every (L / size)-th position.
    pooled: every position of a map `ratio` times smaller. mean: every position, with one weight for all of them.
    overlapping: all windows of `size` around every stride-th position that hold the position (outlook).
    causal: itself and every position before it, row by row.
    irregular: none of these; the footprints say which.
    """

    kind: SpaceKind
    size: Pair = (1, 1)
    dilation: Pair = (1, 1)
    stride: Pair = (1, 1)
    before: Pair = (0, 0)
    shift: Pair = (0, 0)
    halo: Pair = (0, 0)
    ratio: Pair = (1, 1)
    without: tuple[Pair, ...] = ()
    """Of kind sliding: offsets (down, across) of the kernel that no position reads."""
    cyclic: bool = False
    """Of kind sliding: what leaves the map on one side comes in on the other (a torus)."""
    grows: Pair = (1, 1)
    """How many times larger the outgoing map is: position i stands on i // grows."""

    @property
    def centred(self) -> bool:
        """Whether a kernel reads as far to one side as to the other (or one further after, if its size is even)."""
        spans = zip(self.size, self.dilation, self.before, strict=True)
        return all(before == dilation * (size - 1) // 2 for size, dilation, before in spans)

    def __str__(self) -> str:
        def by(pair: Pair) -> str:
            return f"{pair[0]}x{pair[1]}"

        words = {
            "sliding": [f"sliding {by(self.size)}"],
            "window": [f"window {by(self.size)}"],
            "halo": [f"halo {by(self.size)} + {by(self.halo)}"],
            "grid": [f"grid {by(self.size)}"],
            "overlapping": [f"overlapping windows {by(self.size)}"],
            "pooled": [f"pooled {by(self.ratio)}"],
        }.get(self.kind, [self.kind])
        if self.dilation != (1, 1):
            words.append(f"dilation {by(self.dilation)}")
        if self.stride != (1, 1):
            words.append(f"stride {by(self.stride)}")
        if self.shift != (0, 0):
            words.append(f"shift {by(self.shift)}")
        if self.kind == "sliding" and self.stride == self.grows == (1, 1) and not self.centred:
            words.append(f"beginning at offset ({-self.before[0]}, {-self.before[1]})")
        if self.without:
            every, missing = self.size[0] * self.size[1], len(self.without)
            listed = f"without {', '.join(map(str, self.without))}"
            words.append(listed if missing <= 4 else f"{every - missing} of {every} offsets")
        words += ["around the border"] * self.cyclic
        if self.grows != (1, 1):
            words.append(f"onto a map {by(self.grows)} times larger")
        return ", ".join(words)


@dataclass(frozen=True)
class Footprint:
    """Which input positions one output position reads."""

    position: Position
    reads: tuple[Position, ...]


@dataclass(frozen=True)
class Hole:
    """Something that the pattern of its kind has and this module has not (or the other way round: `extra`)."""

    kind: Literal["output", "input", "entry", "channel", "unread", "extra"]
    """output: this position reads nothing. input: nothing reads this position. entry: `output` does not read `input`
    where the pattern does. channel: these read nothing; unread: nothing reads these incoming channels. extra: `output`
    reads `input` where the pattern does not."""
    output: Position | None = None
    input: Position | None = None
    channels: tuple[int, ...] = ()
    """Of which output channels; empty: of all."""
