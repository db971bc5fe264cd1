"""A connection goes in; how many elements it holds inside comes out: for the backward pass, or while it runs.

Per image, besides what it reads and gives. The conventions are those of archspec.costs.
"""

from math import prod

from archspec import ir
from archspec.costs.connection import places, predicted_elements, read_positions, read_products, reading_positions


def kept_inside(op: ir.Op) -> int:
    """What a connection keeps for the backward pass besides its input: each tensor that some gradient reads, once."""
    if not isinstance(op, ir.Connect):
        return 0
    return _reduced(op) + _kept_by_weights(op)


def _kept_by_weights(op: ir.Connect) -> int:
    if isinstance(op.weights, ir.Attention):
        return _attention(op, op.weights)
    if isinstance(op.weights, ir.Outlook):
        windows, width = prod(op.weights.grid(op.source)), op.source.channels
        pooled = windows * width if op.weights.stride != (1, 1) else 0
        value = op.source.elements if op.weights.value else 0
        return pooled + value + windows * op.kernels * op.neighbours**2
    if isinstance(op.weights, ir.Predicted):
        tensors = 3 if op.weights.norm else 2
        hidden = tensors * op.weights.hidden * places(op, op.weights)
        return hidden + predicted_elements(op, op.weights) + _patch_means(op, op.weights)
    return 0


def alive_inside(op: ir.Op) -> int:
    """What a connection holds besides its input and output while it runs."""
    if not isinstance(op, ir.Connect):
        return 0
    if isinstance(op.weights, ir.Predicted):
        predicted = op.weights.hidden * places(op, op.weights) + predicted_elements(op, op.weights)
        return predicted + _patch_means(op, op.weights) + _reduced(op)
    return kept_inside(op)


def _reduced(op: ir.Connect) -> int:
    """The reduced map, and what its norm was given."""
    if not isinstance(op.space, ir.Reduced):
        return 0
    return (2 if op.space.norm else 1) * read_positions(op) * op.source.channels


def _patch_means(op: ir.Connect, weights: ir.Predicted) -> int:
    """What local weights of a window that moves by a stride are predicted from."""
    moves = weights.source == "local" and isinstance(op.space, ir.Sliding) and op.space.stride != (1, 1)
    return op.target.positions * op.source.channels if moves else 0


def _attention(op: ir.Connect, weights: ir.Attention) -> int:
    """Projections, probabilities, what the convolutions and the mixing were given, and what the output was."""
    width, queries = op.source.channels, reading_positions(op)
    products = queries * read_products(op) * op.kernels
    kept = width * (queries + read_positions(op) * (2 if weights.value else 1)) + queries * op.neighbours * op.kernels
    kept += op.source.elements if weights.pre_convolution else 0
    kept += products if weights.post_convolution else 0
    kept += products if weights.mix_heads else 0
    return kept + (queries * width if weights.output else 0)
