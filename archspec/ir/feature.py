"""The nouns of a program: shapes of feature maps, how parameters start, rows of the table of parameters."""

import math
from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass(frozen=True)
class Feature:
    """The shape of a feature map: (B, H, W, C), or (B, 1, T + H * W, C) once there are class tokens."""

    height: int
    width: int
    channels: int
    class_tokens: int = 0

    @property
    def positions(self) -> int:
        return self.height * self.width + self.class_tokens

    @property
    def elements(self) -> int:
        return self.positions * self.channels

    def __str__(self) -> str:
        tokens = f"{self.class_tokens}+" if self.class_tokens else ""
        return f"{tokens}{self.height}x{self.width}x{self.channels}"


@dataclass(frozen=True)
class Init:
    """How a parameter starts: normal(deviation) truncated at two deviations, uniform(bound) or constant(value)."""

    kind: str
    value: float

    def __str__(self) -> str:
        return f"{self.kind}({self.value:.6g})"


ZEROS, ONES = Init("constant", 0.0), Init("constant", 1.0)
NORMAL = Init("normal", 0.02)


@dataclass(frozen=True)
class Parameter:
    """One row of the table of parameters. Buffers (batch statistics) are rows that no optimiser trains."""

    name: str
    shape: tuple[int, ...]
    init: Init
    trainable: bool = True

    @property
    def count(self) -> int:
        return math.prod(self.shape)
