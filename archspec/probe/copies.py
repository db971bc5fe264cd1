"""A module goes in; the copy that is measured comes out: float64, eval mode, nothing hidden by zeros."""

import copy
from typing import Literal

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from archspec.errors import ProbeError
from archspec.probe.precision import tensors_in_double

Redraw = Literal["zeros", "all", "none"]
SMALL = 1e-2
"""Constant parameters below this (zero norms, layer scale, tables of zeros) would hide a branch."""


def prepared(module: nn.Module, redraw: Redraw, seed: int) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy in float64 and eval mode, whose zero parameters are drawn anew (or all; or none), and their names."""
    if any(is_lazy(parameter) for parameter in module.parameters()):
        raise ProbeError(f"{type(module).__name__} has weights only once it was called: call it on one map first")
    try:
        measured = copy.deepcopy(module, _computed(module))
        # Not one after another: some modules of timm forget to return themselves from train() and eval().
        measured.double()
        measured.eval()
        measured.requires_grad_(False)
    except Exception as error:  # a module that holds tensors of a graph may raise anything
        cause = (str(error).strip().splitlines() or [""])[0]
        raise ProbeError(
            f"a copy of the module is measured, in float64\n    found: no copy of {type(module).__name__}: {cause}"
        ) from None
    tensors_in_double(measured)
    generator = torch.Generator().manual_seed(seed)
    names = []
    for name, parameter in measured.named_parameters():
        if redraw == "none" or not parameter.is_floating_point() or not parameter.numel():
            continue
        low, high = float(parameter.min()), float(parameter.max())
        hidden = low == high and abs(high) <= SMALL
        if redraw == "zeros" and not hidden:
            continue
        scale = 0.5 if parameter.ndim < 2 else max(1.0, parameter[0].numel()) ** -0.5
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * scale
        parameter.copy_(drawn + 1 if low == high == 1 else drawn)
        names.append(name)
    return measured, tuple(names)


def _computed(module: nn.Module) -> dict[int, torch.Tensor]:
    """Tensors that hooks compute from parameters (torch.nn.utils.weight_norm), which nothing else can copy."""
    held = (value for part in module.modules() for value in vars(part).values() if isinstance(value, torch.Tensor))
    return {id(value): value.detach().clone() for value in held if not value.is_leaf}


def parameter_count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
