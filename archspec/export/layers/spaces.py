"""Which positions each position reads, as ways to cut a map (B, H, W, C). Copied into stand-alone files.

Every space cuts maps into L windows of K positions that ask and R that are read:

    lay_out    (B, H, W, C) -> the map, padded and rolled as the windows want it
    queries    the laid out map -> (B, L, K, C)
    keys       the laid out map -> (B, L, R, C)
    join       (B, L, K, C) -> (B, H', W', C)
    exists     bool, (L, K, R) or smaller: who reads whom; None: everybody everybody
    offsets    int, (L or 1, K, R): the number of the offset from i to j in a table
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def offset_table(
    size: tuple[int, int],
    reach: tuple[int, int],
    farthest: tuple[int, int],
) -> Tensor:
    """(K, R): the number of the offset from each slot of a window to each it reads.

    A window of `size` reads `reach`, which stands around it; a table holds the offsets
    from minus to plus `farthest`, row by row.
    """
    along = []
    for own, read, most in zip(size, reach, farthest, strict=True):
        there = torch.arange(read) - (read - own) // 2
        along.append(there[None, :] - torch.arange(own)[:, None] + most)
    down, across = along
    number = down[:, None, :, None] * (2 * farthest[1] + 1) + across[None, :, None, :]
    return number.flatten(2, 3).flatten(0, 1)


@dataclass(frozen=True)
class WholeMap:
    """Every position reads every position: the map is the one window.

    farthest: the largest offset that tables hold, down and across
    """

    size: tuple[int, int]
    farthest: tuple[int, int] = (0, 0)

    @property
    def asking(self) -> int:
        return self.size[0] * self.size[1]

    def lay_out(self, x: Tensor) -> Tensor:
        return x

    def queries(self, x: Tensor) -> Tensor:
        return x.flatten(1, 2).unsqueeze(1)

    def keys(self, x: Tensor) -> Tensor:
        return x.flatten(1, 2).unsqueeze(1)

    def join(self, y: Tensor) -> Tensor:
        return y.flatten(1, 2).unflatten(1, self.size)

    def exists(self) -> Tensor | None:
        return None

    @property
    def offset_count(self) -> int:
        return (2 * self.farthest[0] + 1) * (2 * self.farthest[1] + 1)

    def offsets(self) -> Tensor:
        """(1, K, R): the number of the offset from i to j in a table of all."""
        return offset_table(self.size, self.size, self.farthest).unsqueeze(0)

    def opposite_offsets(self) -> Tensor:
        """(1, K, R): the number of the offset from j to i in a table of all."""
        numbers = offset_table(self.size, self.size, self.farthest).unsqueeze(0)
        return self.offset_count - 1 - numbers


@dataclass(frozen=True)
class Neighbours:
    """Each position reads the taps of a window that slides over the map.

    Output i reads stride * i - before + dilation * t for the taps t; outside is nothing.
    """

    map_size: tuple[int, int]
    taps: tuple[int, int]
    target: tuple[int, int]
    before: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    asking = 1

    def lay_out(self, x: Tensor) -> Tensor:
        return x

    def queries(self, x: Tensor) -> Tensor:
        return x.flatten(1, 2).unsqueeze(2)

    def keys(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H' * W', R, C), zeros where there is nothing."""
        after, span = [], []
        for axis in (0, 1):
            span.append((self.target[axis] - 1) * self.stride[axis] + 1)
            reach = span[axis] + self.dilation[axis] * (self.taps[axis] - 1)
            after.append(max(0, reach - self.before[axis] - self.map_size[axis]))
        x = F.pad(x, (0, 0, self.before[1], after[1], self.before[0], after[0]))
        parts = []
        for t in range(self.taps[0]):
            top = t * self.dilation[0]
            for u in range(self.taps[1]):
                left = u * self.dilation[1]
                part = x[:, top : top + span[0], left : left + span[1]]
                parts.append(part[:, :: self.stride[0], :: self.stride[1]])
        return torch.stack(parts, dim=3).flatten(1, 2)

    def join(self, y: Tensor) -> Tensor:
        return y.squeeze(2).unflatten(1, self.target)

    def exists(self) -> Tensor | None:
        """(H' * W', 1, R): False where a tap is outside the map."""
        there = torch.ones(1, *self.map_size, 1)
        return self.keys(there)[0, :, None, :, 0] > 0

    @property
    def offset_count(self) -> int:
        return self.taps[0] * self.taps[1]

    def offsets(self) -> Tensor:
        return self.opposite_offsets()

    def opposite_offsets(self) -> Tensor:
        """Tables over the taps of a sliding window are in the order of the taps."""
        return torch.arange(self.taps[0] * self.taps[1])[None, None]


@dataclass(frozen=True)
class Cross:
    """Each position reads its row, and then its column without itself."""

    map_size: tuple[int, int]
    asking = 1

    def lay_out(self, x: Tensor) -> Tensor:
        return x

    def queries(self, x: Tensor) -> Tensor:
        return x.flatten(1, 2).unsqueeze(2)

    def keys(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H * W, W + H - 1, C)."""
        height, width = self.map_size
        row = x.unsqueeze(2).expand(-1, -1, width, -1, -1)
        others = [torch.cat([x[:, :i], x[:, i + 1 :]], dim=1) for i in range(height)]
        column = torch.stack(others, dim=1).transpose(2, 3)
        return torch.cat([row, column], dim=3).flatten(1, 2)

    def join(self, y: Tensor) -> Tensor:
        return y.squeeze(2).unflatten(1, self.map_size)

    def exists(self) -> Tensor | None:
        return None

    @property
    def offset_count(self) -> int:
        return 2 * self.map_size[1] - 1 + 2 * self.map_size[0] - 2

    def offsets(self) -> Tensor:
        return self._numbers(1)

    def opposite_offsets(self) -> Tensor:
        return self._numbers(-1)

    def _numbers(self, sign: int) -> Tensor:
        """A table holds the offsets along the row, then those along the column but 0."""
        height, width = self.map_size
        rows, columns = torch.arange(height), torch.arange(width)
        across = sign * (columns[None, :] - columns[:, None]) + width - 1
        down = sign * (rows[None, :] - rows[:, None])
        down = 2 * width - 1 + down + height - 1 - (down > 0).long()
        others = [torch.cat([down[i, :i], down[i, i + 1 :]]) for i in range(height)]
        other = torch.stack(others)
        along_row = across.expand(height, -1, -1)
        along_column = other.unsqueeze(1).expand(-1, width, -1)
        return torch.cat([along_row, along_column], dim=2).flatten(0, 1).unsqueeze(1)


class Reduction(nn.Module):
    """A smaller map to be read: every patch becomes one position (PVT)."""

    def __init__(
        self,
        channels: int,
        ratio: tuple[int, int],
        *,
        convolution: bool = True,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        self.ratio = ratio
        self.convolution = convolution
        if convolution:
            self.weight = nn.Parameter(torch.zeros(channels, channels, *ratio))
            self.bias = nn.Parameter(torch.zeros(channels))
            nn.init.trunc_normal_(self.weight, std=0.02)
        self.normalise = normalise
        if normalise:
            self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = x.permute(0, 3, 1, 2)
        if self.convolution:
            y = F.conv2d(y, self.weight, self.bias, self.ratio)
        if not self.convolution:
            y = F.avg_pool2d(y, self.ratio)
        y = y.permute(0, 2, 3, 1)
        if self.normalise:
            y = self.norm(y)
        return y
