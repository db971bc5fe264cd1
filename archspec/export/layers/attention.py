"""Weights from queries and keys, on maps (B, H, W, C). Copied into stand-alone files."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archspec.export.layers.mixing import Space
from archspec.export.layers.steps import parameter, patch_means

FAR_BELOW = -30000.0  # any logit, and finite in half precision


def projected(projection: nn.Linear, number: int, x: Tensor) -> Tensor:
    """x through the rows for query (0), key (1) or value (2) of a joint projection."""
    rows = slice(number * x.shape[-1], (number + 1) * x.shape[-1])
    bias = None if projection.bias is None else projection.bias[rows]
    return F.linear(x, projection.weight[rows], bias)


class Weight(nn.Module):
    """A learned tensor."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = parameter(*shape)


class Attention(nn.Module):
    """Each position sums values by the softmax of its query times their keys, by head.

    Query, key and value are one projection; `space` says who reads whom.
    """

    exists: Tensor | None
    offset: Tensor

    def __init__(
        self,
        width: int,
        heads: int,
        space: Space,
        *,
        plain: bool = False,
        value: bool = True,
        projection_bias: bool = True,
        project_output: bool = False,
        softmax: bool = True,
        relative: bool = False,
        from_centre: bool = False,
        convolve_products: bool = False,
        kernel: int = 0,
        area: tuple[int, int] = (0, 0),
        pre_convolution: nn.Module | None = None,
        combine_heads: bool = False,
        token_asks: bool = False,
        reduction: nn.Module | None = None,
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.space = space
        self.plain = plain
        self.value = value
        self.softmax = softmax
        self.relative = relative
        self.from_centre = from_centre
        self.convolve_products = convolve_products
        self.area = area
        self.pre_convolution = pre_convolution
        self.combine_heads = combine_heads
        self.token_asks = token_asks
        self.reduction = reduction
        self.project_output = project_output
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        rows = 3 * width
        if not value:
            rows = 2 * width
        self.projection = nn.Linear(width, rows, bias=projection_bias)
        if not plain:
            self.register_buffer("exists", space.exists(), persistent=False)
        if relative or from_centre:
            offset = space.opposite_offsets()
            self.register_buffer("offset", offset, persistent=False)
        if relative:
            self.relative_bias = parameter(space.offset_count, heads)
        if from_centre:
            self.centre = Weight(space.offset_count, heads, width)
        if convolve_products:
            self.post_convolution = Weight(heads, kernel, kernel)
        if combine_heads:
            self.mix_heads = nn.Linear(heads, heads)
        if project_output:
            self.output = nn.Linear(width, width, bias=projection_bias)
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        lay_out, queries, keys = self.space.lay_out, self.space.queries, self.space.keys
        seen = x
        if self.pre_convolution is not None:
            seen = self.pre_convolution(x)
        asking = seen
        read = x
        if self.token_asks:
            asking = seen[:, :, :1]
        if self.reduction is not None:
            seen = read = self.reduction(x)
        query = self.by_head(queries(projected(self.projection, 0, lay_out(asking))))
        key = self.by_head(keys(projected(self.projection, 1, lay_out(seen))))
        if self.value:
            value = projected(self.projection, 2, lay_out(read))
        if not self.value:
            value = lay_out(read)
        value = self.by_head(keys(value))
        if self.plain:
            y = F.scaled_dot_product_attention(query, key, value)
        if not self.plain:
            logits = self.logits(query, key)
            if self.from_centre:
                logits = logits + self.centre_logits(queries(lay_out(x)))
            y = self.weights(logits) @ value
        y = self.space.join(y.transpose(2, 3).flatten(3))
        if self.project_output:
            y = self.output(y)
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y

    def by_head(self, x: Tensor) -> Tensor:
        """(B, L, K, C) -> (B, L, G, K, D)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(2, 3)

    def logits(self, query: Tensor, key: Tensor) -> Tensor:
        """Products of each query (B, L, G, K, D) and what it reads: (B, L, G, K, R)."""
        logits = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)
        if self.convolve_products:
            logits = self.convolved(logits)
        if self.relative:
            logits = logits + self.relative_bias[self.offset].permute(0, 3, 1, 2)
        return logits

    def weights(self, logits: Tensor) -> Tensor:
        """How much each position takes of what it reads, (B, L, G, K, R)."""
        if self.combine_heads:
            logits = self.mix_heads(logits.movedim(2, -1)).movedim(-1, 2)
        if not self.softmax:
            return logits if self.exists is None else logits * self.exists.unsqueeze(1)
        if self.exists is not None:
            logits = logits.masked_fill(~self.exists.unsqueeze(1), FAR_BELOW)
        return logits.softmax(dim=-1)

    def convolved(self, products: Tensor) -> Tensor:
        """Products of a query, as what it reads lies on the map, convolved around."""
        if self.exists is not None:
            products = products * self.exists.unsqueeze(1)
        laid = products.unflatten(-1, self.area)
        size = self.post_convolution.weight.shape[-1]
        moves = [(u, v) for u in range(size) for v in range(size)]
        total = torch.zeros_like(laid)
        for u, v in moves:
            moved = laid.roll((size // 2 - u, size // 2 - v), (-2, -1))
            tap = self.post_convolution.weight[:, u, v].view(-1, 1, 1, 1)
            total = total + tap * moved
        return total.flatten(-2)

    def centre_logits(self, x: Tensor) -> Tensor:
        """A linear function of x (B, L, K, C) for each offset and head."""
        every = torch.einsum("blkc,ohc->blhko", x, self.centre.weight)
        offset = self.offset.unsqueeze(1).expand(*every.shape[1:4], -1)
        return every.gather(-1, offset.expand(x.shape[0], -1, -1, -1, -1))


class Outlook(nn.Module):
    """Every `stride`-th position predicts how its window reads itself (VOLO).

    y is the sum over windows; windows are odd in size and stand around their position.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        size: tuple[int, int],
        *,
        stride: tuple[int, int] = (1, 1),
        value: bool = True,
        projection_bias: bool = False,
        channel_bias: bool = False,
        position_bias: int = 0,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.size = size
        self.stride = stride
        self.value = value
        self.channel_bias = channel_bias
        self.position_bias = position_bias
        if value:
            self.projection = nn.Linear(width, width, bias=projection_bias)
        self.predict = nn.Linear(width, heads * (size[0] * size[1]) ** 2)
        if channel_bias:
            self.bias = nn.Parameter(torch.zeros(width))
        if position_bias:
            self.bias = nn.Parameter(torch.zeros(position_bias))

    def forward(self, x: Tensor) -> Tensor:
        value = x
        if self.value:
            value = self.projection(x)
        slots = self.size[0] * self.size[1]
        centres = x
        if self.stride != (1, 1):
            centres = patch_means(x, self.stride)
        logits = self.predict(centres).flatten(1, 2)
        logits = logits * (x.shape[3] // self.heads) ** -0.5
        weights = logits.unflatten(-1, (self.heads, slots, slots)).softmax(dim=-1)
        around = self.size[0] // 2, self.size[1] // 2
        geometry = {"kernel_size": self.size, "padding": around, "stride": self.stride}
        windows = F.unfold(value.permute(0, 3, 1, 2), **geometry)  # (B, C * K, L)
        windows = windows.unflatten(1, (self.heads, -1, slots)).permute(0, 4, 1, 3, 2)
        y = weights @ windows  # (B, L, G, K, D)
        y = y.permute(0, 2, 4, 3, 1).flatten(1, 3)
        y = F.fold(y, x.shape[1:3], **geometry).permute(0, 2, 3, 1)
        if self.channel_bias:
            y = y + self.bias
        if self.position_bias:
            y = y + self.bias.view(*y.shape[1:3], 1)
        return y
