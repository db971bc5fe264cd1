"""An op and its kernel go in; a module that owns the op's parameters, or that holds other modules, comes out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from operator import attrgetter
from typing import Any, cast

import torch
from torch import Tensor, nn

from archspec import ir
from archspec.kernels import branching, steps
from archspec.kernels.shapes import Parameters

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
    ir.SlidingPool: steps.sliding_pool,
    ir.MapOnly: steps.map_only,
    ir.Shuffle: steps.shuffle,
    ir.Resize: steps.resize,
    ir.Multiply: steps.multiply,
}


ONTO_NEW: Mapping[Kernel, Kernel] = {steps.activation: steps.activation_of_new, steps.norm: steps.norm_of_new}
"""What takes the place of a kernel where nobody else has the map that it takes."""


class Layer(nn.Module):
    """One op: it owns the parameters that the op lists and calls the kernel that serves it."""

    def __init__(self, op: ir.Op, kernel: Kernel, device: torch.device | None, takes_new: bool = False) -> None:
        super().__init__()
        self.op = op
        self.takes_new = takes_new
        """Whether nobody else has the map that it takes, so that inference may write onto it."""
        self.kernel = kernel
        self.names = tuple(row.name for row in op.parameters)
        for row in op.parameters:
            holder, name = _holder(self, row.name)
            tensor = torch.empty(row.shape, device=device, memory_format=_memory_format(op, row))
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

    def __init__(self, op: ir.Residual) -> None:
        super().__init__()
        self.gives_new = branching.gives_new(op.ops)

    def forward(self, x: Tensor) -> Tensor:
        return plus(x, x, tuple(self), self.gives_new)


class Branched(Steps):
    """Several branches, joined: its modules, under the names that their paths have, and which of them make a branch."""

    def __init__(self, op: ir.Branches) -> None:
        super().__init__()
        self.op = op
        self.names = tuple(_names_below(op.path, branch.ops) for branch in op.branches)
        """Of each branch, the names of the modules that it goes through."""

    def forward(self, x: Any) -> Any:
        if self.op.join == "sum" and not self.op.cascade:
            return self._sum(x)
        results: list[Any] = []
        for branch, names in zip(self.op.branches, self.names, strict=True):
            taken = branching.fed(branch.feed, x)
            if self.op.cascade and results and names:
                taken = taken + results[-1]
            for name in names:
                taken = self.get_submodule(name)(taken)
            results.append(taken)
        return branching.join(self.op, results)

    def _sum(self, x: Any) -> Tensor:
        """Branch by branch onto what there is so far, so that no more than two results are alive."""
        total: Tensor | None = None
        for branch, names in zip(self.op.branches, self.names, strict=True):
            modules = tuple(self.get_submodule(name) for name in names)
            total = plus(total, branching.fed(branch.feed, x), modules, branching.gives_new(branch.ops))
        return cast(Tensor, total)

    def extra_repr(self) -> str:
        return f"{self.op.facts()} [{self.op.source} -> {self.op.target}]"


def plus(total: Tensor | None, x: Tensor, modules: Sequence[nn.Module], gives_new: bool) -> Tensor:
    """total + modules(x); without a total, modules(x). Inference adds onto what the modules give where that is new."""
    *before, last = modules or (nn.Identity(),)
    taken = x
    for module in before:
        x = module(x)
    op = last.op if isinstance(last, Layer) else None
    if total is not None and last.training and isinstance(op, ir.DropPath) and op.rate:
        return torch.addcmul(total, x.to(total.dtype), steps.kept(op, x))
    y = cast(Tensor, last(x))
    if total is None:
        return y
    # At another size than it was built for, a branch may do nothing at all.
    if gives_new and y is not taken and not torch.is_grad_enabled() and y.dtype == total.dtype:
        return y.add_(total)
    return total + y


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


def kernel_of(op: ir.Op, kernels: Mapping[str, Kernel], takes_new: bool) -> Kernel:
    """What serves an op; `takes_new`: nobody else has the map that it takes."""
    kernel = kernels[op.path] if isinstance(op, ir.Connect) else STEPS[type(op)]
    return ONTO_NEW.get(kernel, kernel) if takes_new else kernel


def load_kernel(name: str) -> Kernel:
    """The function that a rule names: `linear.linear` is archspec.kernels.linear.linear."""
    file, function = name.split(".")
    return cast(Kernel, getattr(import_module(f"archspec.kernels.{file}"), function))


def _names_below(path: str, ops: tuple[ir.Op, ...]) -> tuple[str, ...]:
    """The names, below the module at `path`, of the modules that hold the ops: each once, in their order."""
    return tuple(dict.fromkeys(op.path.removeprefix(f"{path}.").split(".")[0] for op in ops))


def _memory_format(op: ir.Op, row: ir.Parameter) -> torch.memory_format:
    """Convolutions over channels-last maps want such weights, and would copy others each time; patches do not."""
    if not isinstance(op, ir.Connect) or len(row.shape) != 4:
        return torch.contiguous_format
    convolves = isinstance(op.space, ir.Sliding) and op.channels != "separate" and op.space.stride != op.space.size
    return torch.channels_last if convolves or row.name == "reduction.weight" else torch.contiguous_format


def _holder(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Where a parameter named `norm.weight` lives, and its name there."""
    *parents, last = name.split(".")
    return descend(module, parents, nn.Module), last


def descend(module: nn.Module, names: Iterable[str], kind: type[nn.Module]) -> nn.Module:
    for name in names:
        children = dict(module.named_children())
        if name not in children:
            module.add_module(name, kind())
        module = children.get(name) or module.get_submodule(name)
    return module
