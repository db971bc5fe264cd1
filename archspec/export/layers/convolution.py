"""Static weights shared over offsets, on maps (B, H, W, C). Copied into stand-alone files."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archspec.export.layers.steps import parameter


class Convolution(nn.Module):
    """A convolution that mixes channels.

    `around`: columns left and right, rows above and below that are added to the map.
    """

    def __init__(
        self,
        width: int,
        out_width: int,
        size: tuple[int, int],
        around: tuple[int, int, int, int] = (0, 0, 0, 0),
        *,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        one_for_all: bool = False,
        cropped: bool = False,
        crop: tuple[int, int] = (0, 0),
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        super().__init__()
        self.around = around
        self.stride = stride
        self.dilation = dilation
        self.groups = groups
        self.one_for_all = one_for_all
        self.cropped = cropped
        self.crop = crop
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        kernels = out_width
        if one_for_all:
            kernels = out_width // groups
        self.weight = parameter(kernels, width // groups, *size)
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(out_width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.weight
        if self.one_for_all:
            weight = weight.repeat(self.groups, 1, 1, 1)
        if self.cropped:
            weight = without_border(weight, self.crop)
        y = x.permute(0, 3, 1, 2)
        if self.around != (0, 0, 0, 0):
            y = F.pad(y, self.around)
        y = F.conv2d(
            y,
            weight,
            stride=self.stride,
            dilation=self.dilation,
            groups=self.groups,
        )
        y = y.permute(0, 2, 3, 1)
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y


class DepthwiseConvolution(nn.Module):
    """A convolution of each channel by itself.

    `around`: columns left and right, rows above and below that are added to the map.
    """

    def __init__(
        self,
        width: int,
        size: tuple[int, int],
        around: tuple[int, int, int, int] = (0, 0, 0, 0),
        *,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        one_for_all: bool = False,
        grouped: bool = False,
        kernels: int = 1,
        softmax: bool = False,
        cropped: bool = False,
        crop: tuple[int, int] = (0, 0),
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        super().__init__()
        self.width = width
        self.around = around
        self.stride = stride
        self.dilation = dilation
        self.one_for_all = one_for_all
        self.grouped = grouped
        self.kernels = kernels
        self.softmax = softmax
        self.cropped = cropped
        self.crop = crop
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        if grouped:
            self.weight = parameter(kernels, *size)
        if one_for_all:
            self.weight = parameter(*size)
        if not grouped and not one_for_all:
            self.weight = parameter(width, *size)
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.weight
        if self.one_for_all:
            weight = weight.expand(self.width, -1, -1)
        if self.grouped:
            weight = weight.repeat_interleave(self.width // self.kernels, dim=0)
        if self.softmax:
            weight = weight.flatten(1).softmax(dim=1).view(weight.shape)
        if self.cropped:
            weight = without_border(weight, self.crop)
        y = x.permute(0, 3, 1, 2)
        if self.around != (0, 0, 0, 0):
            y = F.pad(y, self.around)
        y = F.conv2d(
            y,
            weight.unsqueeze(1),
            stride=self.stride,
            dilation=self.dilation,
            groups=self.width,
        )
        y = y.permute(0, 2, 3, 1)
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y


def without_border(kernel: Tensor, border: tuple[int, int]) -> Tensor:
    """(..., h, w) without so many rows and columns on each side."""
    (rows, columns), (down, across) = kernel.shape[-2:], border
    return kernel[..., down : rows - down, across : columns - across]


class CrossConvolution(nn.Module):
    """Convolution along each row and along each column with all offsets there are.

    The weight holds the offsets along the row, then those along the column but 0.
    """

    def __init__(
        self,
        width: int,
        out_width: int,
        size: tuple[int, int],
        *,
        groups: int,
        kernels: tuple[int, ...],
        repeat: int = 1,
        interleave: int = 1,
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        """`repeat`, `interleave`: how kernels that channels share become one for each."""
        super().__init__()
        self.size = size
        self.groups = groups
        self.repeat = repeat
        self.interleave = interleave
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        self.weight = parameter(*kernels, 2 * size[1] - 1 + 2 * size[0] - 2)
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(out_width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        height, width = self.size
        offsets = (2 * width - 1, height - 1, height - 1)  # in the row, above, below
        weight = self.weight.reshape(-1, x.shape[3] // self.groups, sum(offsets))
        weight = weight.repeat_interleave(self.interleave, 0).repeat(self.repeat, 1, 1)
        row, above, below = weight.split(offsets, dim=-1)
        itself = torch.zeros_like(weight[..., :1])  # it was read with the row
        column = torch.cat([above, itself, below], dim=-1)
        maps = x.permute(0, 3, 1, 2)
        y = F.conv2d(maps, row[:, :, None], None, 1, (0, width - 1), 1, self.groups)
        z = F.conv2d(maps, column[..., None], None, 1, (height - 1, 0), 1, self.groups)
        y = (y + z).permute(0, 2, 3, 1)
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y


class GroupedLinear(nn.Module):
    """The same matrix at every position, for the channels of each group."""

    def __init__(
        self,
        width: int,
        out_width: int,
        groups: int,
        *,
        one_for_all: bool = False,
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        super().__init__()
        self.groups = groups
        self.one_for_all = one_for_all
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        rows = out_width
        if one_for_all:
            rows = out_width // groups
        self.weight = parameter(rows, width // groups)
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(out_width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.weight
        if self.one_for_all:
            weight = weight.repeat(self.groups, 1)
        weight = weight.unflatten(0, (self.groups, -1))
        x = x.unflatten(-1, (self.groups, -1))
        y = torch.einsum("gdc,bhwgc->bhwgd", weight, x).flatten(3)
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y


class Scaling(nn.Module):
    """Each channel of each position times a learned number of its kernel."""

    def __init__(
        self,
        width: int,
        shape: tuple[int, ...],
        *,
        kernels: int = 1,
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        """`shape` of the weight: (kernels,), or () where all channels share one."""
        super().__init__()
        self.kernels = kernels
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        self.weight = parameter(*shape)
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.reshape(-1, 1)
        y = (x.unflatten(-1, (self.kernels, -1)) * weight).flatten(3)
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y
