"""A plan goes in; a backbone comes out whose mixing branches run on maps padded with zeros to whole multiples.

B images, H x W positions, C channels.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archspec import ir
from archspec.dense.multiples import mixes, padded_branch, padded_images
from archspec.features.backbone import Features
from archspec.lower import Plan
from archspec.module import REMEMBERED, Layer, load_kernel


class ToSize(nn.Module):
    """(B, H, W, C) -> (B, H', W', C): zeros put after its rows and columns, or rows and columns cut."""

    def __init__(self, size: ir.Pair) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        below, right = self.size[0] - x.shape[1], self.size[1] - x.shape[2]
        return F.pad(x, (0, 0, 0, right, 0, below)) if below or right else x


class PaddedFeatures(Features):
    """Features whose mixing branches see the map padded to a multiple of `multiple` positions at its end."""

    def __init__(
        self,
        plan: Plan,
        device: torch.device | None,
        plan_at: Callable[[int, int], Plan] | None,
        *,
        multiple: int,
        **options: Any,
    ) -> None:
        super().__init__(plan, device, plan_at, **options)
        self.multiple = multiple
        self.padded_plans: dict[ir.Pair, Plan] = {}
        self.branches = [op.path for op in plan.program.ops if op.path.startswith("stages.") and mixes(op)]
        self.branches = [path for path in self.branches if _has(self, path)]
        for path in self.branches:
            _surround(self.get_submodule(path))
        self._set_sizes()

    def run_at(self, height: int, width: int) -> None:
        super().run_at(height, width)
        self._set_sizes()

    def _set_sizes(self) -> None:
        program = self.served[self.size][0]
        images = padded_images(program, self.multiple)
        ops = {op.path: op for op in program.ops}
        for path in self.branches:
            op = ops[path]
            assert isinstance(op.source, ir.Feature)
            runs = self._serve_branch(path, op, images[path]) if path in images else op.source
            module = self.get_submodule(path)
            cast(ToSize, module.get_submodule("pad")).size = (runs.height, runs.width)
            cast(ToSize, module.get_submodule("crop")).size = (op.source.height, op.source.width)

    def _serve_branch(self, path: str, op: ir.Op, image: ir.Pair) -> ir.Feature:
        """The layers of a branch take the ops and kernels of the larger map, which comes back."""
        assert self.plan_at is not None
        if image not in self.padded_plans:
            self.padded_plans[image] = self.plan_at(*image)
            if len(self.padded_plans) > REMEMBERED:
                del self.padded_plans[next(iter(self.padded_plans))]
        plan = self.padded_plans[image]
        branch, kernels = padded_branch(plan.program, path, op, self.multiple), plan.kernels()
        inner = {each.path: each for each in ir.walk(branch.ops)}
        for layer in self.get_submodule(path).modules():
            if isinstance(layer, Layer):
                layer.op = inner[layer.op.path]
                if layer.op.path in kernels:
                    layer.kernel = load_kernel(kernels[layer.op.path])
        assert isinstance(branch.source, ir.Feature)
        return branch.source


def _surround(branch: nn.Module) -> None:
    """Pad first, cut last; but a drop path stays at the end, where it is one pass with the sum."""
    steps = OrderedDict(branch.named_children())
    dropped = [name for name, step in steps.items() if isinstance(step, Layer) and isinstance(step.op, ir.DropPath)]
    last = {name: steps.pop(name) for name in dropped}
    for name in (*steps, *last):
        delattr(branch, name)
    for name, step in {"pad": ToSize((0, 0)), **steps, "crop": ToSize((0, 0)), **last}.items():
        branch.add_module(name, step)


def _has(module: nn.Module, path: str) -> bool:
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True
