"""A program goes in; its exact cost comes out: parameters, multiply-adds, paper FLOPs, activation bytes. No torch.

params        trainable parameters; batch statistics are buffers and not counted
macs          multiply-adds of connections, batch 1: every output position times the positions it reads times the
              channels it reads; no bias, norm, activation, softmax or elementwise product. Positions beyond the
              border count, as in every convolution counter, and so do the positions that pad a window. Equals
              torch.utils.flop_counter / 2.
paper_flops   the convention of arXiv 2106.04263, inferred from its tables (it reproduces all 19 ImageNet rows that
              the authors measured): macs + conv bias + 2 per element normalised + 1 per ReLU + 5 per GELU + 5 per
              softmax element + elements that a pooling layer takes (a mean of the whole map, a mean or maximum that
              slides); not counted: the maximum of a whole map, linear bias, affine norm, products, sums, resizing, and
              the aggregation of weights predicted per position. Other activations (ReLU6 too) count nothing: so do
              they in published counts of MobileNet and EfficientNet. A linear layer is a convolution, and its bias
              counts, where the published code writes it as one: before a batch norm (HRNet's last layer), and on one
              position of a gate (squeeze-excite).
activation_bytes            what training keeps for the backward pass, per image: each tensor that some op's
                            gradient reads, once; not counted: workspace and parameters
inference_activation_bytes  the most that is alive at once, per image: what an op reads, gives and holds inside,
                            and what waits meanwhile: inputs and results of the branches around it
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from archspec import ir
from archspec.costs.connection import (
    PAPER_FLOPS_PER_ACTIVATION,
    PAPER_FLOPS_PER_NORM,
    aggregation_macs,
    connect_paper_flops,
    weight_macs,
)
from archspec.costs.maps import elements

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Cost:
    """Exact integers for one image (batch 1) in float32."""

    params: int
    macs: int
    paper_flops: int
    activation_bytes: int
    inference_activation_bytes: int


@dataclass(frozen=True)
class OpCost:
    """One row of `archspec show --stage cost`."""

    path: str
    kind: str
    params: int
    macs: int
    paper_flops: int


def cost(program: ir.Program) -> Cost:
    """The cost of a program. Formulas and sources: this module's docstring."""
    rows = tuple(op_costs(program))
    kept, peak = elements(program)
    return Cost(
        params=sum(row.params for row in rows),
        macs=sum(row.macs for row in rows),
        paper_flops=sum(row.paper_flops for row in rows),
        activation_bytes=FLOAT32_BYTES * kept,
        inference_activation_bytes=FLOAT32_BYTES * peak,
    )


def op_costs(program: ir.Program) -> Iterator[OpCost]:
    """The cost of each op, in the order they run; ops that hold others cost nothing of their own."""
    return _op_costs(program.ops, multiplied=False)


def _op_costs(ops: tuple[ir.Op, ...], multiplied: bool) -> Iterator[OpCost]:
    """`multiplied`: what the ops give is a factor of a product."""
    for op, after in zip_longest(ops, ops[1:]):
        if isinstance(op, ir.Residual | ir.Branches):
            for inner in ir.inside(op):
                yield from _op_costs(inner, isinstance(op, ir.Branches) and op.join == "product")
            continue
        params = sum(row.count for row in op.parameters if row.trainable)
        flops = op_paper_flops(op)
        if _is_convolution_of_one_tap(op, after, multiplied):
            flops += op.target.elements
        yield OpCost(op.path, type(op).__name__.lower(), params, op_macs(op), flops)


def _is_convolution_of_one_tap(op: ir.Op, after: ir.Op | None, multiplied: bool) -> bool:
    """Whether the published code writes a linear layer with a bias as a 1x1 convolution, whose bias counts."""
    if not isinstance(op, ir.Connect) or not isinstance(op.space, ir.Point) or op.bias != "channels":
        return False
    squeezed = multiplied and op.target.positions == 1
    return squeezed or (isinstance(after, ir.Norm) and after.kind == "batch")


def op_macs(op: ir.Op) -> int:
    """Multiply-adds of one op for one image."""
    if not isinstance(op, ir.Connect):
        return 0
    return aggregation_macs(op) + weight_macs(op)


def op_paper_flops(op: ir.Op) -> int:
    """One op, wherever it stands, in the convention of the paper; see this module's docstring."""
    if isinstance(op, ir.Norm):
        centring = op.source.elements if op.centring else 0  # pools the map
        return PAPER_FLOPS_PER_NORM[op.kind] * op.source.elements + centring
    if isinstance(op, ir.Activation):
        return PAPER_FLOPS_PER_ACTIVATION.get(op.kind, 0) * op.source.elements
    if isinstance(op, ir.Pool):
        return op.source.height * op.source.width * op.source.channels if op.kind == "mean" else 0
    if isinstance(op, ir.SlidingPool):
        return op.source.elements
    if isinstance(op, ir.Connect):
        return connect_paper_flops(op)
    return 0
