"""A subject and a seed go in; what all measurements share comes out: inputs, positions measured, rows at each input.

Legend: P output positions measured, N input positions, C channels (C' outgoing), T inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from archspec.probe.facts import Footprint, Map, Position
from archspec.probe.subject import Subject
from archspec.probe.suspects import suspects

TOLERANCE = 1e-9
"""Of the largest entry: less is zero, and entries that differ by less are equal (rounding is about 1e-15)."""
ALL_POSITIONS = 256
"""Maps of at most so many positions are measured whole."""
FEW_POSITIONS = 64
ALL_CHANNELS = 256
SOME = 16
FEW = 24


@dataclass(frozen=True)
class Scene:
    """What is measured, where and with which inputs."""

    subject: Subject
    seed: int
    count: int = 3

    @cached_property
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed + 1)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    @cached_property
    def inputs(self) -> Tensor:
        """Normal maps: (T, N, C)."""
        return self.subject.inputs(self.count, self.seed)

    @cached_property
    def constant(self) -> Tensor:
        """Maps that are the same at every position: (T, N, C)."""
        return self.normal(self.count, 1, self.subject.source.channels).expand_as(self.inputs).contiguous()

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """The output positions whose rows are measured: all of a small map, without tokens."""
        target = self.subject.target
        if self.subject.heavy or len(self.spread) == target.height * target.width:
            return self.spread
        odd = {target.tokens + number for number in suspects(self.subject, self.seed)}
        return tuple(sorted({*self.spread, *odd}))

    @cached_property
    def spread(self) -> tuple[int, ...]:
        """All output positions of a small map; of a large one some on each row and each column."""
        target = self.subject.target
        count = target.height * target.width
        if count <= (FEW_POSITIONS if self.subject.heavy else ALL_POSITIONS):
            return tuple(range(target.tokens, target.positions))
        chosen = {row * target.width + column for row, column in _spread(target)}
        if not self.subject.heavy:
            more = torch.randperm(count, generator=torch.Generator().manual_seed(self.seed)).tolist()
            chosen.update(more[: max(0, ALL_POSITIONS - len(chosen)) // 4])
        return tuple(target.tokens + number for number in sorted(chosen))

    @cached_property
    def direction(self) -> Tensor:
        """A combination of the outgoing channels that no entry escapes: (C')."""
        return self.normal(self.subject.target.channels)

    @cached_property
    def rows(self) -> Tensor:
        """d (direction . y_i) / d x at each measured position, at the first input: (P, N, C)."""
        return self.subject.rows(self.inputs[0], self.positions, self.direction)

    @cached_property
    def scale(self) -> float:
        return max(float(self.rows.abs().max()), 1e-300)

    @cached_property
    def affine(self) -> bool:
        """Whether the Jacobian is the same at every input, at evenly chosen ones of the measured positions."""
        places = list(range(0, len(self.positions), max(1, len(self.positions) // SOME)))
        # Where the first two change, the others need not be measured.
        parts = [part for part in (places[:2], places[2:]) if part]
        return all(self._is_same(x, part) for part in parts for x in self.inputs[1:])

    def _is_same(self, x: Tensor, places: list[int]) -> bool:
        """Whether the rows of some measured positions are at x as they are at the first input."""
        rows = self.subject.rows(x, [self.positions[number] for number in places], self.direction)
        return bool((rows - self.rows[places]).abs().max() <= TOLERANCE * self.scale)

    @property
    def middle(self) -> int:
        """The measured position nearest to the middle of the map, as an output position."""
        target = self.subject.target
        row, column = target.height // 2, target.width // 2

        def distance(number: int) -> int:
            down, across = place(number, target)
            return abs(down - row) + abs(across - column)

        return min(self.spread, key=distance)

    def channels(self) -> tuple[int, ...]:
        """The output channels that are measured one by one: all, or evenly chosen ones."""
        width = self.subject.target.channels
        if width <= (FEW if self.subject.heavy else ALL_CHANNELS):
            return tuple(range(width))
        return tuple(sorted({round(n * (width - 1) / (FEW - 1)) for n in range(FEW)}))

    def one_by_one(self, x: Tensor, position: int, channels: Sequence[int]) -> Tensor:
        """The rows of one output position, channel by channel: (channels, N, C)."""
        directions = torch.zeros(len(channels), self.subject.target.channels, dtype=torch.float64)
        directions[torch.arange(len(channels)), torch.as_tensor(channels)] = 1.0
        return self.subject.rows(x, [position] * len(channels), directions)

    def redrawn(self, x: Tensor, positions: Sequence[int]) -> Tensor:
        """x with new values at these input positions: (N, C)."""
        changed = x.clone()
        if positions:
            changed[torch.as_tensor(positions)] = self.normal(len(positions), x.shape[-1])
        return changed


def place(number: int, of: Map) -> Position:
    """Row and column of a position of a map (not of a token)."""
    return divmod(number - of.tokens, of.width)


def number(position: Position, of: Map) -> int:
    return of.tokens + position[0] * of.width + position[1]


def footprints(rows: Tensor, positions: Sequence[int], source: Map, target: Map) -> tuple[Footprint, ...]:
    """Which input positions each output position reads. rows: (P, N, C), in which what is not read is zero."""
    size = rows.abs().amax(-1)
    return as_footprints(size > TOLERANCE * max(float(size.max()), 1e-300), positions, source, target)


def as_footprints(read: Tensor, positions: Sequence[int], source: Map, target: Map) -> tuple[Footprint, ...]:
    """read: (P, N), true or false."""
    found = []
    for line, i in zip(read[:, source.tokens :], positions, strict=True):
        here = tuple(divmod(j, source.width) for j in line.nonzero().flatten().tolist())
        found.append(Footprint(place(i, target), here))
    return tuple(found)


def _spread(target: Map) -> set[Position]:
    """Every row and every column, along two diagonals; and the corners."""
    longest = max(target.height, target.width)
    corners = {(row, column) for row in (0, target.height - 1) for column in (0, target.width - 1)}
    falling = {(n % target.height, n % target.width) for n in range(longest)}
    rising = {(n % target.height, target.width - 1 - (n + target.width // 2) % target.width) for n in range(longest)}
    return corners | falling | rising


def rank(matrix: Tensor, tolerance: float = 1e-8) -> int:
    """The number of singular values above a share of the largest."""
    if not matrix.numel():
        return 0
    values = torch.linalg.svdvals(matrix)
    return int((values > tolerance * values[0].clamp_min(1e-300)).sum()) if float(values[0]) > 0 else 0
