"""A kernel and an op go in; ConformanceError comes out when it unfolds: makes a tensor of N x K x C elements.

A position reads K neighbours, so the plainest way to run a connection copies the C channels of all K to each
of the N positions. That is what no kernel may do, forward or backward: neither at once nor in parts kept for
the backward pass. Tensors are counted by what their storage holds, so views cost nothing.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from archspec.ir import Connect, Outlook, Predicted, Static
from archspec.testing.conformance import ConformanceError, Kernel
from archspec.testing.samples import Sample, draw

BATCH = 2


def check_memory(kernel: Kernel, op: Connect, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
    """Raise ConformanceError when a kernel unfolds x, in inference or in training.

    Raises ValueError for an op whose own weights are as large as what is forbidden.
    """
    limit = unfolded_elements(op)
    if not unfolding_shows(op):
        raise ValueError(f"{op.path}: its own weights ({own_elements(op)}) are about as large as {limit}")
    sample = draw(op, seed, BATCH).to(dtype)
    for training in (False, True):
        largest = _Largest()
        saved: dict[int, int] = {}
        given = sample.copy(gradients=training)
        own = {tensor.untyped_storage().data_ptr() for tensor in (given.x, *given.parameters.values())}
        with largest, torch.set_grad_enabled(training), saved_tensors_hooks(_recorder(saved, own), _identity):
            y = kernel(op, given.parameters, given.x, training)
            kept = sum(saved.values())
            if training:
                torch.autograd.grad(y, _trained(given), sample.upstream)
        what = f"{op.path}: {op.facts()} [{op.source} -> {op.target}]\n    "
        if largest.elements >= limit:
            raise ConformanceError(
                f"{what}{largest.name} makes a tensor of {largest.elements} elements {largest.shape}; "
                f"unfolded x has {limit} (batch {BATCH} x N x K x C)"
            )
        if kept >= limit:
            raise ConformanceError(f"{what}{kept} elements are kept for the backward pass; unfolded x has {limit}")


def unfolded_elements(op: Connect, batch: int = BATCH) -> int:
    """Elements of x unfolded: batch x N x K x C."""
    return batch * op.target.positions * op.neighbours * op.source.channels


def unfolding_shows(op: Connect) -> bool:
    """Whether unfolded x is much larger than the weights that the op needs in any case."""
    return own_elements(op) * 2 < unfolded_elements(op)


def own_elements(op: Connect, batch: int = BATCH) -> int:
    """Elements of the weights themselves: parameters, or what is predicted or attended for a batch."""
    stored = max((row.count for row in op.parameters), default=0)
    if isinstance(op.weights, Static):
        return stored
    if isinstance(op.weights, Predicted):
        places = op.target.positions if op.weights.source == "local" else 1
        return max(stored, batch * places * math.prod(op.weight_shape))
    if isinstance(op.weights, Outlook):
        return max(stored, batch * math.prod(op.weights.grid(op.source)) * op.kernels * op.neighbours**2)
    return max(stored, batch * op.kernels * op.source.positions * op.neighbours)


def _trained(given: Sample) -> list[Tensor]:
    return [tensor for tensor in (given.x, *given.parameters.values()) if tensor.requires_grad]


def _identity(tensor: Tensor) -> Tensor:
    return tensor


def _recorder(saved: dict[int, int], own: set[int]) -> Callable[[Tensor], Tensor]:
    def record(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
        return tensor

    return record


class _Largest(TorchDispatchMode):
    """Watches every operation and remembers the one with the largest result."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch 2.15
        self.elements, self.name, self.shape = 0, "", ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                elements = leaf.untyped_storage().nbytes() // leaf.element_size()
                if elements > self.elements:
                    self.elements, self.name, self.shape = elements, str(func), str(tuple(leaf.shape))
        return result
