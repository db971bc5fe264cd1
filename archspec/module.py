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

# Hidden units of a channel MLP, times positions: more than LARGE are made in parts of about PART, for inference.
LARGE, PART, LEAST_ROWS = 1 << 22, 1 << 20, 1024

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

    def forward(self, x: Tensor) -> Tensor:
        for step in self:
            x = step(x)
        return x


class Residual(Steps):
    """y = x + steps(x). A drop path at the end is multiplied and added in one pass over the map."""

    def forward(self, x: Tensor) -> Tensor:
        *before, last = self
        y = x
        for step in before:
            y = step(y)
        op = last.op if isinstance(last, Layer) else None
        if self.training and isinstance(op, ir.DropPath) and op.rate:
            return torch.addcmul(x, y.to(x.dtype), steps.kept(op, x))
        return x + cast(Tensor, last(y))


class Factors(Steps):
    """The two factors of a channel MLP and what is between them, position by position.

    Hidden units are some times as many as channels. Where their map would be far larger than a cache, inference on a
    CPU makes it in parts (Swin-T's first stage, batch 4, on two cores: 11.4 instead of 20.1 ms).
    """

    def forward(self, x: Tensor) -> Tensor:
        hidden = cast(Layer, self.first).op.target.channels
        positions = x.flatten(0, 2)
        if torch.is_grad_enabled() or not x.is_cpu or len(positions) * hidden <= LARGE or not self._by_position:
            return super().forward(x)
        rows = max(LEAST_ROWS, PART // hidden)
        parts = [super(Factors, self).forward(part[None, None]) for part in positions.split(rows)]
        return torch.cat(parts, 2).view(*x.shape[:3], -1)

    @property
    def _by_position(self) -> bool:
        ops = [layer.op for layer in self if isinstance(layer, Layer)]
        return not torch.compiler.is_compiling() and all(getattr(op, "bias", "") != "positions" for op in ops)


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
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, row in ir.parameter_table(self.program).items():
                fill(tensors[name], row.init, generator)


def load_kernel(name: str) -> Kernel:
    """The function that a rule names: `linear.linear` is archspec.kernels.linear.linear."""
    file, function = name.split(".")
    return cast(Kernel, getattr(import_module(f"archspec.kernels.{file}"), function))


def fill(tensor: Tensor, init: ir.Init, generator: torch.Generator | None) -> None:
    """Initialise in place: normal(deviation) truncated at two deviations, uniform(bound) or constant(value).

    Numbers are drawn on the CPU, so that a seed gives the same weights on any device.
    """
    if tensor.is_meta:
        return
    if tensor.device.type != "cpu":
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


def _place(root: nn.Module, op: ir.Op, kernels: Mapping[str, Kernel], device: torch.device | None) -> None:
    """Put the module of an op where its path says, below `root`."""
    if isinstance(op, ir.Residual):
        _add(root, op.path, Residual())
        for inner in op.ops:
            _place(root, inner, kernels, device)
    else:
        if isinstance(op, ir.Connect) and op.path.endswith(".first") and isinstance(op.space, ir.Point):
            _add(root, op.path.removesuffix(".first"), Factors())
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


def _wrong_image(program: ir.Program, shape: tuple[int, ...]) -> SpecError:
    wanted = program.image
    rule = (
        f"{program.name} takes images of shape (batch, {wanted.channels}, {wanted.height}, {wanted.width}): "
        "batch, channels, height, width"
    )
    return SpecError([Problem(rule, f"shape {shape}", "input.size")])
