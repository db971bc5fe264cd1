"""Networks of the paper that timm has not, written from their papers and published code with torch modules alone.

Nothing here comes from archspec: these are what tests/test_independent_networks.py compares our networks with.

Legend: B images; H, W height and width of the map; N = H W; C channels; D channels per head.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

# ------------------------------------------------------------------ PVT v1 (github.com/whai362/PVT, arXiv 2102.12122)


class SpatialReductionAttention(nn.Module):
    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.heads, self.ratio = heads, ratio
        self.qkv = nn.Linear(width, 3 * width)
        if ratio > 1:
            self.sr = nn.Conv2d(width, width, ratio, stride=ratio)
            self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        images, positions, channels = x.shape
        per_head = channels // self.heads
        weight, bias = self.qkv.weight.split([channels, 2 * channels]), self.qkv.bias.split([channels, 2 * channels])
        queries = functional.linear(x, weight[0], bias[0]).reshape(images, positions, self.heads, per_head)
        if self.ratio > 1:
            reduced = self.sr(x.transpose(1, 2).reshape(images, channels, height, width))
            x = self.norm(reduced.flatten(2).transpose(1, 2))
        pairs = functional.linear(x, weight[1], bias[1]).reshape(images, -1, 2, self.heads, per_head)
        keys, values = pairs.permute(2, 0, 3, 1, 4)
        weights = (queries.transpose(1, 2) @ keys.transpose(-2, -1) * per_head**-0.5).softmax(dim=-1)
        return self.proj((weights @ values).transpose(1, 2).reshape(images, positions, channels))


class PvtBlock(nn.Module):
    def __init__(self, width: int, heads: int, ratio: int, expansion: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = SpatialReductionAttention(width, heads, ratio)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, expansion * width)
        self.fc2 = nn.Linear(expansion * width, width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        x = x + self.attn(self.norm1(x), height, width)
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class PvtStage(nn.Module):
    def __init__(self, before: int, width: int, patch: int, positions: int, class_token: bool) -> None:
        super().__init__()
        self.proj = nn.Conv2d(before, width, patch, stride=patch)
        self.norm = nn.LayerNorm(width)
        self.class_token = nn.Embedding(1, width) if class_token else None
        self.position = nn.Embedding(positions + class_token, width)
        self.blocks = nn.ModuleList()


class PyramidVisionTransformer(nn.Module):
    """PVT: each stage has patches, a position embedding and blocks; the class token joins in the last stage."""

    def __init__(
        self,
        size: int,
        classes: int,
        widths: Sequence[int],
        depths: Sequence[int],
        heads: Sequence[int] = (1, 2, 5, 8),
        expansions: Sequence[int] = (8, 8, 4, 4),
        ratios: Sequence[int] = (8, 4, 2, 1),
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        before, side = 3, size
        for index, width in enumerate(widths):
            patch = 4 if index == 0 else 2
            side //= patch
            stage = PvtStage(before, width, patch, side * side, index == len(widths) - 1)
            for _ in range(depths[index]):
                stage.blocks.append(PvtBlock(width, heads[index], ratios[index], expansions[index]))
            self.stages.append(stage)
            before = width
        self.norm = nn.LayerNorm(before, eps=1e-6)
        self.head = nn.Linear(before, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for stage in self.stages:
            x = stage.proj(x)
            height, width = x.shape[2:]
            x = stage.norm(x.flatten(2).transpose(1, 2))
            if stage.class_token is not None:
                x = torch.cat([stage.class_token.weight.expand(len(x), 1, -1), x], dim=1)
            x = x + stage.position.weight
            for block in stage.blocks:
                x = block(x, height, width)
            if stage.class_token is None:
                x = x.transpose(1, 2).reshape(len(x), -1, height, width)
        return self.head(self.norm(x)[:, 0])


# ------------------------------------------------------------------ normalisation and gates of the ablations


class SqueezeExcite(nn.Module):
    """arXiv 1709.01507, on maps (B, H, W, C)."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, width // reduction)
        self.fc2 = nn.Linear(width // reduction, width)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(self.fc1(x.mean(dim=(1, 2), keepdim=True)).relu()).sigmoid()


class CentredBatchNorm(nn.Module):
    """CC-BN (arXiv 2104.01769 without its scaling): what the mean of an image is, weighted per channel, joins it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.centring = nn.Embedding(1, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.centring.weight * x.mean(dim=(1, 2), keepdim=True)
        return self.norm(x.flatten(0, 2)).reshape(x.shape)


class MapBatchNorm(nn.BatchNorm1d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 2)).reshape(x.shape)


NORMS = {"layer": nn.LayerNorm, "batch": MapBatchNorm, "centred": CentredBatchNorm}


# ------------------------------------------------------------------ Swin and DW-Conv. with the paper's ablations


class LocalMixing(nn.Module):
    """Attention in windows that start at every multiple of `window`, moved by `shift`: one window at a time."""

    def __init__(self, width: int, heads: int, window: int, shift: int, bias: bool) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.qkv = nn.Linear(width, 3 * width)
        if bias:
            self.table = nn.Embedding((2 * window - 1) ** 2, heads)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        window = self.window
        down, across = -height % window, -width % window
        padded = functional.pad(x, (0, 0, 0, across, 0, down))
        shift = self.shift if min(height, width) > window else 0
        rolled = padded.roll((-shift, -shift), dims=(1, 2))
        result = torch.zeros_like(rolled)
        for top in range(0, height + down, window):
            for left in range(0, width + across, window):
                area = (slice(None), slice(top, top + window), slice(left, left + window))
                parts = self._parts(top, height + down, shift), self._parts(left, width + across, shift)
                result[area] = self._attend(rolled[area], *parts)
        return result.roll((shift, shift), dims=(1, 2))[:, :height, :width]

    def _parts(self, start: int, length: int, shift: int) -> Tensor:
        """Which positions of a window were wrapped around the border: they connect among themselves only."""
        return torch.arange(start, start + self.window) >= length - shift

    def _attend(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        images, window, _, channels = x.shape
        q, k, v = (
            part.reshape(images, window * window, self.heads, -1).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        logits = q @ k.transpose(-2, -1) / (channels // self.heads) ** 0.5
        down = torch.arange(window).repeat_interleave(window)
        across = torch.arange(window).repeat(window)
        if hasattr(self, "table"):
            offsets = (down[:, None] - down + window - 1) * (2 * window - 1) + across[:, None] - across + window - 1
            logits = logits + self.table(offsets).permute(2, 0, 1)
        part = 2 * rows[down] + columns[across]
        logits = logits.masked_fill(part[:, None] != part, -torch.inf)
        return self.proj((logits.softmax(dim=-1) @ v).transpose(1, 2).reshape(x.shape))


class SwinBlock(nn.Module):
    def __init__(self, width: int, heads: int, window: int, shift: int, norm: str, bias: bool, excite: int) -> None:
        super().__init__()
        self.norm1 = NORMS[norm](width)
        self.attn = LocalMixing(width, heads, window, shift, bias)
        self.excite = SqueezeExcite(width, excite) if excite else nn.Identity()
        self.norm2 = NORMS[norm](width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.excite(self.attn(self.norm1(x)))
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class Depthwise(nn.Conv2d):
    """On maps (B, H, W, C); an even kernel reaches one further down and right."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__(width, width, size, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        before, after = (self.kernel_size[0] - 1) // 2, self.kernel_size[0] // 2
        x = functional.pad(x.permute(0, 3, 1, 2), (before, after, before, after))
        return super().forward(x).permute(0, 2, 3, 1)


class DepthwiseBlock(nn.Module):
    """The paper's DW block; `extra`: a second depth-wise convolution, `excite`: where the gate stands."""

    def __init__(self, width: int, size: int, norm: str, extra: bool, excite: int) -> None:
        super().__init__()
        make, gate = NORMS[norm], lambda on: SqueezeExcite(width, excite) if on else nn.Identity()
        self.mix = nn.Sequential(
            *(nn.Linear(width, width, bias=False), make(width), nn.ReLU()),
            *(Depthwise(width, size), make(width), nn.ReLU(), gate(excite and not extra)),
            *(nn.Linear(width, width, bias=False), make(width)),
        )
        last = gate(True) if excite else nn.ReLU()
        self.extra = nn.Sequential(Depthwise(width, size), make(width), last) if extra else None
        self.norm = make(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(x)
        if self.extra is not None:
            x = x + self.extra(x)
        return x + self.fc2(functional.gelu(self.fc1(self.norm(x))))


class Merge(nn.Module):
    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        self.norm = NORMS[norm](4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, down::2, across::2] for across in (0, 1) for down in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


class HierarchicalNetwork(nn.Module):
    """Patches of 4, stages of blocks with merging between them, the mean, a classifier (Table 7)."""

    def __init__(self, classes: int, stages: Sequence[Sequence[nn.Module]], width: int, norm: str) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.patch_norm = NORMS[norm](width)
        self.stages = nn.ModuleList()
        for index, blocks in enumerate(stages):
            merge = [Merge(width << (index - 1), norm)] if index else []
            self.stages.append(nn.ModuleList([*merge, *blocks]))
        last = width << (len(stages) - 1)
        self.norm = NORMS[norm](last)
        self.head = nn.Linear(last, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch_norm(self.patches(images).permute(0, 2, 3, 1))
        for stage in self.stages:
            for block in stage:
                x = block(x)
        return self.head(self.norm(x).mean(dim=(1, 2)))
