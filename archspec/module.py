"""A program and its plan go in; the torch module that owns the parameters and runs the kernels comes out.

The modules here are the only ones in archspec. They nest as the paths of the ops do, so the names of a checkpoint
are exactly those of `ir.parameter_table`, whatever kernels the plan chose.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from operator import attrgetter
from typing import Any, cast

import torch
from torch import Tensor, nn

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.kernels import branching, steps
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
    ir.SlidingPool: steps.sliding_pool,
    ir.MapOnly: steps.map_only,
    ir.Shuffle: steps.shuffle,
    ir.Resize: steps.resize,
    ir.Multiply: steps.multiply,
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


class Network(nn.Module):
    """A compiled network: images (B, channels, H, W), in any memory format, to logits (B, classes).

    A plain module: train it, move it, copy it, pickle it, compile it as any other. `program` says what it means at the
    size it was compiled for. Images of another size run too where `plan_at` (height, width -> plan) is given and no
    parameter would have another shape there.
    """

    def __init__(
        self, plan: Plan, device: torch.device | None = None, plan_at: Callable[[int, int], Plan] | None = None
    ) -> None:
        super().__init__()
        self.program = plan.program
        self.plan_at = plan_at
        self.size: ir.Pair = (plan.program.image.height, plan.program.image.width)
        self.served = {self.size: (plan.program, plan.kernels())}
        kernels = {path: load_kernel(kernel) for path, kernel in plan.kernels().items()}
        _place(self, plan.program.ops, kernels, device)

    def forward(self, image: Tensor) -> Tensor:
        x = self.as_map(image)
        for child in self.children():
            x = child(x)
        return x.flatten(1)

    def as_map(self, image: Tensor) -> Tensor:
        """Images (B, channels, H, W) as the first map (B, H, W, channels); from now on their size is served."""
        wanted = self.program.image
        if image.ndim != 4 or image.shape[1] != wanted.channels:
            raise _wrong_image(self.program, tuple(image.shape))
        if image.shape[2:] != self.size:
            self.run_at(image.shape[2], image.shape[3])
        return image.permute(0, 2, 3, 1)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def run_at(self, height: int, width: int) -> None:
        """Serve images of this size from now on, with the same parameters; `forward` asks for it by itself.

        Raises SpecError where the network cannot stand at that size, or a parameter would have another shape.
        """
        if (height, width) not in self.served:
            if self.plan_at is None:
                raise _wrong_image(self.program, ("batch", self.program.image.channels, height, width))
            plan = self.plan_at(height, width)
            _check_parameters(self.program, plan.program)
            self.served[height, width] = (plan.program, plan.kernels())
        program, names = self.served[height, width]
        kernels = {path: load_kernel(kernel) for path, kernel in names.items()}
        ops = {op.path: op for op in ir.walk(program.ops)}
        for layer in self.modules():
            if isinstance(layer, Layer) and layer.op.path in ops:
                layer.op = ops[layer.op.path]
                layer.kernel = _kernel(layer.op, kernels)
            elif isinstance(layer, Layer):
                layer.kernel = steps.unchanged  # at this size there is nothing to do, as in pooling a single position
            elif isinstance(layer, Branched):
                layer.op = cast(ir.Branches, ops[layer.op.path])
        self.size = (height, width)

    def initialise(self, seed: int | None = None) -> None:
        """Draw all parameters anew, in the order of a checkpoint; without a seed, from torch's global generator."""
        tensors = self.state_dict(keep_vars=True)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, row in ir.parameter_table(self.program).items():
                if name in tensors:  # a backbone has no head
                    fill(tensors[name], row.init, generator)


def _kernel(op: ir.Op, kernels: Mapping[str, Kernel]) -> Kernel:
    return kernels[op.path] if isinstance(op, ir.Connect) else STEPS[type(op)]


def load_kernel(name: str) -> Kernel:
    """The function that a rule names: `linear.linear` is archspec.kernels.linear.linear."""
    file, function = name.split(".")
    return cast(Kernel, getattr(import_module(f"archspec.kernels.{file}"), function))


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


def _place(root: nn.Module, ops: tuple[ir.Op, ...], kernels: Mapping[str, Kernel], device: torch.device | None) -> None:
    """Put the modules of ops, one after the other, where their paths say, below `root`."""
    for number, op in enumerate(ops):
        if isinstance(op, ir.Residual | ir.Branches):
            _add(root, op.path, Residual(op) if isinstance(op, ir.Residual) else Branched(op))
            for inner in ir.inside(op):
                _place(root, inner, kernels, device)
            continue
        if isinstance(op, ir.Connect) and op.path.endswith(".first") and isinstance(op.space, ir.Point):
            _add(root, op.path.removesuffix(".first"), Factors())
        kernel = _kernel(op, kernels)
        if isinstance(op, ir.Activation) and branching.gives_new(ops[:number]):
            kernel = steps.activation_of_new
        _add(root, op.path, Layer(op, kernel, device))


def _names_below(path: str, ops: tuple[ir.Op, ...]) -> tuple[str, ...]:
    """The names, below the module at `path`, of the modules that hold the ops: each once, in their order."""
    return tuple(dict.fromkeys(op.path.removeprefix(f"{path}.").split(".")[0] for op in ops))


def _memory_format(op: ir.Op, row: ir.Parameter) -> torch.memory_format:
    """Convolutions over channels-last maps want such weights, and would copy others each time."""
    if not isinstance(op, ir.Connect) or len(row.shape) != 4:
        return torch.contiguous_format
    convolves = isinstance(op.space, ir.Sliding) and op.channels != "separate"
    return torch.channels_last if convolves or row.name == "reduction.weight" else torch.contiguous_format


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


def _check_parameters(here: ir.Program, there: ir.Program) -> None:
    """Raise SpecError unless the same modules can run both programs."""
    ours, theirs = ir.parameter_table(here), ir.parameter_table(there)
    known = {op.path for op in ir.walk(here.ops)}
    new = next((op.path for op in ir.walk(there.ops) if op.path not in known), None)
    differing = next((name for name, row in ours.items() if theirs[name].shape != row.shape), None)
    if new is None and differing is None:
        return
    size, other = (f"{image.height}x{image.width}" for image in (here.image, there.image))
    rule = f"{here.name} was compiled for {size} images and cannot run others of {other} with the same modules"
    if differing is not None:
        found = f"{differing} has shape {ours[differing].shape} for {size} and {theirs[differing].shape} for {other}"
        nearest = (f"`archspec resize` converts the network and its weights to {other}",)
    else:
        found, nearest = f"{new} does nothing at {size}", (f"compile it at {other}: the weights are the same",)
    raise SpecError([Problem(rule, found, "input.size", nearest=nearest)])


def _wrong_image(program: ir.Program, shape: tuple[int | str, ...]) -> SpecError:
    wanted = program.image
    rule = (
        f"{program.name} takes images of shape (batch, {wanted.channels}, {wanted.height}, {wanted.width}): "
        "batch, channels, height, width"
    )
    return SpecError([Problem(rule, f"shape {shape}", "input.size")])
