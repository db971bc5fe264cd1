"""A network goes in; its narrower beginnings, and how each grows into the next, come out: rungs of a width.

A rung of half the width trains a network with half the channels. Where it ends, the wider one starts as the same
function (archspec.widening), its optimiser anew at the learning rate of the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from archspec.compiler import build
from archspec.ir import Program
from archspec.resolve import resolve
from archspec.schema.network import Network
from archspec.search.cheaper import narrowed
from archspec.widening.weights import widened


@dataclass(frozen=True)
class Growth:
    """A network and those that it grows from, each by its share of the channels."""

    network: Network
    _programs: dict[float, Program] = field(default_factory=dict, repr=False, compare=False)

    def program(self, share: float) -> Program:
        """Raises SpecError where no network is so narrow."""
        if share not in self._programs:
            self._programs[share] = resolve(narrowed(self.network, share))
        return self._programs[share]

    def module(self, share: float, seed: int) -> nn.Module:
        """The network with this share of its channels, newly initialised."""
        return build(self.program(share), seed=seed, written=narrowed(self.network, share))

    def grown(self, tensors: Mapping[str, Tensor], share: float, larger: float, seed: int) -> dict[str, Tensor]:
        """The tensors of the network with a larger share, which starts as the function of these."""
        return widened(tensors, self.program(share), self.program(larger), seed)
