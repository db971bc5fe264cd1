"""A program goes in; a module in a canonical start comes out: scores then rank networks, not their initialisers.

Specs start a head at zero, a layer scale at 1e-5 or every weight at 0.02; a score of gradients would mostly tell
these apart. Here every matrix is normal with 1/sqrt(fan in) (its rows sum over so many inputs), a layer scale is one,
biases and norms are as written, and nothing is dropped. Batch norms use the statistics of their batch.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from archspec import ir
from archspec.compiler import build
from archspec.module import Layer, Network, fill


def canonical(program: ir.Program, seed: int) -> Network:
    """The module in its canonical start, from a seed, on the CPU in float32. Raises SpecError as `build`."""
    module = build(program, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer, _, parameter, row in matrices(module):
            fill(parameter, ir.Init("normal", fan_in(layer.op, row) ** -0.5), generator)
        for layer in layers(module):
            if isinstance(layer.op, ir.Scale):
                layer.get_parameter("weight").fill_(1.0)
    return use_batch_statistics(module)


def use_batch_statistics(module: Network) -> Network:
    """As in training, but that nothing is dropped."""
    module.eval()
    for layer in layers(module):
        layer.training = not isinstance(layer.op, ir.DropPath)
    return module


def layers(module: nn.Module) -> Iterator[Layer]:
    """Its layers, in the order of the module."""
    return (each for each in module.modules() if isinstance(each, Layer))


def matrices(module: nn.Module) -> Iterator[tuple[Layer, str, Tensor, ir.Parameter]]:
    """The weights that multiply features: those of connections, but for tables of biases. With their layer and row."""
    for layer in layers(module):
        if isinstance(layer.op, ir.Connect):
            for row in layer.op.parameters:
                if row.trainable and row.name.endswith("weight") and len(row.shape) > 1:
                    yield layer, row.name, layer.get_parameter(row.name), row


def fan_in(op: ir.Op, row: ir.Parameter) -> int:
    """Inputs that one output of the matrix sums over."""
    if row.name == "weight" and isinstance(op, ir.Connect):
        return op.fan_in
    return math.prod(row.shape[1:])
