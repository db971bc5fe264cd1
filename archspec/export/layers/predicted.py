"""Weights predicted from the map (B, H, W, C) that they are for. Copied into stand-alone files."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archspec.export.layers.convolution import without_border
from archspec.export.layers.mixing import Space, mixed
from archspec.export.layers.steps import BatchNorm


class Predictor(nn.Module):
    """Weights from features: linear, batch norm, activation, linear."""

    def __init__(
        self,
        width: int,
        hidden: int,
        predicted: int,
        act: nn.Module,
        *,
        normalise: bool = True,
        hidden_bias: bool = False,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.reduce = nn.Linear(width, hidden, bias=hidden_bias)
        if normalise:
            self.norm = BatchNorm(hidden)
        self.act = act
        self.predict = nn.Linear(hidden, predicted)

    def weights(self, z: Tensor) -> Tensor:
        """(B, ..., C) -> (B, ..., predicted)."""
        h = self.reduce(z)
        if self.normalise:
            h = self.norm(h)
        return self.predict(self.act(h))


class DynamicConvolution(Predictor):
    """A depth-wise convolution whose kernels are predicted from the mean of the image.

    `around`: columns left and right, rows above and below that are added to the map.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        size: tuple[int, int],
        around: tuple[int, int, int, int],
        act: nn.Module,
        *,
        kernels: int,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        normalise: bool = True,
        hidden_bias: bool = False,
        softmax: bool = False,
        cropped: bool = False,
        crop: tuple[int, int] = (0, 0),
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        predicted = kernels * size[0] * size[1]
        super().__init__(
            width,
            hidden,
            predicted,
            act,
            normalise=normalise,
            hidden_bias=hidden_bias,
        )
        self.size = size
        self.around = around
        self.kernels = kernels
        self.stride = stride
        self.dilation = dilation
        self.softmax = softmax
        self.cropped = cropped
        self.crop = crop
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[3]
        weight = self.weights(x.mean((1, 2))).unflatten(-1, (-1, self.kernels))
        if self.softmax:
            weight = weight.softmax(dim=1)
        weight = weight.transpose(1, 2).unflatten(2, self.size)
        if self.cropped:
            weight = without_border(weight, self.crop)
        weight = weight.repeat_interleave(channels // self.kernels, dim=1)
        y = F.pad(x.permute(0, 3, 1, 2), self.around)
        images = weight.shape[0] * channels
        # One convolution for the batch: each channel of each image is a group.
        y = y.reshape(1, images, *y.shape[2:])
        weight = weight.reshape(images, 1, *weight.shape[2:])
        y = F.conv2d(
            y,
            weight,
            stride=self.stride,
            dilation=self.dilation,
            groups=images,
        )
        y = y.view(-1, channels, *y.shape[2:]).permute(0, 2, 3, 1)
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y


class DynamicMixing(Predictor):
    """Positions mixed by matrices that are predicted from the mean of the image."""

    offset: Tensor
    exists: Tensor | None

    def __init__(
        self,
        width: int,
        hidden: int,
        predicted: int,
        space: Space,
        act: nn.Module,
        *,
        kernels: int,
        normalise: bool = True,
        hidden_bias: bool = False,
        softmax: bool = False,
        by_offset: bool = False,
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        super().__init__(
            width,
            hidden,
            predicted,
            act,
            normalise=normalise,
            hidden_bias=hidden_bias,
        )
        self.space = space
        self.kernels = kernels
        self.softmax = softmax
        self.by_offset = by_offset
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        self.register_buffer("exists", space.exists(), persistent=False)
        if by_offset:
            self.register_buffer("offset", space.offsets(), persistent=False)
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        values = self.space.keys(self.space.lay_out(x))  # (B, L, R, C)
        weight = self.weights(x.mean((1, 2))).unflatten(-1, (-1, self.kernels))
        weight = weight.transpose(1, 2)  # (B, G, positions of the table)
        if self.by_offset:
            weight = weight[:, :, self.offset]
        if not self.by_offset:
            weight = weight.unflatten(2, (1, -1, values.shape[2]))
        if self.softmax:
            weight = weight.softmax(dim=-1)
        y = self.space.join(mixed(weight, self.exists, values))
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y


class ChannelWeighting(Predictor):
    """Channels times numbers predicted from the mean of the image (squeeze-excite)."""

    def __init__(
        self,
        width: int,
        hidden: int,
        act: nn.Module,
        *,
        kernels: int,
        normalise: bool = True,
        hidden_bias: bool = False,
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        super().__init__(
            width,
            hidden,
            kernels,
            act,
            normalise=normalise,
            hidden_bias=hidden_bias,
        )
        self.kernels = kernels
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weights(x.mean((1, 2), keepdim=True)).unsqueeze(-1)
        y = (x.unflatten(-1, (self.kernels, -1)) * weight).flatten(3)
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y


class DynamicLinear(Predictor):
    """At every position the same matrix, predicted from the mean of the image."""

    def __init__(
        self,
        width: int,
        out_width: int,
        hidden: int,
        act: nn.Module,
        *,
        groups: int = 1,
        one_for_all: bool = False,
        normalise: bool = True,
        hidden_bias: bool = False,
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        rows = out_width
        if one_for_all:
            rows = out_width // groups
        predicted = rows * (width // groups)
        super().__init__(
            width,
            hidden,
            predicted,
            act,
            normalise=normalise,
            hidden_bias=hidden_bias,
        )
        self.groups = groups
        self.one_for_all = one_for_all
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(out_width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[-1] // self.groups
        weight = self.weights(x.mean((1, 2))).unflatten(-1, (-1, channels))
        if self.one_for_all:
            weight = weight.repeat(1, self.groups, 1)
        weight = weight.unflatten(1, (self.groups, -1))
        x = x.unflatten(-1, (self.groups, -1))
        y = torch.einsum("bgdc,bhwgc->bhwgd", weight, x).flatten(3)
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y
