"""A module in its canonical start and batches go in; scores of what its layers give come out, without a gradient."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from archspec import ir
from archspec.module import Layer, Network
from archspec.search.proxies.canonical import layers
from archspec.search.proxies.gradients import Batch
from archspec.search.proxies.validity import GATES

NOISE = 1e-2  # of Zen's second image, in deviations of the first


def naswot(module: Network, batches: Sequence[Batch]) -> float:
    """log |det K|, K_ij how many relus are open for both or for neither of images i and j (arXiv 2006.04647)."""
    kernel = torch.zeros(len(batches[0][0]), len(batches[0][0]), dtype=torch.float64)

    def add(layer: Layer, given: tuple[Tensor, ...]) -> None:
        is_open = (given[0].detach().flatten(1) > 0).double()
        kernel.add_(is_open @ is_open.T + (1 - is_open) @ (1 - is_open).T)

    gates = [each for each in layers(module) if isinstance(each.op, ir.Activation) and each.op.kind in GATES]
    # Without no_grad, under which large hidden maps are made in parts.
    with _hooked(gates, add):
        module(batches[0][0])
    return float(torch.linalg.slogdet(kernel).logabsdet)


def zen(module: Network, batches: Sequence[Batch], seed: int = 0) -> float:
    """log of the mean over images of sum |f(x + a e) - f(x)|, plus the sum over batch norms of log of the deviation of
    what they were given; f the map before the head's pool, x and e normal, a = 0.01 (arXiv 2102.01063).

    Unlike there, residual branches stay. The images themselves are not looked at, only how many and how large.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = batches[0][0].shape
    x, noise = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
    maps: list[Tensor] = []
    spread: list[float] = []

    def see_map(layer: Layer, given: tuple[Tensor, ...]) -> None:
        maps.append(given[0])

    def see_norm(layer: Layer, given: tuple[Tensor, ...]) -> None:
        variance = given[0].flatten(0, 2).var(0, correction=0).mean()
        spread.append(0.5 * float(torch.log(variance.double() + 1e-24)))

    last = [each for each in layers(module) if each.op.path in ("head.pool", "head.classifier")][:1]
    norms = [each for each in layers(module) if isinstance(each.op, ir.Norm) and each.op.kind == "batch"]
    with torch.no_grad(), _hooked(last, see_map):
        with _hooked(norms, see_norm):
            module(x)
        module(x + NOISE * noise)
    change = (maps[1] - maps[0]).abs().flatten(1).sum(1).mean()
    return float(torch.log(change.double())) + sum(spread)


@contextmanager
def _hooked(found: Sequence[Layer], see: Any) -> Iterator[None]:
    handles = [layer.register_forward_pre_hook(see) for layer in found]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
