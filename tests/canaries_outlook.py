"""An outlook op goes in; its result as VOLO's code finds it, or one wrong in a named way, comes out.

As in canaries.py. Legend: B batch; K slots of a window; C channels; G heads of D channels.
"""

import math

import torch
import torch.nn.functional as F
from canaries import Pattern
from canaries_attention import Parameters, finished
from torch import Tensor

from archspec.ir import Connect, Outlook, Sliding


def outlooking(op: Connect, parameters: Parameters, x: Tensor, training: bool, defect: str = "") -> Tensor:
    """Outlook attention as VOLO's code does it: unfold, one matrix a window, fold."""
    weights, space = op.weights, op.space
    assert isinstance(weights, Outlook)
    assert isinstance(space, Sliding)
    around, values = (space.size[0] // 2, space.size[1] // 2), x
    early = defect == "padded before the projection"
    pads = (0, 0, around[1], around[1], around[0], around[0])
    values = F.pad(values, pads) if early else values
    if weights.value:
        values = F.linear(values, parameters["projection.weight"], parameters.get("projection.bias"))
    values = values if early else F.pad(values, pads)
    values = F.unfold(values.permute(0, 3, 1, 2), space.size, stride=weights.stride)
    values = values.unflatten(1, (op.kernels, -1, space.taps)).permute(0, 4, 1, 3, 2)  # (B, windows, G, K, D)
    maps = _maps(op, weights, space, parameters, x, defect)
    windows = torch.matmul(maps, values).permute(0, 2, 4, 3, 1).flatten(1, 3)
    y = F.fold(windows, x.shape[1:3], space.size, padding=around, stride=weights.stride)
    return finished(op, parameters, y.flatten(2).transpose(1, 2), defect)


def _maps(op: Connect, weights: Outlook, space: Sliding, parameters: Parameters, x: Tensor, defect: str) -> Tensor:
    """What each window predicts: (B, windows, G, K, K)."""
    image, stride, (rows, columns) = x.permute(0, 3, 1, 2), weights.stride, weights.grid(op.source)
    if defect == "means count beyond the map":
        image = F.pad(image, (0, columns * stride[1] - x.shape[2], 0, rows * stride[0] - x.shape[1]))
    z = F.avg_pool2d(image, stride, ceil_mode=True).flatten(2).transpose(1, 2)
    logits = F.linear(z, parameters["predict.weight"], parameters["predict.bias"])
    logits = logits.unflatten(-1, (op.kernels, space.taps, space.taps))
    logits = logits if defect == "softmax without scale" else logits / math.sqrt(x.shape[3] // op.kernels)
    logits = logits.transpose(-1, -2) if defect == "maps transposed" else logits
    if defect == "softmax over what exists":
        around = (space.size[0] // 2, space.size[1] // 2)
        exists = F.unfold(torch.ones_like(x[:1, None, :, :, 0]), space.size, padding=around, stride=stride)
        logits = logits.masked_fill(exists.transpose(1, 2)[:, :, None, None] == 0, -1e9)
    return logits.softmax(-1)


PATTERNS: dict[str, Pattern] = {
    "outlook": Pattern(
        outlooking,
        lambda op: isinstance(op.weights, Outlook),
        (
            "padded before the projection",
            "means count beyond the map",
            "softmax without scale",
            "maps transposed",
            "softmax over what exists",
        ),
    ),
}
