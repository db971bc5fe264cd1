"""A program goes in; whether a proxy means anything for it comes out: valid, doubtful (warned), or refused, and why."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from archspec import ir

GATES = frozenset({"relu", "relu6"})
"""Activations with a linear region on each side of zero (relu6: of its lower bend)."""


@dataclass(frozen=True)
class Verdict:
    """Whether a score may be computed, and what is to be said about it."""

    kind: Literal["valid", "doubtful", "refused"]
    reason: str = ""


VALID = Verdict("valid")


@dataclass(frozen=True)
class Traits:
    """What of a program matters to proxies."""

    program: ir.Program

    @cached_property
    def _ops(self) -> tuple[ir.Op, ...]:
        return tuple(ir.walk(self.program.ops))

    @cached_property
    def norms(self) -> frozenset[str]:
        return frozenset(op.kind for op in self._ops if isinstance(op, ir.Norm))

    @cached_property
    def activations(self) -> frozenset[str]:
        return frozenset(op.kind for op in self._ops if isinstance(op, ir.Activation))

    @cached_property
    def attention(self) -> bool:
        """Whether queries and keys meet, or windows are predicted and normalised."""
        return any(isinstance(op.weights, ir.Attention | ir.Outlook) for op in self._connections)

    @cached_property
    def global_attention(self) -> bool:
        found = (op for op in self._connections if isinstance(op.weights, ir.Attention))
        return any(isinstance(op.space, ir.Full | ir.Reduced) for op in found)

    @cached_property
    def softmax(self) -> bool:
        outlook = any(isinstance(op.weights, ir.Outlook) for op in self._connections)
        attends = (op.weights for op in self._connections if isinstance(op.weights, ir.Attention))
        others = (op.weights for op in self._connections if isinstance(op.weights, ir.Static | ir.Predicted))
        return outlook or any(w.softmax for w in attends) or any(bool(w.normalise) for w in others)

    @cached_property
    def dynamic(self) -> bool:
        """Whether weights are predicted from the input: then y is not linear in x between two activations."""
        return any(not isinstance(op.weights, ir.Static) for op in self._connections)

    @cached_property
    def products(self) -> bool:
        return any(isinstance(op, ir.Branches) and op.join == "product" for op in self._ops)

    @cached_property
    def _connections(self) -> tuple[ir.Connect, ...]:
        return tuple(op for op in self._ops if isinstance(op, ir.Connect))


Validity = Callable[[Traits], Verdict]


def always(traits: Traits) -> Verdict:
    """Counts and gradients exist for every network."""
    return VALID


def homogeneous(traits: Traits) -> Verdict:
    """SynFlow: outputs must be positively homogeneous in the weights, layer by layer, for its sum to be conserved."""
    if "layer" in traits.norms:
        return Verdict("refused", "a layer norm takes the constant input of ones away")
    if traits.softmax:
        return Verdict("refused", "a softmax is not homogeneous in the weights")
    bent = traits.activations - {"relu"}
    if bent:
        return Verdict("refused", f"{', '.join(sorted(bent))} is not homogeneous, as relu is")
    if traits.dynamic or traits.products:
        return Verdict("doubtful", "products of two predictions: degree 2 in the weights, so flow is not conserved")
    return VALID


def gated(traits: Traits) -> Verdict:
    """NASWOT: linear regions are told apart by the signs in front of relus."""
    if not traits.activations & GATES:
        return Verdict("refused", "no relu: there are no linear regions to tell apart")
    others = traits.activations - GATES
    if others or traits.attention or traits.dynamic:
        what = ", ".join([*sorted(others), *(["weights from the input"] if traits.dynamic else [])])
        return Verdict("doubtful", f"{what}: the map is not piecewise linear, and its regions are not all counted")
    return VALID


def batch_normalised(traits: Traits) -> Verdict:
    """Zen: the norm change is put right by the deviations of batch norms, in networks of static convolutions."""
    if "batch" not in traits.norms:
        return Verdict("refused", "no batch norm, whose deviations are part of the score")
    if "layer" in traits.norms or traits.attention:
        return Verdict("refused", "a layer norm or softmax hides the change of norm that is measured")
    if traits.dynamic or traits.products:
        return Verdict("doubtful", "weights from the input: not piecewise linear")
    return VALID


def local(traits: Traits) -> Verdict:
    """Jacobian covariance: with attention over the whole map every input changes every output."""
    if traits.global_attention:
        return Verdict("doubtful", "attention over the whole map makes every Jacobian dense")
    return VALID


def noisy(traits: Traits) -> Verdict:
    """Scores of gradients at the start: known to change sign between spaces (arXiv 2210.03230)."""
    if traits.attention or traits.dynamic:
        return Verdict("doubtful", "weights from the input: gradients at the start say little of training")
    return VALID
