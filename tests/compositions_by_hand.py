"""A name goes in; the network of this name in compositions.py, written by hand in PyTorch, comes out.

They share no code with archspec, and their tensors stand in the order of the table of parameters, so that weights can
be copied one after the other.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _bn(width: int, **options: float) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, **options)  # type: ignore[arg-type]


def _conv_bn(width: int, to: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, to, size, stride, size // 2, bias=False, groups=groups), _bn(to))


class Weight(nn.Module):
    """A parameter that stands in its turn among modules."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))


class Bottleneck(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = _conv_bn(4, 6, 1), _conv_bn(6, 6, 3, 2), _conv_bn(6, 16, 1)
        self.shortcut = _conv_bn(4, 16, 1, 2)
        self.four, self.five = _conv_bn(16, 6, 1), _conv_bn(6, 16, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.three(self.two(self.one(x).relu()).relu())
        x = (y + self.shortcut(x)).relu()
        x = (self.five(self.four(x).relu()) + x).relu()
        return self.head(x.mean((2, 3)))


class Cascade(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(4, 12, 1)
        self.convs = nn.ModuleList(_conv_bn(3, 3) for _ in range(3))
        self.back, self.head = nn.Conv2d(12, 12, 1), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.wide(x).chunk(4, 1)
        first = self.convs[0](parts[0]).relu()
        second = self.convs[1](parts[1] + first).relu()
        third = self.convs[2](parts[2] + second).relu()
        return self.head(self.back(torch.cat([first, second, third, parts[3]], 1)).mean((2, 3)))


def _interleaved(x: Tensor, groups: int) -> Tensor:
    batch, width, height, across = x.shape
    return x.view(batch, groups, width // groups, height, across).transpose(1, 2).reshape(x.shape)


class Shuffle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = _conv_bn(4, 4, 3, 2, groups=4), nn.Conv2d(4, 6, 1)
        self.c, self.d = nn.Conv2d(4, 6, 1), _conv_bn(6, 6, 3, 2, groups=6)
        self.e, self.f = nn.Conv2d(7, 7, 1), _conv_bn(7, 7, 3, groups=7)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.b(self.a(x)).relu(), self.d(self.c(x).relu())], 1)
        x = _interleaved(x, 2)
        x = torch.cat([x[:, :5], self.f(F.relu6(self.e(x[:, 5:])))], 1)
        return self.head(_interleaved(x, 3).mean((2, 3)))


class Gates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 8, 3, padding=1, bias=False), _bn(8, eps=0.001)
        self.centring = Weight(8)
        self.down, self.up = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
        self.one, self.coarse = nn.Conv2d(8, 1, 1), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = self.norm(x + self.centring.weight.view(1, -1, 1, 1) * F.adaptive_avg_pool2d(x, 1))
        x = x * self.up(F.silu(self.down(x.mean((2, 3), keepdim=True)))).sigmoid()
        x = x * F.hardswish(self.one(x))
        # Windows of four, centred as far as an even size can be: one before, two after each fourth position.
        coarse = F.avg_pool2d(F.pad(x, (1, 0, 1, 0)), 4, 4)
        x = x * F.interpolate(self.coarse(coarse), scale_factor=4, mode="nearest").sigmoid()
        return self.head(x.mean((2, 3)))


class SpatialGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.wide = nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 16)
        self.inner, self.mix, self.back = nn.LayerNorm(8), nn.Linear(240, 240), nn.Linear(8, 6)
        self.last, self.head = nn.LayerNorm(6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.flatten(2).transpose(1, 2))
        u, v = F.gelu(self.wide(self.norm(x))).chunk(2, -1)
        v = self.mix(self.inner(v).transpose(1, 2)).transpose(1, 2)
        x = x + self.back(u * v)
        return self.head(self.last(x).mean(1))


class Module(nn.Module):
    """One module of HRNet: basic blocks on each resolution, then each resolution from all."""

    def __init__(self) -> None:
        super().__init__()
        widths = (4, 6, 8)
        self.blocks = nn.ModuleList(nn.ModuleList([_conv_bn(w, w), _conv_bn(w, w)]) for w in widths)
        self.second_to_first, self.third_to_first = _conv_bn(6, 4, 1), _conv_bn(8, 4, 1)
        self.first_to_second, self.third_to_second = _conv_bn(4, 6, 3, 2), _conv_bn(8, 6, 1)
        self.first_to_third = nn.ModuleList([nn.Conv2d(4, 4, 3, 2, 1, bias=False), _conv_bn(4, 8, 3, 2)])
        self.second_to_third = _conv_bn(6, 8, 3, 2)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        a, b, c = ((x + two(one(x).relu())).relu() for x, (one, two) in zip(maps, self.blocks, strict=True))
        first = a + F.interpolate(self.second_to_first(b), scale_factor=2, mode="nearest")
        first = first + F.interpolate(self.third_to_first(c), scale_factor=4, mode="bilinear")
        second = self.first_to_second(a) + b
        second = second + F.interpolate(self.third_to_second(c), scale_factor=2, mode="nearest")
        third = self.first_to_third[1](self.first_to_third[0](a).relu()) + self.second_to_third(b) + c
        return [first.relu(), second.relu(), third.relu()]


class Streams(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.to_second, self.to_third = nn.Conv2d(4, 4, 1), _conv_bn(4, 6, 3, 2), _conv_bn(6, 8, 3, 2)
        self.one, self.two = Module(), Module()
        self.first_down = nn.Conv2d(4, 6, 3, 2, 1, bias=False)
        self.second_down, self.head = _conv_bn(6, 8, 3, 2), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        first = self.stem(x)
        second = self.to_second(first)
        a, b, c = self.two(self.one([first, second, self.to_third(second)]))
        return self.head((self.second_down(self.first_down(a) + b) + c).amax((2, 3)))


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.token = nn.Linear(4, 6), Weight(6)
        self.norm, self.pooled = nn.LayerNorm(6), nn.Linear(6, 6)
        self.conv, self.linear = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.Linear(6, 6)
        self.scale, self.head = Weight(6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.permute(0, 2, 3, 1))
        token = self.token.weight + self.pooled(self.norm(x).mean((1, 2)))
        # The map takes no part in the result; its gradients must be zero.
        maps = self.conv(F.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, 1) * 0.5)
        token = self.linear(token) + token * self.scale.weight
        return self.head(token) + 0 * maps.sum()


BY_HAND: dict[str, type[nn.Module]] = {
    "bottleneck": Bottleneck,
    "cascade": Cascade,
    "shuffle": Shuffle,
    "gates": Gates,
    "spatial gate": SpatialGate,
    "streams": Streams,
    "tokens": Tokens,
}
