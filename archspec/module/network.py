"""A plan goes in; the module of the whole network comes out: images to logits, at one size or at others."""

from collections.abc import Callable, Collection, Mapping
from itertools import takewhile
from typing import cast

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.kernels import branching, steps
from archspec.lower import Plan
from archspec.module.drawing import fill
from archspec.module.layers import Branched, Factors, Kernel, Layer, Residual, Steps, descend, kernel_of, load_kernel

REMEMBERED = 16
"""Image sizes whose programs a network keeps, those it ran last; others are resolved again."""


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
            serve = _serve_uncompiled if torch.compiler.is_compiling() else _serve
            serve(self, image.shape[2], image.shape[3])
        return image.permute(0, 2, 3, 1)

    def run_at(self, height: int, width: int) -> None:
        """Serve images of this size from now on, with the same parameters; `forward` asks for it by itself.

        Raises SpecError where the network cannot stand at that size, or a parameter would have another shape.
        """
        size = (height, width)
        program, names = self.served.pop(size) if size in self.served else self._lowered_at(height, width)
        self.served[size] = (program, names)  # now the last one
        if len(self.served) > REMEMBERED:
            del self.served[next(iter(self.served))]
        kernels = {path: load_kernel(kernel) for path, kernel in names.items()}
        ops = {op.path: op for op in ir.walk(program.ops)}
        for layer in self.modules():
            if isinstance(layer, Layer) and layer.op.path in ops:
                layer.op = ops[layer.op.path]
                layer.kernel = kernel_of(layer.op, kernels, layer.takes_new)
            elif isinstance(layer, Layer):
                layer.kernel = steps.unchanged  # at this size there is nothing to do, as in pooling a single position
            elif isinstance(layer, Branched):
                layer.op = cast(ir.Branches, ops[layer.op.path])
        self.size = (height, width)

    def _lowered_at(self, height: int, width: int) -> tuple[ir.Program, dict[str, str]]:
        if self.plan_at is None:
            raise _wrong_image(self.program, ("batch", self.program.image.channels, height, width))
        plan = self.plan_at(height, width)
        _check_parameters(self.program, plan.program, self.state_dict(keep_vars=True).keys())
        return plan.program, plan.kernels()

    def initialise(self, seed: int | None = None) -> None:
        """Draw all parameters anew, in the order of a checkpoint; without a seed, from torch's global generator."""
        tensors = self.state_dict(keep_vars=True)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, row in ir.parameter_table(self.program).items():
                if name in tensors:  # a backbone has no head
                    fill(tensors[name], row.init, generator)


def _serve(network: Network, height: int, width: int) -> None:
    network.run_at(height, width)


_serve_uncompiled = _disable_dynamo(_serve)
"""As `torch.compiler.disable` gives it, but without two seconds of imports for everybody who compiles nothing."""


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
        takes_new = branching.gives_new(_before(ops, number))
        _add(root, op.path, Layer(op, kernel_of(op, kernels, takes_new), device, takes_new))


def _before(ops: tuple[ir.Op, ...], number: int) -> tuple[ir.Op, ...]:
    """The ops before one in its part of the network; what another part gave is a feature map that stays as it is."""
    part = _part(ops[number].path)
    return tuple(takewhile(lambda op: _part(op.path) == part, reversed(ops[:number])))[::-1]


def _part(path: str) -> str:
    """What runs as one: the stem, a downsample, a block or the head."""
    names = path.split(".")
    length = 1 if names[0] != "stages" else 4 if names[2] == "blocks" else 3
    return ".".join(names[:length])


def _add(root: nn.Module, path: str, module: nn.Module) -> None:
    *parents, name = path.split(".")
    descend(root, parents, Steps).add_module(name, module)


def _check_parameters(here: ir.Program, there: ir.Program, own: Collection[str]) -> None:
    """Raise SpecError unless the same modules, with the parameters `own`, can run both programs."""
    ours, theirs = ir.parameter_table(here), ir.parameter_table(there)
    known = {op.path for op in ir.walk(here.ops)}
    new = next((op.path for op in ir.walk(there.ops) if op.path not in known), None)
    differing = next((name for name, row in ours.items() if name in own and theirs[name].shape != row.shape), None)
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
