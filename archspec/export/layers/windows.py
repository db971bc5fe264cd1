"""Windows that tile a map, as a way to cut it: see spaces.py. Copied into stand-alone files."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec.export.layers.spaces import offset_table


@dataclass(frozen=True)
class Windows:
    """Windows that tile the map, which is padded at its end with zeros to hold whole ones.

    shift: the grid is moved; what wraps around the end does not mix with the rest
    halo: a window also reads so many positions beyond each of its sides
    interlaced: a window takes every so-many-th position of the map
    masked: padding is not read
    """

    map_size: tuple[int, int]
    window: tuple[int, int]
    shift: tuple[int, int] = (0, 0)
    halo: tuple[int, int] = (0, 0)
    interlaced: bool = False
    masked: bool = False

    @property
    def asking(self) -> int:
        return self.window[0] * self.window[1]

    @property
    def grid(self) -> tuple[int, int]:
        """How many windows there are, down and across."""
        (height, width), (down, across) = self.map_size, self.window
        return -(-height // down), -(-width // across)

    @property
    def reach(self) -> tuple[int, int]:
        """Height and width of what a window reads."""
        if self.halo != (0, 0):
            down, across = self.halo
            return self.window[0] + 2 * down, self.window[1] + 2 * across
        return self.window

    def lay_out(self, x: Tensor) -> Tensor:
        """Pad the map to whole windows, and roll it by the shift."""
        below = self.grid[0] * self.window[0] - self.map_size[0]
        right = self.grid[1] * self.window[1] - self.map_size[1]
        x = F.pad(x, (0, 0, 0, right, 0, below))
        if self.halo != (0, 0):
            down, across = self.halo
            x = F.pad(x, (0, 0, across, across, down, down))
        if self.shift != (0, 0):
            x = x.roll((-self.shift[0], -self.shift[1]), (1, 2))
        return x

    def queries(self, x: Tensor) -> Tensor:
        if self.halo != (0, 0):
            (down, across), (height, width) = self.halo, x.shape[1:3]
            x = x[:, down : height - down, across : width - across]
        if self.interlaced:
            x = x.unflatten(2, (self.window[1], -1)).unflatten(1, (self.window[0], -1))
            return x.permute(0, 2, 4, 1, 3, 5).flatten(3, 4).flatten(1, 2)
        x = x.unflatten(2, (-1, self.window[1])).unflatten(1, (-1, self.window[0]))
        return x.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)

    def keys(self, x: Tensor) -> Tensor:
        if self.halo != (0, 0):
            rows, columns = self.grid
            (height, width), (down, across) = self.reach, self.window
            windows = [
                x[:, i * down : i * down + height, j * across : j * across + width]
                for i in range(rows)
                for j in range(columns)
            ]
            return torch.stack(windows, dim=1).flatten(2, 3)
        return self.queries(x)

    def join(self, y: Tensor) -> Tensor:
        y = y.unflatten(2, self.window).unflatten(1, self.grid)
        if self.interlaced:
            y = y.permute(0, 3, 1, 4, 2, 5).flatten(3, 4).flatten(1, 2)
        if not self.interlaced:
            y = y.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)
        if self.shift != (0, 0):
            y = y.roll(self.shift, (1, 2))
        return y[:, : self.map_size[0], : self.map_size[1]]

    def exists(self) -> Tensor | None:
        """(L, 1 or K, R): False where a position does not read another; None: nowhere."""
        exists: Tensor | None = None
        if self.masked:
            there = self.lay_out(torch.ones(1, *self.map_size, 1))
            filled = self.keys(there)[0, :, None, :, 0] > 0
            exists = filled
        if self.shift != (0, 0):
            # Both sides of the wrap are neighbours in the rolled map only.
            height = self.grid[0] * self.window[0]
            width = self.grid[1] * self.window[1]
            rows = torch.arange(height) < self.shift[0]
            columns = torch.arange(width) < self.shift[1]
            sides = 2 * rows[:, None] + columns[None, :]
            rolled = sides.roll((-self.shift[0], -self.shift[1]), (0, 1))
            parts = self.queries(rolled[None, :, :, None])[0, :, :, 0]
            exists = parts[:, :, None] == parts[:, None, :]
            if self.masked:
                exists = exists & filled
        return exists

    @property
    def farthest(self) -> tuple[int, int]:
        """The largest offset, down and across, from a position to what it reads."""
        if self.halo != (0, 0):
            down, across = self.halo
            return self.window[0] - 1 + down, self.window[1] - 1 + across
        return self.window[0] - 1, self.window[1] - 1

    @property
    def offset_count(self) -> int:
        return (2 * self.farthest[0] + 1) * (2 * self.farthest[1] + 1)

    def offsets(self) -> Tensor:
        """(1, K, R): the number of the offset from i to j in a table of all."""
        return offset_table(self.window, self.reach, self.farthest).unsqueeze(0)

    def opposite_offsets(self) -> Tensor:
        """(1, K, R): the number of the offset from j to i in a table of all."""
        numbers = offset_table(self.window, self.reach, self.farthest).unsqueeze(0)
        return self.offset_count - 1 - numbers
