"""Maps (B, H, W, C) go in; results of branches, joined, come out. Copied into stand-alone files."""

from collections import OrderedDict

import torch
from torch import Tensor, nn


def named(**steps: nn.Module) -> nn.Sequential:
    """Steps one after the other, under the names that they have in the checkpoint."""
    return nn.Sequential(OrderedDict(steps))


class DropPath(nn.Module):
    """While training, drop whole samples at this rate and scale up the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)


class Residual(nn.Sequential):
    """y = x + steps(x)."""

    def __init__(
        self,
        *steps: nn.Module,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(*steps)
        if drop_path:
            self.add_module("drop_path", DropPath(drop_path))

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class ShortcutResidual(nn.Module):
    """y = steps(x) + shortcut(x)."""

    def __init__(
        self,
        *steps: nn.Module,
        shortcut: nn.Module,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        for number, step in enumerate(steps):
            self.add_module(str(number), step)
        self.shortcut = shortcut
        self.steps = len(steps)
        self.drop_path = drop_path
        if drop_path:
            self.drop = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number in range(self.steps):
            y = self.get_submodule(str(number))(y)
        if self.drop_path:
            y = self.drop(y)
        return y + self.shortcut(x)


class Gate(nn.Sequential):
    """y = x * steps(x); the steps may give one position or one channel for all."""

    def forward(self, x: Tensor) -> Tensor:
        return x * super().forward(x)


class Sum(nn.ModuleList):
    """The sum of the branches of x."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__(branches)

    def forward(self, x: Tensor) -> Tensor:
        return sum_of([branch(x) for branch in self])


class Product(nn.ModuleList):
    """The branches of x multiplied, element by element."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__(branches)

    def forward(self, x: Tensor) -> Tensor:
        return product_of([branch(x) for branch in self])


class Concat(nn.ModuleList):
    """The channels of the branches of x, one after the other."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], dim=-1)


class TokenAndMap(nn.ModuleList):
    """The first branch gives a class token, the second the map that it is put before."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__(branches)

    def forward(self, x: Tensor) -> Tensor:
        token, rest = (branch(x).flatten(1, 2) for branch in self)
        return torch.cat([token, rest], dim=1).unsqueeze(1)


class Split(nn.ModuleList):
    """Each branch takes a slice of the channels; results are joined."""

    def __init__(
        self,
        *branches: nn.Module,
        sizes: tuple[int, ...],
        join: str,
        cascade: tuple[int, ...] = (),
    ) -> None:
        """`cascade`: the branches that also take the result of the one before."""
        super().__init__(branches)
        self.sizes = sizes
        self.cascade = cascade
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        results: list[Tensor] = []
        for number, part in enumerate(x.split(self.sizes, dim=-1)):
            if self.cascade:
                part = self.cascaded(number, part, results)
            results.append(self[number](part))
        if self.join == "sum":
            return sum_of(results)
        if self.join == "product":
            return product_of(results)
        return torch.cat(results, dim=-1)

    def cascaded(self, number: int, part: Tensor, results: list[Tensor]) -> Tensor:
        """A slice, with the last result where `cascade` names its branch."""
        return part + results[-1] if number in self.cascade else part


class Streams(nn.ModuleList):
    """Of several maps, map k goes through branch k."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__(branches)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(branch(x) for branch, x in zip(self, maps, strict=True))


class Fork(nn.ModuleList):
    """One map becomes several, one for each branch."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__(branches)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(branch(x) for branch in self)


class Exchange(nn.ModuleList):
    """Several maps become several others: each row makes one of all of them."""

    def __init__(self, *rows: nn.Module) -> None:
        super().__init__(rows)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(row(maps) for row in self)


class Row(nn.ModuleDict):
    """The sum of what branches make of maps; each is named by the map that it takes."""

    def __init__(self, *branches: nn.Module, takes: tuple[int, ...]) -> None:
        named = zip(takes, branches, strict=True)
        super().__init__({str(number): branch for number, branch in named})

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        return sum_of([branch(maps[int(k)]) for k, branch in self.items()])


def sum_of(maps: list[Tensor]) -> Tensor:
    """Maps of one shape, added."""
    total = maps[0]
    for other in maps[1:]:
        total = total + other
    return total


def product_of(maps: list[Tensor]) -> Tensor:
    """Maps multiplied: of a later one, one position or channel may stand for all."""
    total = maps[0]
    for other in maps[1:]:
        total = total * other
    return total
