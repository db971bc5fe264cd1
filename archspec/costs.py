"""A program goes in; its exact cost comes out: parameters, multiply-adds, paper FLOPs, activation bytes. No torch.

params        trainable parameters; batch statistics are buffers and not counted
macs          multiply-adds of connections, batch 1: every output position times the positions it reads times the
              channels it reads; no bias, norm, activation or softmax. Positions beyond the border count, as in
              every convolution counter, and so do the positions that pad a window. Equals
              torch.utils.flop_counter / 2.
paper_flops   the convention of arXiv 2106.04263, inferred from its tables (it reproduces all 19 ImageNet rows that
              the authors measured): macs + conv bias + 2 per element normalised + 1 per ReLU + 5 per GELU + 5 per
              softmax element + pooled elements; not counted: linear bias, affine norm, and the aggregation of
              weights predicted per position. Other activations are not in the paper and count nothing.
activation_bytes            what training keeps for the backward pass, per image: each tensor that some op's
                            gradient reads, once; not counted: workspace and parameters
inference_activation_bytes  the most that is alive at once, per image: what an op reads, gives and holds inside,
                            and the inputs of the residual branches around it
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from archspec import ir

FLOAT32_BYTES = 4
PAPER_FLOPS_PER_ACTIVATION = {"relu": 1, "gelu": 5}
PAPER_FLOPS_PER_SOFTMAX = 5
PAPER_FLOPS_PER_NORM = {"layer": 2, "batch": 2, "affine": 0}
# Ops whose gradient reads what came in, and activations whose gradient reads what went out.
_ACTIVATIONS_THAT_KEEP_OUTPUT = ("relu", "sigmoid", "tanh")


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
    kept, peak = _memory(program.ops)
    return Cost(
        params=sum(row.params for row in rows),
        macs=sum(row.macs for row in rows),
        paper_flops=sum(row.paper_flops for row in rows),
        activation_bytes=FLOAT32_BYTES * kept,
        inference_activation_bytes=FLOAT32_BYTES * peak,
    )


def op_costs(program: ir.Program) -> Iterator[OpCost]:
    """The cost of each op, in the order they run."""
    for op in ir.walk(program.ops):
        if not isinstance(op, ir.Residual):
            params = sum(row.count for row in op.parameters if row.trainable)
            yield OpCost(op.path, type(op).__name__.lower(), params, op_macs(op), op_paper_flops(op))


def op_macs(op: ir.Op) -> int:
    """Multiply-adds of one op for one image."""
    if not isinstance(op, ir.Connect):
        return 0
    return aggregation_macs(op) + _weight_macs(op)


def aggregation_macs(op: ir.Connect) -> int:
    """Multiply-adds of y = W v once W is known: the entries of W, counting those beyond the border."""
    return _reading_positions(op) * op.neighbours * op.target.channels * (op.source.channels // op.channel_groups)


def _reading_positions(op: ir.Connect) -> int:
    if isinstance(op.space, ir.Window):
        return prod(op.space.padded(op.source))
    return op.target.positions


def _weight_macs(op: ir.Connect) -> int:
    """Multiply-adds of finding W from x."""
    width = op.source.channels
    if isinstance(op.weights, ir.Attention):
        projections = 3 if op.weights.value else 2
        positions = _reading_positions(op)
        return positions * width * (projections * width + op.neighbours)
    if isinstance(op.weights, ir.Predicted):
        per_place = op.weights.hidden * (width + prod(op.weight_shape))
        return per_place * _predictions(op, op.weights)
    return 0


def _predictions(op: ir.Connect, weights: ir.Predicted) -> int:
    return 1 if weights.source == "pooled" else op.source.positions


def op_paper_flops(op: ir.Op) -> int:
    """One op in the convention of the paper; see this module's docstring."""
    if isinstance(op, ir.Norm):
        return PAPER_FLOPS_PER_NORM[op.kind] * op.source.elements
    if isinstance(op, ir.Activation):
        return PAPER_FLOPS_PER_ACTIVATION.get(op.kind, 0) * op.source.elements
    if isinstance(op, ir.Pool):
        return op.source.height * op.source.width * op.source.channels if op.kind == "mean" else 0
    if isinstance(op, ir.Connect):
        return _connect_paper_flops(op)
    return 0


def _connect_paper_flops(op: ir.Connect) -> int:
    flops = op_macs(op)
    if op.bias == "channels" and isinstance(op.space, ir.Sliding):
        flops += op.target.elements
    if isinstance(op.weights, ir.Attention):
        flops += PAPER_FLOPS_PER_SOFTMAX * _reading_positions(op) * op.neighbours * op.kernels
    if isinstance(op.weights, ir.Predicted):
        flops += _predictor_paper_flops(op, op.weights)
    return flops


def _predictor_paper_flops(op: ir.Connect, weights: ir.Predicted) -> int:
    """The predictor is two 1x1 convolutions around a batch norm and an activation."""
    per_place = PAPER_FLOPS_PER_ACTIVATION.get(weights.act, 0) * weights.hidden
    per_place += weights.hidden if weights.hidden_bias else 0
    per_place += PAPER_FLOPS_PER_NORM["batch"] * weights.hidden if weights.norm else 0
    per_place += prod(op.weight_shape)
    flops = per_place * _predictions(op, weights)
    if weights.source == "pooled":
        return flops + op.source.elements
    return flops - aggregation_macs(op)


# ------------------------------------------------------------------ activation memory, in elements


def _memory(ops: tuple[ir.Op, ...], held: int = 0) -> tuple[int, int]:
    """Elements kept for the backward pass, and the most alive at once; `held` waits outside these ops."""
    kept = peak = 0
    before: ir.Op | None = None
    for op in ops:
        # Between two ops is one tensor: kept once, whether the gradient of the one before or of this one reads it.
        if _keeps_input(op) or (before is not None and _keeps_output(before)):
            kept += op.source.elements
        kept += _kept_inside(op)
        if isinstance(op, ir.Residual):
            inner_kept, inner_peak = _memory(op.ops, held + op.source.elements)
            kept, peak = kept + inner_kept, max(peak, inner_peak)
        else:
            peak = max(peak, held + op.source.elements + op.target.elements + _alive_inside(op))
        before = op
    return kept, peak


def _keeps_input(op: ir.Op) -> bool:
    if isinstance(op, ir.Activation):
        return op.kind not in _ACTIVATIONS_THAT_KEEP_OUTPUT
    return isinstance(op, ir.Connect | ir.Norm | ir.Scale)


def _keeps_output(op: ir.Op) -> bool:
    return isinstance(op, ir.Activation) and op.kind in _ACTIVATIONS_THAT_KEEP_OUTPUT


def _kept_inside(op: ir.Op) -> int:
    """What a connection keeps besides its input: projections and probabilities, or the predictor's tensors."""
    if not isinstance(op, ir.Connect):
        return 0
    if isinstance(op.weights, ir.Attention):
        positions = _reading_positions(op)
        projections = 3 if op.weights.value else 2
        return positions * (projections * op.source.channels + op.neighbours * op.kernels)
    if isinstance(op.weights, ir.Predicted):
        tensors = 3 if op.weights.norm else 2
        per_place = tensors * op.weights.hidden + prod(op.weight_shape)
        return per_place * _predictions(op, op.weights)
    return 0


def _alive_inside(op: ir.Op) -> int:
    if not isinstance(op, ir.Connect):
        return 0
    if isinstance(op.weights, ir.Predicted):
        return (op.weights.hidden + prod(op.weight_shape)) * _predictions(op, op.weights)
    return _kept_inside(op)
