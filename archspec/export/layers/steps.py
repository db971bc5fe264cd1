"""The steps between connections, on maps (B, H, W, C). Copied into stand-alone files."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def parameter(*shape: int) -> nn.Parameter:
    """A parameter that starts as a truncated normal of 0.02."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))


class BatchNorm(nn.Module):
    """Normalise each channel over batch and positions."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.running_mean, self.running_var
        weight, bias, training = self.weight, self.bias, self.training
        y = x.movedim(-1, 1)
        y = F.batch_norm(y, mean, variance, weight, bias, training, 0.1, self.eps)
        return y.movedim(1, -1)


class ChannelWeight(nn.Module):
    """One learned number for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))


class CentringBatchNorm(BatchNorm):
    """Batch norm of x + weight * mean of x over positions (CC-BN, arXiv 2104.01769)."""

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(
            channels,
            eps=eps,
        )
        self.centring = ChannelWeight(channels)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.centring.weight * x.mean((1, 2), keepdim=True))


class Affine(nn.Module):
    """Scale and shift of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias


class LayerScale(nn.Module):
    """A learned factor of each channel."""

    def __init__(self, channels: int, start: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Multiply(nn.Module):
    """By a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class ClassToken(nn.Module):
    """(B, H, W, C) -> (B, 1, 1 + H * W, C): one learned position before the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = parameter(channels)

    def forward(self, x: Tensor) -> Tensor:
        token = self.weight.expand(x.shape[0], 1, -1)
        return torch.cat([token, x.flatten(1, 2)], dim=1).unsqueeze(1)


class DropToken(nn.Module):
    """(B, 1, 1 + H * W, C) -> (B, H, W, C): the map without its class token."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0, 1:].unflatten(1, self.size)


class TakeToken(nn.Module):
    """The class token alone: (B, 1, 1, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :1]


class PositionEmbedding(nn.Module):
    """Add one learned feature to each position."""

    def __init__(self, positions: int, channels: int) -> None:
        super().__init__()
        self.weight = parameter(positions, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight.view(x.shape[1:])


class PatchesToChannels(nn.Module):
    """The channels of each patch side by side, its rows fastest (as Swin merges)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        below, right = -x.shape[1] % self.size, -x.shape[2] % self.size
        x = F.pad(x, (0, 0, 0, right, 0, below))
        x = x.unflatten(2, (-1, self.size)).unflatten(1, (-1, self.size))
        return x.permute(0, 1, 3, 4, 2, 5).flatten(3)


class GlobalMean(nn.Module):
    """The mean over positions: (B, 1, 1, C)."""

    def __init__(
        self,
        class_token: bool = False,
    ) -> None:
        super().__init__()
        self.class_token = class_token

    def forward(self, x: Tensor) -> Tensor:
        if self.class_token:
            x = x[:, :, 1:]
        return x.mean((1, 2), keepdim=True)


class GlobalMax(nn.Module):
    """The largest over positions: (B, 1, 1, C)."""

    def __init__(
        self,
        class_token: bool = False,
    ) -> None:
        super().__init__()
        self.class_token = class_token

    def forward(self, x: Tensor) -> Tensor:
        if self.class_token:
            x = x[:, :, 1:]
        return x.amax((1, 2), keepdim=True)


class SlidingMax(nn.Module):
    """The largest in a window that slides over each channel."""

    def __init__(
        self,
        size: tuple[int, int],
        stride: tuple[int, int],
        around: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> None:
        """`around`: columns left and right, rows above and below that are added."""
        super().__init__()
        self.size = size
        self.stride = stride
        self.around = around

    def forward(self, x: Tensor) -> Tensor:
        y = x.permute(0, 3, 1, 2)
        if self.around != (0, 0, 0, 0):
            y = F.pad(y, self.around, value=float("-inf"))
        return F.max_pool2d(y, self.size, self.stride).permute(0, 2, 3, 1)


class SlidingMean(nn.Module):
    """The mean of a window that slides over each channel."""

    def __init__(
        self,
        size: tuple[int, int],
        stride: tuple[int, int],
        around: tuple[int, int, int, int] = (0, 0, 0, 0),
        count_padding: bool = True,
    ) -> None:
        """`around`: columns left and right, rows above and below that are added."""
        super().__init__()
        self.size = size
        self.stride = stride
        self.around = around
        self.count_padding = count_padding

    def forward(self, x: Tensor) -> Tensor:
        y = x.permute(0, 3, 1, 2)
        if self.around != (0, 0, 0, 0):
            y = F.pad(y, self.around)
        y = F.avg_pool2d(y, self.size, self.stride)
        if not self.count_padding:
            inside = F.pad(torch.ones_like(x[:1, None, :, :, 0]), self.around)
            y = y / F.avg_pool2d(inside, self.size, self.stride)
        return y.permute(0, 2, 3, 1)


class Shuffle(nn.Module):
    """Interleave groups of channels."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.groups, -1)).transpose(-1, -2).flatten(-2)


class ResizeNearest(nn.Module):
    """Position i of the new map is position floor(i * old / new) of the old."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        for axis, new in enumerate(self.size, start=1):
            old = x.shape[axis]
            x = x.index_select(axis, torch.arange(new, device=x.device) * old // new)
        return x


class ResizeBilinear(nn.Module):
    """Between the centres around each new position."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        y = F.interpolate(x.permute(0, 3, 1, 2), self.size, mode="bilinear")
        return y.permute(0, 2, 3, 1)


def patch_means(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The mean of each patch of a map, of what exists of it at the end."""
    below, right = -x.shape[1] % size[0], -x.shape[2] % size[1]
    around = (0, right, 0, below)
    sums = F.avg_pool2d(F.pad(x.permute(0, 3, 1, 2), around), size)
    share = F.avg_pool2d(F.pad(torch.ones_like(x[:1, None, :, :, 0]), around), size)
    return (sums / share).permute(0, 2, 3, 1)
