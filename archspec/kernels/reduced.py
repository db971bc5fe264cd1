"""A map reduced a few times in each direction, to be read by every position (PVT); (B, H, W, C) -> (B, R, C) or a map.

Legend: R positions of the reduced map, (h, w) what one of them is made of.
"""

import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.kernels.shapes import Parameters, flat
from archspec.kernels.windows import split_keys


def read(op: ir.Connect, parameters: Parameters, x: Tensor) -> Tensor:
    """What each window, or the whole map as one, reads: (B, H, W, C) -> (B, windows, R, C)."""
    if isinstance(op.space, ir.Reduced):
        return flat(reduce(op, parameters, x)).unsqueeze(1)
    return split_keys(op, x)


def reduce(op: ir.Connect, parameters: Parameters, x: Tensor) -> Tensor:
    """(B, H, W, C) -> the map that is read, (B, H/h, W/w, C): each patch as one position, then normalised.

    Rows and columns that do not fill a patch are dropped. Patches do not overlap, so a convolution over them is one
    matrix product.
    """
    space = op.space
    assert isinstance(space, ir.Reduced)
    (high, wide), smaller = space.ratio, space.map(op.source)
    x = x[:, : smaller.height * high, : smaller.width * wide].unflatten(2, (-1, wide)).unflatten(1, (-1, high))
    if space.by == "mean":
        y = x.mean((2, 4))
    else:
        # Channels stay innermost, so that patches are copied in runs; the weight is kept channels-last and only viewed.
        patches, weight = x.permute(0, 1, 3, 2, 4, 5).flatten(3), parameters["reduction.weight"]
        y = F.linear(patches, weight.permute(0, 2, 3, 1).flatten(1), parameters["reduction.bias"])
    if not space.norm:
        return y
    return F.layer_norm(y, y.shape[-1:], parameters["reduction.norm.weight"], parameters["reduction.norm.bias"])
