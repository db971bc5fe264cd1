"""Learned weights between positions, on maps (B, H, W, C). Copied into stand-alone files."""

import torch
from torch import Tensor, nn

from archspec.export.layers.spaces import Cross, Neighbours, WholeMap
from archspec.export.layers.steps import parameter
from archspec.export.layers.windows import Windows

Space = WholeMap | Windows | Neighbours | Cross


class Mixing(nn.Module):
    """Positions mixed by learned matrices inside each channel.

    `shape` of the weight: (kernels, positions of the table); kernels are shared by
    neighbouring channels.
    """

    exists: Tensor | None
    offset: Tensor

    def __init__(
        self,
        width: int,
        space: Space,
        shape: tuple[int, ...],
        *,
        kernels: int = 1,
        softmax: bool = False,
        reduction: nn.Module | None = None,
        by_offset: bool = False,
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        super().__init__()
        self.space = space
        self.kernels = kernels
        self.softmax = softmax
        self.by_offset = by_offset
        self.reduction = reduction
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        self.weight = parameter(*shape)
        self.register_buffer("exists", space.exists(), persistent=False)
        if by_offset:
            self.register_buffer("offset", space.offsets(), persistent=False)
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        read = x
        if self.reduction is not None:
            read = self.reduction(x)
        values = self.space.keys(self.space.lay_out(read))  # (B, L, R, C)
        weight = self.weight.reshape(self.kernels, -1)
        if self.by_offset:
            weight = weight[:, self.offset]
        if not self.by_offset:
            asking, reads = self.space.asking, values.shape[2]
            weight = weight.reshape(self.kernels, -1, asking, reads)
        if self.softmax:
            weight = weight.softmax(dim=-1)
        y = mixed(weight.unsqueeze(0), self.exists, values)
        y = self.space.join(y)
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y


def mixed(weight: Tensor, exists: Tensor | None, values: Tensor) -> Tensor:
    """weight (B or 1, G, L or 1, K, R) times values (B, L, R, C) -> (B, L, K, C).

    `exists` (L or 1, K or 1, R): False where a position does not read another.
    """
    if exists is not None:
        weight = weight * exists
    values = values.unflatten(-1, (weight.shape[1], -1)).permute(0, 3, 1, 2, 4)
    y = torch.matmul(weight, values)  # (B, G, L, K, M)
    return y.permute(0, 2, 3, 1, 4).flatten(3)


class DenseMixing(nn.Module):
    """Positions and channels mixed by learned matrices.

    The weight is (outgoing channels, channels of a group, positions of the table).
    """

    offset: Tensor
    exists: Tensor | None

    def __init__(
        self,
        out_width: int,
        space: Space,
        shape: tuple[int, ...],
        *,
        groups: int = 1,
        one_for_all: bool = False,
        reduction: nn.Module | None = None,
        by_offset: bool = False,
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        super().__init__()
        self.space = space
        self.groups = groups
        self.one_for_all = one_for_all
        self.reduction = reduction
        self.by_offset = by_offset
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        self.weight = parameter(*shape)
        self.register_buffer("exists", space.exists(), persistent=False)
        if by_offset:
            self.register_buffer("offset", space.offsets(), persistent=False)
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(out_width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        read = x
        if self.reduction is not None:
            read = self.reduction(x)
        values = self.space.keys(self.space.lay_out(read))  # (B, L, R, C)
        values = values.unflatten(-1, (self.groups, -1))
        weight = self.weight.flatten(2)
        if self.by_offset:
            weight = weight[:, :, self.offset]
        if not self.by_offset:
            asking, reads = self.space.asking, values.shape[2]
            weight = weight.reshape(*weight.shape[:2], -1, asking, reads)
        if self.one_for_all:
            weight = weight.repeat(self.groups, 1, 1, 1, 1)
        if self.exists is not None:
            weight = weight * self.exists
        weight = weight.unflatten(0, (self.groups, -1))
        weight = weight.expand(-1, -1, -1, values.shape[1], -1, -1)
        y = torch.einsum("gdclij,bljgc->bligd", weight, values).flatten(3)
        y = self.space.join(y)
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y
