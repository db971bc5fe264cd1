"""A program of torch.export goes in; one without the operators that torch cannot write as ONNX comes out.

Two are written otherwise. A depth-wise convolution whose kernels are predicted from each image runs as one with as
many groups as images times channels; ONNX holds the number of groups as a constant, but the batch is free: it becomes
a sum over its taps. Attention with more axes before the positions than one for heads becomes a softmax of products.
What either function gives NotImplemented for stays as it is.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram


def for_onnx(program: "ExportedProgram") -> "ExportedProgram":
    """The same program, in operators that ONNX has."""
    import torch

    aten = torch.ops.aten
    table = {aten.conv2d.default: sum_over_taps, aten.scaled_dot_product_attention.default: softmax_of_products}
    written: ExportedProgram = program.run_decompositions(table)
    return written


def sum_over_taps(
    x: "Tensor",
    weight: "Tensor",
    bias: "Tensor | None" = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: Any = 1,
) -> Any:
    """aten.conv2d with one channel in each of a number of groups that depends on the batch; others stay as they are.

    x (1, G, H, W), weight (G, 1, taps down, taps across) -> (1, G, H', W').
    """
    if isinstance(groups, int) or bias is not None or any(padding) or weight.shape[1] != 1:
        return NotImplemented
    taps = weight.shape[2:]
    down, across = (
        stride[axis] * ((x.shape[2 + axis] - dilation[axis] * (taps[axis] - 1) - 1) // stride[axis]) + 1
        for axis in (0, 1)
    )
    parts = [
        x[:, :, top : top + down : stride[0], left : left + across : stride[1]] * weight[:, 0, row, column, None, None]
        for row in range(taps[0])
        for column in range(taps[1])
        for top, left in [(row * dilation[0], column * dilation[1])]
    ]
    return sum(parts[1:], parts[0])


def softmax_of_products(
    query: "Tensor",
    key: "Tensor",
    value: "Tensor",
    attn_mask: "Tensor | None" = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """aten.scaled_dot_product_attention of five axes and more: (..., L, C), (..., S, C), (..., S, D) -> (..., L, D)."""
    if query.ndim == 4 or dropout_p or is_causal or enable_gqa:
        return NotImplemented
    products = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if attn_mask is not None:
        bias = attn_mask if attn_mask.is_floating_point() else (~attn_mask).to(products) * -1e30
        products = products + bias
    return products.softmax(-1) @ value
