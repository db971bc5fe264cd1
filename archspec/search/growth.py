"""A network goes in; its narrower beginnings, and how each grows into the next, come out: rungs of a width.

A rung of half the width trains a network with half the channels. Where it ends, the wider one starts as the same
function (archspec.widening), its optimiser anew at the learning rate of the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from archspec.compiler import build
from archspec.ir import Program
from archspec.schema.network import Network
from archspec.search.cheaper import narrowed
from archspec.widening.weights import widened


@dataclass(frozen=True)
class Growth:
    """A network and those that it grows from, each by its share of the channels."""

    network: Network
    _narrowed: dict[float, tuple[Network, Program]] = field(default_factory=dict, repr=False, compare=False)

    def at(self, share: float) -> tuple[Network, Program]:
        """The network with this share of its channels. Raises SpecError where none is so narrow."""
        if share not in self._narrowed:
            self._narrowed[share] = narrowed(self.network, share)
        return self._narrowed[share]

    def module(self, share: float, seed: int) -> nn.Module:
        """The network with this share of its channels, newly initialised."""
        written, program = self.at(share)
        return build(program, seed=seed, written=written)

    def grown(self, tensors: Mapping[str, Tensor], share: float, larger: float, seed: int) -> dict[str, Tensor]:
        """The tensors of the network with a larger share, which starts as the function of these."""
        return widened(tensors, self.at(share)[1], self.at(larger)[1], seed)
