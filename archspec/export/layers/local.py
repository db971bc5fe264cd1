"""Weights that each position predicts for what it reads, on maps (B, H, W, C). Copied into stand-alone files."""

import torch
from torch import Tensor, nn

from archspec.export.layers.mixing import Space, mixed
from archspec.export.layers.predicted import Predictor
from archspec.export.layers.steps import patch_means


class LocalMixing(Predictor):
    """Each position predicts the weights of what it reads (involution)."""

    exists: Tensor | None

    def __init__(
        self,
        width: int,
        hidden: int,
        reads: int,
        space: Space,
        act: nn.Module,
        *,
        kernels: int,
        stride: tuple[int, int] = (1, 1),
        normalise: bool = True,
        hidden_bias: bool = False,
        softmax: bool = False,
        reduction: nn.Module | None = None,
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        predicted = reads * kernels
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
        self.stride = stride
        self.softmax = softmax
        self.reduction = reduction
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        self.register_buffer("exists", space.exists(), persistent=False)
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        read = x
        if self.reduction is not None:
            read = self.reduction(x)
        values = self.space.keys(self.space.lay_out(read))  # (B, L, R, C)
        z = x
        if self.stride != (1, 1):
            z = patch_means(x, self.stride)
        weight = self.space.queries(self.space.lay_out(self.weights(z)))
        weight = weight.unflatten(-1, (-1, self.kernels)).permute(0, 4, 1, 2, 3)
        if self.softmax:
            weight = weight.softmax(dim=-1)
        y = self.space.join(mixed(weight, self.exists, values))
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y
