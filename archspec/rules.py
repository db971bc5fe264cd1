"""A connection goes in; whether a kernel serves it, and otherwise why not, comes out: one rule a kernel.

The rules are tried in order and the first that accepts is taken, so a rule may assume that those above it refused.
Here are those of static, pooled and local weights; those of attention are beside the plan, in lower.py. Kernels are
named, not imported: planning needs no torch.
"""

from collections.abc import Callable
from dataclasses import dataclass

from archspec import ir
from archspec.ir import Connect

Refusal = str | None


def wants(*conditions: tuple[bool, str]) -> Refusal:
    """The first condition that does not hold."""
    return next((reason for holds, reason in conditions if not holds), None)


def _space(op: Connect) -> str:
    return type(op.space).__name__.lower()


def _source(op: Connect) -> str:
    return op.weights.source if isinstance(op.weights, ir.Predicted) else type(op.weights).__name__.lower()


def asks(op: Connect, spaces: str = "", weights: str = "", positions: str = "", mixes: bool | None = None) -> Refusal:
    """Refuse unless each axis named here has one of the values given."""
    kind = "mix" if mixes else "are separate"
    return wants(
        (not spaces or _space(op) in spaces.split(), f"space is {_space(op)}"),
        (not weights or _source(op) in weights.split(), f"weights are {_source(op)}"),
        (mixes is None or mixes == (op.channels != "separate"), f"wanted channels that {kind}"),
        (not positions or op.share_positions in positions.split(), f"positions share {op.share_positions}"),
    )


@dataclass(frozen=True)
class Rule:
    """A kernel (file and function in archspec/kernels), when it applies, and what makes it fast."""

    name: str
    kernel: str
    accepts: Callable[[Connect], Refusal]
    why: str


def _linear(op: Connect) -> Refusal:
    return asks(op, "point", "static", "offsets", mixes=True) or wants((op.channels == "full", "channels in groups"))


def _linear_in_groups(op: Connect) -> Refusal:
    return asks(op, "point", "static", "offsets", mixes=True)


def _patches(op: Connect) -> Refusal:
    other = asks(op, "sliding", "static", "offsets", mixes=True)
    if other or not isinstance(op.space, ir.Sliding):
        return other
    space = op.space
    return wants(
        (op.channels == "full", "channels in groups"),
        (space.size == space.stride, "windows overlap or leave gaps: size is not stride"),
        (space.dilation == (1, 1), "dilated"),
        (space.before == (0, 0), "windows begin before the map"),
        # Measured at 224 px: patches of 16x16x3 are as fast either way, of 4x4x3 twice as fast as a convolution.
        (op.fan_in >= 192, "few numbers a patch: a convolution is faster"),
    )


def _convolution(op: Connect) -> Refusal:
    return asks(op, "sliding", "static", "offsets")


def _tokens(op: Connect) -> Refusal:
    return asks(op, "full reduced", "static", "none", mixes=False) or wants(
        (op.share_channels == "all", "channels do not share one matrix")
    )


def _small_matrix(op: Connect) -> Refusal:
    """A matrix over offsets is laid out in full: worth it where it stays smaller than what it multiplies."""
    slots = op.space.positions if isinstance(op.space, ir.Window) else op.target.positions
    matrix, features = op.kernels * slots * op.neighbours, op.source.elements
    return wants((op.share_positions != "offsets" or matrix <= 8 * features, "the laid out matrix is too large"))


def _mixing(op: Connect) -> Refusal:
    return asks(op, "full window reduced", "static", mixes=False) or _small_matrix(op)


def _mixing_from_pooled(op: Connect) -> Refusal:
    return asks(op, "full window", "pooled") or _small_matrix(op)


def _dynamic_in_windows(op: Connect) -> Refusal:
    return asks(op, "full window", "pooled", "offsets")


def _convolution_in_windows(op: Connect) -> Refusal:
    return asks(op, "full window", "static", "offsets")


def _mixing_from_positions(op: Connect) -> Refusal:
    enough = 4 * op.kernels <= op.source.channels
    return asks(op, "full window reduced", "local") or wants(
        (enough, f"{op.kernels} kernels for {op.source.channels} channels: predicted weights would outgrow the map")
    )


MAP_RULES: tuple[Rule, ...] = (
    Rule("linear", "linear.linear", _linear, "one matrix product over all positions of the batch"),
    Rule(
        "linear in groups", "linear.linear_in_groups", _linear_in_groups, "one batched matrix product, group by group"
    ),
    Rule("patches", "patches.patches", _patches, "windows do not overlap: cutting them out is one copy, then linear"),
    Rule(
        "depth-wise convolution",
        "convolution.sliding_by_channel",
        lambda op: asks(op, "sliding", "static", "offsets", mixes=False),
        "channels-last depth-wise convolution, with a gradient of the weight of our own on a CPU",
    ),
    Rule("convolution", "convolution.sliding", _convolution, "torch's convolution on channels-last maps"),
    Rule("token mixing", "mixing.tokens", _tokens, "one matrix from the left: no transposed copies of the map"),
    Rule("mixing", "mixing.static", _mixing, "one batched matrix product over the windows, kernel by kernel"),
    Rule("pooled mixing", "mixing.from_pooled", _mixing_from_pooled, "one batched matrix product per image"),
    Rule(
        "convolution in windows",
        "convolution.inside_windows",
        _convolution_in_windows,
        "offsets inside a window are taps of a convolution over it",
    ),
    Rule("gate", "gate.static", lambda op: asks(op, "point", "static", mixes=False), "an elementwise product"),
    Rule(
        "pooled gate",
        "gate.from_pooled",
        lambda op: asks(op, "point", "pooled", mixes=False),
        "an elementwise product per image",
    ),
    Rule(
        "dynamic linear",
        "dynamic.point",
        lambda op: asks(op, "point", "pooled", mixes=True),
        "one batched matrix product, image by image",
    ),
    Rule("local gate", "gate.from_position", lambda op: asks(op, "point", "local"), "an elementwise product"),
    Rule(
        "dynamic convolution",
        "dynamic.sliding",
        lambda op: asks(op, "sliding", "pooled"),
        "a channels-last depth-wise convolution per image (one call with the batch in groups on an accelerator)",
    ),
    Rule(
        "dynamic convolution in windows",
        "dynamic.inside_windows",
        _dynamic_in_windows,
        "offsets inside a window are taps of a convolution over it, per image",
    ),
    Rule("local taps", "local.sliding", lambda op: asks(op, "sliding", "local"), "weights predicted tap by tap"),
    Rule(
        "local taps, static",
        "local.static",
        lambda op: asks(op, "sliding", "static", "none", mixes=False),
        "one product per tap with shifted views of the map",
    ),
    Rule("local mixing", "mixing.from_positions", _mixing_from_positions, "one batched matrix product"),
    Rule(
        "local slots",
        "local.in_windows",
        lambda op: asks(op, "full window reduced", "local"),
        "weights predicted slot by slot",
    ),
    Rule(
        "cross",
        "cross.static",
        lambda op: asks(op, "cross", "static", mixes=False),
        "a matrix product along the rows and one along the columns",
    ),
    Rule("pooled cross", "cross.from_pooled", lambda op: asks(op, "cross", "pooled"), "the same, per image"),
    Rule(
        "local cross", "cross.from_positions", lambda op: asks(op, "cross", "local"), "the same, predicted at positions"
    ),
    Rule(
        "dense point",
        "dense.point",
        lambda op: asks(op, "point", "static", "none", mixes=True),
        "a matrix per position",
    ),
    Rule(
        "dense sliding",
        "dense.sliding",
        lambda op: asks(op, "sliding", "static", "none", mixes=True),
        "a matrix per tap",
    ),
    Rule(
        "dense cross",
        "cross.dense",
        lambda op: asks(op, "cross", "static", "none", mixes=True),
        "a matrix along the rows and one along the columns",
    ),
    Rule(
        "dense cross over offsets",
        "cross.dense_offsets",
        lambda op: asks(op, "cross", "static", "offsets", mixes=True),
        "a convolution along the rows and one along the columns",
    ),
    Rule(
        "dense",
        "dense.in_windows",
        lambda op: asks(op, "full window reduced", "static", "none windows", mixes=True),
        "a matrix per window",
    ),
)
