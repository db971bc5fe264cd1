"""The tensors of a network and a wider program of the same ops go in; tensors of the wider network come out."""

from collections.abc import Mapping

import torch
from torch import Tensor

from archspec.ir import Program, parameter_table
from archspec.widening.copying import Axes, Axis
from archspec.widening.origins import copies

LEAST, MOST = 0.5, 1.5
"""Copies share a value in random shares, of this size before they are made to add up: copies that shared it equally
would get equal gradients for ever."""


def widened(tensors: Mapping[str, Tensor], narrow: Program, wide: Program, seed: int) -> dict[str, Tensor]:
    """The tensors of the wider network, which starts as the function that the narrower one is.

    Args:
        tensors: the state dict of the narrower network, on any device.
        narrow: its program.
        wide: the program of the wider one.
        seed: of the shares of copies.

    Raises:
        SpecError: the wider program has other ops, or fewer of anything.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: row.shape for name, row in parameter_table(wide).items()}
    found = {}
    for name, parts in copies(narrow, wide).items():
        value = tensors[name].detach().cpu()
        held = value.chunk(len(parts)) if len(parts) > 1 else (value,)  # one weight for everything has no axis
        flat = [_part(each, axes, generator).reshape(-1) for each, axes in zip(held, parts, strict=True)]
        found[name] = torch.cat(flat).reshape(shapes[name])
    return found


def _part(value: Tensor, axes: Axes, generator: torch.Generator) -> Tensor:
    y = value.reshape([axis.length for axis in axes])
    for dimension, axis in enumerate(axes):
        if not axis.is_kept:
            y = _copied(y, dimension, axis, generator)
    return y


def _copied(value: Tensor, dimension: int, axis: Axis, generator: torch.Generator) -> Tensor:
    origin = torch.from_numpy(axis.origin)
    y = value.index_select(dimension, origin)
    if axis.summed:
        share = torch.rand(y.shape, generator=generator, dtype=torch.float64) * (MOST - LEAST) + LEAST
        whole = (
            torch.zeros(value.shape, dtype=torch.float64)
            .index_add(dimension, origin, share)
            .index_select(dimension, origin)
        )
        y = y * (share / whole).to(y.dtype)
    return y * axis.factor
