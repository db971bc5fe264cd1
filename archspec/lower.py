"""A program goes in; its plan comes out: which kernel serves each connection, and why no faster one does.

The rules are tried in order and the first that accepts is taken, so a rule may assume that those above it refused.
A new fast path is one kernel and one rule. Kernels are named, not imported: planning needs no torch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.ir import Connect

Refusal = str | None


def _wants(*conditions: tuple[bool, str]) -> Refusal:
    """The first condition that does not hold."""
    return next((reason for holds, reason in conditions if not holds), None)


def _space(op: Connect) -> str:
    return type(op.space).__name__.lower()


def _source(op: Connect) -> str:
    return op.weights.source if isinstance(op.weights, ir.Predicted) else type(op.weights).__name__.lower()


def _is(op: Connect, spaces: str = "", weights: str = "", positions: str = "", mixes: bool | None = None) -> Refusal:
    """Refuse unless each axis named here has one of the values given."""
    kind = "mix" if mixes else "are separate"
    return _wants(
        (not spaces or _space(op) in spaces.split(), f"space is {_space(op)}"),
        (not weights or _source(op) in weights.split(), f"weights are {_source(op)}"),
        (mixes is None or mixes == (op.channels != "separate"), f"wanted channels that {kind}"),
        (not positions or op.share_positions in positions.split(), f"positions share {op.share_positions}"),
    )


def _linear(op: Connect) -> Refusal:
    return _is(op, "point", "static", "offsets", mixes=True) or _wants((op.channels == "full", "channels in groups"))


def _linear_in_groups(op: Connect) -> Refusal:
    return _is(op, "point", "static", "offsets", mixes=True)


def _patches(op: Connect) -> Refusal:
    other = _is(op, "sliding", "static", "offsets", mixes=True)
    if other or not isinstance(op.space, ir.Sliding):
        return other
    space = op.space
    return _wants(
        (op.channels == "full", "channels in groups"),
        (space.size == space.stride, "windows overlap or leave gaps: size is not stride"),
        (space.dilation == (1, 1), "dilated"),
        (space.before == (0, 0), "windows begin before the map"),
        # Measured at 224 px: patches of 16x16x3 are as fast either way, of 4x4x3 twice as fast as a convolution.
        (op.fan_in >= 192, "few numbers a patch: a convolution is faster"),
    )


def _convolution(op: Connect) -> Refusal:
    return _is(op, "sliding", "static", "offsets")


def _tokens(op: Connect) -> Refusal:
    return _is(op, "full", "static", "none", mixes=False) or _wants(
        (op.share_channels == "all", "channels do not share one matrix")
    )


def _small_matrix(op: Connect) -> Refusal:
    """A matrix over offsets is laid out in full: worth it where it stays smaller than what it multiplies."""
    matrix, features = op.kernels * op.neighbours**2, op.source.elements
    return _wants((op.share_positions != "offsets" or matrix <= 8 * features, "the laid out matrix is too large"))


def _mixing(op: Connect) -> Refusal:
    return _is(op, "full window", "static", mixes=False) or _small_matrix(op)


def _mixing_from_pooled(op: Connect) -> Refusal:
    return _is(op, "full window", "pooled") or _small_matrix(op)


def _dynamic_in_windows(op: Connect) -> Refusal:
    return _is(op, "full window", "pooled", "offsets")


def _convolution_in_windows(op: Connect) -> Refusal:
    return _is(op, "full window", "static", "offsets")


def _attention_over_map(op: Connect) -> Refusal:
    other = _is(op, "full", "attention")
    return other or _wants(
        (isinstance(op.weights, ir.Attention) and not op.weights.relative_bias, "there is a relative bias to add")
    )


def _few_heads(op: Connect) -> Refusal:
    enough = 4 * op.kernels <= op.source.channels
    return _wants((enough, f"{op.kernels} heads for {op.source.channels} channels: logits would outgrow the map"))


def _attention_in_windows(op: Connect) -> Refusal:
    return _is(op, "full window", "attention") or _few_heads(op)


def _attention_by_head(op: Connect) -> Refusal:
    return _is(op, "full window", "attention")


def _mixing_from_positions(op: Connect) -> Refusal:
    enough = 4 * op.kernels <= op.source.channels
    return _is(op, "full window", "local") or _wants(
        (enough, f"{op.kernels} kernels for {op.source.channels} channels: predicted weights would outgrow the map")
    )


@dataclass(frozen=True)
class Rule:
    """A kernel (file and function in archspec/kernels), when it applies, and what makes it fast."""

    name: str
    kernel: str
    accepts: Callable[[Connect], Refusal]
    why: str


RULES: tuple[Rule, ...] = (
    Rule("linear", "linear.linear", _linear, "one matrix product over all positions of the batch"),
    Rule(
        "linear in groups", "linear.linear_in_groups", _linear_in_groups, "one batched matrix product, group by group"
    ),
    Rule("patches", "patches.patches", _patches, "windows do not overlap: cutting them out is one copy, then linear"),
    Rule(
        "depth-wise convolution",
        "convolution.sliding_by_channel",
        lambda op: _is(op, "sliding", "static", "offsets", mixes=False),
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
    Rule("gate", "gate.static", lambda op: _is(op, "point", "static", mixes=False), "an elementwise product"),
    Rule("pooled gate", "gate.from_pooled", lambda op: _is(op, "point", "pooled"), "an elementwise product per image"),
    Rule("local gate", "gate.from_position", lambda op: _is(op, "point", "local"), "an elementwise product"),
    Rule(
        "dynamic convolution",
        "dynamic.sliding",
        lambda op: _is(op, "sliding", "pooled"),
        "a channels-last depth-wise convolution per image (one call with the batch in groups on an accelerator)",
    ),
    Rule(
        "dynamic convolution in windows",
        "dynamic.inside_windows",
        _dynamic_in_windows,
        "offsets inside a window are taps of a convolution over it, per image",
    ),
    Rule("attention over the map", "attention.over_map", _attention_over_map, "torch's fused attention"),
    Rule(
        "attention in windows",
        "attention.in_windows",
        _attention_in_windows,
        "windows and heads cut in one copy, bias and mask added as one",
    ),
    Rule("attention by head", "attention.by_head", _attention_by_head, "some heads at a time, computed again backward"),
    Rule("local taps", "local.sliding", lambda op: _is(op, "sliding", "local"), "weights predicted tap by tap"),
    Rule(
        "local taps, static",
        "local.static",
        lambda op: _is(op, "sliding", "static", "none", mixes=False),
        "one product per tap with shifted views of the map",
    ),
    Rule("local mixing", "mixing.from_positions", _mixing_from_positions, "one batched matrix product"),
    Rule(
        "local slots", "local.in_windows", lambda op: _is(op, "full window", "local"), "weights predicted slot by slot"
    ),
    Rule(
        "dense point", "dense.point", lambda op: _is(op, "point", "static", "none", mixes=True), "a matrix per position"
    ),
    Rule(
        "dense sliding",
        "dense.sliding",
        lambda op: _is(op, "sliding", "static", "none", mixes=True),
        "a matrix per tap",
    ),
    Rule(
        "dense",
        "dense.in_windows",
        lambda op: _is(op, "full window", "static", "none windows", mixes=True),
        "a matrix per window",
    ),
)


@dataclass(frozen=True)
class Choice:
    """The rule taken for one connection, and the rules tried before it with the reason each refused."""

    op: Connect
    rule: Rule
    refused: tuple[tuple[Rule, str], ...]

    def __str__(self) -> str:
        lines = [f"{self.op.path}: {self.rule.name} ({self.rule.kernel}): {self.rule.why}"]
        lines += [f"    not {rule.name}: {reason}" for rule, reason in self.refused]
        return "\n".join(lines)


@dataclass(frozen=True)
class Plan:
    """The kernel of every connection of a program, in the order they run."""

    program: ir.Program
    choices: tuple[Choice, ...]

    def kernels(self) -> dict[str, str]:
        """The kernel of each connection by its path."""
        return {choice.op.path: choice.rule.kernel for choice in self.choices}

    def __str__(self) -> str:
        return "\n".join([f"{self.program.name}: plan", *map(str, self.choices)])


def plan(program: ir.Program) -> Plan:
    """Choose a kernel for every connection. Raises SpecError if none accepts one (no legal layer is refused)."""
    connections = (op for op in ir.walk(program.ops) if isinstance(op, Connect))
    return Plan(program, tuple(choose(op) for op in connections))


def choose(op: Connect, rules: tuple[Rule, ...] = RULES) -> Choice:
    """The first rule that accepts a connection."""
    refused: list[tuple[Rule, str]] = []
    for rule in rules:
        reason = rule.accepts(op)
        if reason is None:
            return Choice(op, rule, tuple(refused))
        refused.append((rule, reason))
    raise SpecError([Problem("no kernel accepts this connection", op.facts(), op.path)])


def accepting(op: Connect) -> Iterator[Rule]:
    """Every rule that could serve a connection, the one taken first: what a test runs against the reference."""
    return (rule for rule in RULES if rule.accepts(op) is None)
