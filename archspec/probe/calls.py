"""A network and an image go in; how each module inside it is called on the way comes out.

Legend: B batch, N positions, C channels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from archspec.probe.facts import Map
from archspec.probe.subject import Layout, layout_of

SAME = object()
"""Stands for the map itself where a module is given it more than once, as queries, keys and values."""


@dataclass(frozen=True)
class Call:
    """The first call of a module: the shape it was given, and what else it was given."""

    path: str
    module: nn.Module
    shape: tuple[int, ...]
    given: tuple[int, ...]
    """The shape of what it returned; () if that is no tensor."""
    more: tuple[Any, ...]
    named: Mapping[str, Any]

    @property
    def has_tensors_beside(self) -> bool:
        return any(isinstance(each, Tensor) for each in (*self.more, *self.named.values()))

    def function(self, module: nn.Module, beside: bool = False) -> Callable[[Tensor], Any]:
        """A module of this kind as a function of the map alone.

        beside: whether tensors that it was given beside the map (a mask, positions) are given again. They may belong
        to another number of images or windows.
        """

        def given(each: Any, x: Tensor) -> Any:
            if each is SAME:
                return x
            if not isinstance(each, Tensor):
                return each
            if not beside:
                return None
            if each.ndim > 1 and len(each) == 1 == self.shape[0]:
                each = each.expand(len(x), *each.shape[1:])
            return each.double() if each.is_floating_point() else each

        return lambda x: module(
            x, *(given(each, x) for each in self.more), **{name: given(each, x) for name, each in self.named.items()}
        )


def calls_of(network: nn.Module, image: tuple[int, ...]) -> dict[str, Call]:
    """Every module that is called with one tensor of 3 or 4 dimensions first, by its path."""
    found: dict[str, Call] = {}
    hooks = []

    def remember(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            if path in found or not inputs or not isinstance(inputs[0], Tensor) or inputs[0].ndim not in (3, 4):
                return
            given = tuple(output.shape) if isinstance(output, Tensor) else ()
            more = tuple(SAME if each is inputs[0] else each for each in inputs[1:])
            beside = {name: SAME if each is inputs[0] else each for name, each in named.items()}
            found[path] = Call(path, module, tuple(inputs[0].shape), given, more, beside)

        return hook

    for path, module in network.named_modules():
        hooks.append(module.register_forward_hook(remember(path), with_kwargs=True))
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.randn(1, *image, generator=torch.Generator().manual_seed(0)))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return found


def layout_inside(call: Call, channels_last: bool) -> Layout:
    """How the map of a call lies: as its shape reads, or else as the rest of the network does."""
    if len(call.shape) == 3:
        return "nlc"
    if call.shape[2] == call.shape[3] and call.shape[1] != call.shape[2]:
        return "nchw"
    return layout_of(call.shape) if call.shape[1] != call.shape[3] else ("nhwc" if channels_last else "nchw")


def transposed(call: Call, parents: Mapping[str, Call]) -> bool:
    """Whether a sequence comes as (B, C, N) where a module around it was called with (B, N, C), as in a token MLP."""
    if len(call.shape) != 3 or call.shape[1] == call.shape[2]:
        return False
    path = call.path
    while path:
        path = path.rpartition(".")[0]
        around = parents.get(path)
        if around is not None and len(around.shape) == 3 and around.shape[1:] != call.shape[1:]:
            return around.shape[1:] == (call.shape[2], call.shape[1])
    return False


def grid_of(call: Call, calls: Mapping[str, Call]) -> Map | None:
    """The map that a sequence is, if a module before it was called with a map of as many positions."""
    count = call.shape[1]
    for other in calls.values():
        if len(other.given) == 4:
            for height, width in (other.given[1:3], other.given[2:4]):
                if height * width in (count, count - 1):
                    return Map(height, width, call.shape[2], count - height * width)
    return None
