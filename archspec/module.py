"""A program and its plan go in; the torch module that owns the parameters and runs the kernels comes out.

The modules here are the only ones in archspec. They nest as the paths of the ops do, so the names of a checkpoint
are exactly those of `ir.parameter_table`, whatever kernels the plan chose.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from operator import attrgetter
from typing import Any, cast

import torch
from torch import Tensor, nn

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.kernels import steps
from archspec.kernels.shapes import Parameters
from archspec.lower import Plan

Kernel = Callable[[Any, Parameters, Tensor, bool], Tensor]

STEPS: Mapping[type[ir.Op], Kernel] = {
    ir.Norm: steps.norm,
    ir.Activation: steps.activation,
    ir.Scale: steps.scale,
    ir.DropPath: steps.drop_path,
    ir.ClassToken: steps.class_token,
    ir.PositionEmbedding: steps.position_embedding,
    ir.Gather: steps.gather,
    ir.Pool: steps.pool,
}


class Layer(nn.Module):
    """One op: it owns the parameters that the op lists and calls the kernel that serves it."""

    def __init__(self, op: ir.Op, kernel: Kernel, device: torch.device | None) -> None:
        super().__init__()
        self.op = op
        self.kernel = kernel
        self.names = tuple(row.name for row in op.parameters)
        for row in op.parameters:
            holder, name = _holder(self, row.name)
            tensor = torch.empty(row.shape, device=device)
            if row.trainable:
                holder.register_parameter(name, nn.Parameter(tensor))
            else:
                holder.register_buffer(name, tensor)

    def forward(self, x: Tensor) -> Tensor:
        parameters = {name: attrgetter(name)(self) for name in self.names}
        return self.kernel(self.op, parameters, x, self.training)

    def extra_repr(self) -> str:
        return f"{type(self.op).__name__.lower()} {self.op.facts()} [{self.op.source} -> {self.op.target}]"


class Steps(nn.Sequential):
    """Layers one after the other, under the names that their paths have."""


class Residual(Steps):
    """y = x + steps(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, super().forward(x))  # type: ignore[no-untyped-call]  # torch 2.15


class Network(nn.Module):
    """A compiled network: images (B, channels, H, W), in any memory format, to logits (B, classes).

    A plain module: train it, move it, copy it, pickle it, compile it as any other. `program` says what it means.
    """

    def __init__(self, plan: Plan, device: torch.device | None = None) -> None:
        super().__init__()
        self.program = plan.program
        kernels = {path: load_kernel(kernel) for path, kernel in plan.kernels().items()}
        for op in plan.program.ops:
            _place(self, op, kernels, device)

    def forward(self, image: Tensor) -> Tensor:
        wanted = self.program.image
        if image.ndim != 4 or image.shape[1:] != (wanted.channels, wanted.height, wanted.width):
            raise _wrong_image(self.program, tuple(image.shape))
        x = image.permute(0, 2, 3, 1)
        for child in self.children():
            x = child(x)
        return x.flatten(1)

    def initialise(self, seed: int | None = None) -> None:
        """Draw all parameters anew, in the order of a checkpoint; without a seed, from torch's global generator."""
        tensors = self.state_dict(keep_vars=True)
        generator = None if seed is None else torch.Generator(_device(self)).manual_seed(seed)
        with torch.no_grad():
            for name, row in ir.parameter_table(self.program).items():
                fill(tensors[name], row.init, generator)


def load_kernel(name: str) -> Kernel:
    """The function that a rule names: `linear.linear` is archspec.kernels.linear.linear."""
    file, function = name.split(".")
    return cast(Kernel, getattr(import_module(f"archspec.kernels.{file}"), function))


def fill(tensor: Tensor, init: ir.Init, generator: torch.Generator | None) -> None:
    """Initialise in place: normal(deviation) truncated at two deviations, uniform(bound) or constant(value)."""
    if tensor.is_meta:
        return
    if init.kind == "normal":
        # By inverting the distribution, as nn.init.trunc_normal_ does, which takes ten times as long (torch 2.15).
        tensor.uniform_(-math.erf(2**0.5), math.erf(2**0.5), generator=generator)
        tensor.erfinv_().mul_(2**0.5 * init.value).clamp_(-2 * init.value, 2 * init.value)
    elif init.kind == "uniform":
        tensor.uniform_(-init.value, init.value, generator=generator)
    else:
        tensor.fill_(init.value)


def _place(root: nn.Module, op: ir.Op, kernels: Mapping[str, Kernel], device: torch.device | None) -> None:
    """Put the module of an op where its path says, below `root`."""
    if isinstance(op, ir.Residual):
        _add(root, op.path, Residual())
        for inner in op.ops:
            _place(root, inner, kernels, device)
    else:
        kernel = kernels[op.path] if isinstance(op, ir.Connect) else STEPS[type(op)]
        _add(root, op.path, Layer(op, kernel, device))


def _add(root: nn.Module, path: str, module: nn.Module) -> None:
    *parents, name = path.split(".")
    _descend(root, parents, Steps).add_module(name, module)


def _holder(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Where a parameter named `norm.weight` lives, and its name there."""
    *parents, last = name.split(".")
    return _descend(module, parents, nn.Module), last


def _descend(module: nn.Module, names: Iterable[str], kind: type[nn.Module]) -> nn.Module:
    for name in names:
        children = dict(module.named_children())
        if name not in children:
            module.add_module(name, kind())
        module = children.get(name) or module.get_submodule(name)
    return module


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _wrong_image(program: ir.Program, shape: tuple[int, ...]) -> SpecError:
    wanted = program.image
    rule = (
        f"{program.name} takes images of shape (batch, {wanted.channels}, {wanted.height}, {wanted.width}): "
        "batch, channels, height, width"
    )
    return SpecError([Problem(rule, f"shape {shape}", "input.size")])
