"""A connection op, its parameters and x go in; what its weights and its matrix are multiplied with comes out.

Legend: B batch; H, W height and width; N outgoing, M incoming positions; C channels.
"""

import torch
from torch import Tensor

from archspec.ir import Connect, Feature, Pair, Reduced
from archspec.reference.connectivity import existing
from archspec.reference.pointwise import Parameters, layer_norm

REDUCTION_EPS = 1e-5


def read(op: Connect, parameters: Parameters, x: Tensor) -> Tensor:
    """x (B, N, C) as the op reads it: reduced, or with zeros at positions that do not exist: (B, M, C)."""
    if isinstance(op.space, Reduced):
        return _reduced(op.space, op.source, parameters, x)
    exists = existing(op).to(x.device)
    padded = x.new_zeros(x.shape[0], len(exists), x.shape[2])
    padded[:, exists] = x
    return padded


def _reduced(space: Reduced, feature: Feature, parameters: Parameters, x: Tensor) -> Tensor:
    """Each position of the smaller map is a patch of x, convolved or averaged; then perhaps a layer norm."""
    image, target, (height, width) = x.unflatten(1, (feature.height, feature.width)), space.map(feature), space.ratio
    positions = []
    for row in range(target.height):
        for column in range(target.width):
            patch = image[:, row * height : (row + 1) * height, column * width : (column + 1) * width]
            if space.by == "mean":
                positions.append(patch.mean(dim=(1, 2)))
            else:
                convolved = torch.einsum("bhwc,dchw->bd", patch, parameters["reduction.weight"])
                positions.append(convolved + parameters["reduction.bias"])
    y = torch.stack(positions, dim=1)
    return layer_norm(y, parameters, REDUCTION_EPS, "reduction.norm.") if space.norm else y


def patch_means(feature: Feature, stride: Pair, x: Tensor) -> Tensor:
    """The mean of each patch of stride x stride positions of x (B, N, C), a ragged one's of those that exist."""
    image, (height, width) = x.unflatten(1, (feature.height, feature.width)), stride
    means = [
        image[:, row : row + height, column : column + width].mean(dim=(1, 2))
        for row in range(0, feature.height, height)
        for column in range(0, feature.width, width)
    ]
    return torch.stack(means, dim=1)


def project(op: Connect, parameters: Parameters, x: Tensor, part: int) -> Tensor:
    """Query (part 0), key (1) or value (2) of attention, value (0) of outlook, at each position: (B, N, C)."""
    width = op.source.channels
    rows = slice(part * width, (part + 1) * width)
    projected = torch.einsum("bnc,dc->bnd", x, parameters["projection.weight"][rows])
    bias = parameters.get("projection.bias")
    return projected if bias is None else projected + bias[rows]
