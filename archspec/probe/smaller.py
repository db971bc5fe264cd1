"""A compiled module and a size go in; the same module on a smaller map comes out, where its parameters allow it.

Rows of a Jacobian cost as much as the map is large; two windows and a border show what there is to see.
"""

import copy
from dataclasses import replace

from torch import nn

from archspec import ir
from archspec.lower import choose
from archspec.module import Branched, Layer, load_kernel

LEAST = 14


def smaller(module: nn.Module) -> tuple[nn.Module, ir.Feature] | None:
    """The module on a map of at most twice its windows (at least 14 positions a side), and that map.

    None where it is on such a map already, or its parts stand on different maps, or parameters would change shape.
    """
    ops = [part.op for part in module.modules() if isinstance(part, Layer)]
    if not ops or any(isinstance(part, Branched) for part in module.modules()):
        return None
    maps = {(f.height, f.width, f.class_tokens) for op in ops for f in (op.source, op.target)}
    if len(maps) != 1:
        return None
    ((height, width, tokens),) = maps
    size = tuple(min(length, wanted) for length, wanted in zip((height, width), _wanted(ops), strict=True))
    if tokens or size == (height, width):
        return None
    changed = copy.deepcopy(module)
    for part in changed.modules():
        if isinstance(part, Layer):
            op = replace(part.op, source=_resized(part.op.source, size), target=_resized(part.op.target, size))
            if [row.shape for row in op.parameters] != [row.shape for row in part.op.parameters]:
                return None
            part.op = op
            if isinstance(op, ir.Connect):
                part.kernel = load_kernel(choose(op).rule.kernel)
    return changed, _resized(ops[0].source, size)


def _wanted(ops: list[ir.Op]) -> tuple[int, int]:
    down = across = LEAST
    for op in ops:
        if isinstance(op, ir.Connect) and isinstance(op.space, ir.Window):
            down, across = max(down, 2 * op.space.size[0]), max(across, 2 * op.space.size[1])
        elif isinstance(op, ir.Connect) and isinstance(op.space, ir.Sliding):
            reach = [dilation * (size - 1) + 1 for size, dilation in zip(op.space.size, op.space.dilation, strict=True)]
            down, across = max(down, reach[0] + 4), max(across, reach[1] + 4)
        elif isinstance(op, ir.Connect) and not isinstance(op.space, ir.Point):
            down, across = max(down, op.source.height), max(across, op.source.width)
    return down, across


def _resized(feature: ir.Feature, size: tuple[int, ...]) -> ir.Feature:
    return replace(feature, height=size[0], width=size[1])
