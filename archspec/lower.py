"""A program goes in; its plan comes out: which kernel serves each connection, and why no faster one does.

The rules are tried in order and the first that accepts is taken. A new fast path is one kernel and one rule, here or in
rules.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.ir import Connect
from archspec.rules import MAP_RULES, Refusal, Rule, asks, wants


def _attention_over_map(op: Connect) -> Refusal:
    other = asks(op, "full reduced", "attention")
    if other or not isinstance(op.weights, ir.Attention):
        return other
    weights = op.weights
    return wants(
        (weights.softmax, "there is no softmax"),
        (not weights.relative_bias, "there is a relative bias to add"),
        (not weights.centre and not weights.post_convolution, "there is more to add than a relative bias"),
        (not weights.mix_heads, "heads are mixed"),
    )


def _few_heads(op: Connect) -> Refusal:
    """Logits stay smaller than an unfolded map, and so do those of all offsets (`centre`)."""
    centre = isinstance(op.weights, ir.Attention) and op.weights.centre
    logits = op.kernels * (max(op.relative_offsets, op.neighbours) if centre else op.neighbours)
    enough = 4 * logits <= op.source.channels * op.neighbours
    return wants((enough, f"{op.kernels} heads for {op.source.channels} channels: logits would outgrow the map"))


def _attention_in_windows(op: Connect) -> Refusal:
    return asks(op, "full window reduced", "attention") or _few_heads(op)


def _attention_in_parts(op: Connect) -> Refusal:
    return asks(op, "full window reduced", "attention")


ATTENTION_RULES: tuple[Rule, ...] = (
    Rule("attention over the map", "attention.over_map", _attention_over_map, "torch's fused attention"),
    Rule(
        "attention in windows",
        "attention.in_windows",
        _attention_in_windows,
        "windows and heads cut in one copy, bias and mask added as one",
    ),
    Rule("attention in parts", "attention.in_parts", _attention_in_parts, "some windows or queries at a time, twice"),
    Rule(
        "attention over taps",
        "attention_sliding.over_taps",
        lambda op: asks(op, "sliding", "attention"),
        "dot products tap by tap with shifted views of the map",
    ),
    Rule(
        "attention over a cross",
        "attention_cross.over_cross",
        lambda op: asks(op, "cross", "attention"),
        "one batched matrix product along the rows, one along the columns",
    ),
    Rule(
        "outlook", "outlook.outlook", lambda op: asks(op, "sliding", "outlook"), "windows cut and summed while in cache"
    ),
)

RULES = (*MAP_RULES, *ATTENTION_RULES)


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
