"""A state dict and its program go in; the state dict of the same network at another size comes out.

What is laid out over positions or offsets is interpolated as the images are: bicubic, corners not aligned (as
torch's image resizing, and as Swin's and ViT's fine-tuning at 384 px do); in arXiv 2106.04263, Table 5, "12x12 kernels
upsampled from 7x7". Weights that an output sums over keep their sum, so that the scale of features, and with it the
statistics of batch norms, stays.

Legend: h, w rows and columns of a table; T class tokens; G kernels; D hidden units of a predictor.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec import ir
from archspec.errors import WeightsError

Grid = tuple[int, int]


def resized_weights(tensors: Mapping[str, Tensor], old: ir.Program, new: ir.Program) -> dict[str, Tensor]:
    """The tensors of `old` for `new`, the same network at another size; what fits stays as it is.

    Raises WeightsError where the programs are of different networks, or a tensor has no meaning at the new size.
    """
    before = {op.path: op for op in ir.walk(old.ops) if op.parameters}
    after = {op.path: op for op in ir.walk(new.ops) if op.parameters}
    if {p: [r.name for r in op.parameters] for p, op in before.items()} != {
        p: [r.name for r in op.parameters] for p, op in after.items()
    }:
        raise WeightsError(f"{old.name} and {new.name} are not one network at two sizes: their parameters differ")
    made = {}
    for path, op in after.items():
        for row in op.parameters:
            name = f"{path}.{row.name}"
            if tuple(tensors[name].shape) != _row(before[path], row.name).shape:
                raise WeightsError(f"{name} is no tensor of {old.name}: shape {tuple(tensors[name].shape)}")
            made[name] = _resized(tensors[name], before[path], op, row)
    return made


def _row(op: ir.Op, name: str) -> ir.Parameter:
    return next(row for row in op.parameters if row.name == name)


def _resized(tensor: Tensor, old: ir.Op, new: ir.Op, row: ir.Parameter) -> Tensor:
    if isinstance(old, ir.Connect) and isinstance(new, ir.Connect):
        moved = _of_connection(tensor, old, new, row.name)
    elif isinstance(old, ir.PositionEmbedding):
        moved = over_positions(tensor, 0, old.source, new.source)
    else:
        moved = tensor
    if tuple(moved.shape) != row.shape:
        raise WeightsError(
            f"{new.path}.{row.name} cannot be resized: {tuple(tensor.shape)} at the old size, {row.shape} at the new"
        )
    return moved.clone() if moved is tensor else moved


def _of_connection(tensor: Tensor, old: ir.Connect, new: ir.Connect, name: str) -> Tensor:
    if name in ("relative_bias", "centre.weight"):
        return over_offsets(tensor, 0, old, new)
    if name == "bias" and old.bias == "positions":
        return over_positions(tensor, 0, old.target, new.target)
    if name == "weight":
        return _weight(tensor, len(old.channel_shape), old, new)
    if name.startswith("predict.") and isinstance(old.weights, ir.Predicted):
        return _predictor(tensor, old, new)
    if name.startswith("predict."):
        laid_out = tensor.unflatten(0, (old.kernels, old.neighbours, old.neighbours))
        return _window_pairs(laid_out, 1, old, new).flatten(0, 2)
    return tensor


def _predictor(tensor: Tensor, old: ir.Connect, new: ir.Connect) -> Tensor:
    """(positions of the tie index x kernels, D) or the same without D."""
    laid_out = tensor.unflatten(0, (*old.position_shape, math.prod(old.channel_shape)))
    return _weight(laid_out, 0, old, new).flatten(0, len(new.position_shape))


def _weight(tensor: Tensor, axis: int, old: ir.Connect, new: ir.Connect) -> Tensor:
    """Values of tie indices whose position part begins at `axis`."""
    if old.position_shape == new.position_shape:
        return tensor
    local = isinstance(old.weights, ir.Predicted) and old.weights.source == "local"
    if old.share_positions == "offsets" and not local:
        return _keeping_sum(over_offsets(tensor, axis, old, new), old, new)
    if isinstance(old.space, ir.Window) and isinstance(new.space, ir.Window) and not local:
        if old.share_positions == "none":
            tensor = over_grid(tensor, axis, old.space.grid(old.source), new.space.grid(new.source))
            axis += 1
        return _keeping_sum(_window_pairs(tensor, axis, old, new), old, new)
    if isinstance(old.space, ir.Full) and isinstance(new.space, ir.Full):
        if not local:
            tensor = over_positions(tensor, axis, old.target, new.target)
            axis += 1
        return _keeping_sum(over_positions(tensor, axis, old.source, new.source), old, new)
    if isinstance(old.space, ir.Sliding) and isinstance(new.space, ir.Sliding):
        if not local:
            tensor = over_positions(tensor, axis, old.target, new.target)
            return _keeping_sum(over_taps(tensor, axis + 1, old.space.size, new.space.size), old, new)
        return _keeping_sum(over_grid(tensor, axis, old.space.size, new.space.size), old, new)
    if isinstance(old.space, ir.Point):
        return over_positions(tensor, axis, old.source, new.source)
    return tensor


def _keeping_sum(tensor: Tensor, old: ir.Connect, new: ir.Connect) -> Tensor:
    return tensor * (old.neighbours / new.neighbours)


def _window_pairs(tensor: Tensor, axis: int, old: ir.Connect, new: ir.Connect) -> Tensor:
    """Two axes, slots of i and slots of j, of a window."""
    if isinstance(old.space, ir.Window) and isinstance(new.space, ir.Window):
        tensor = over_grid(tensor, axis, old.space.size, new.space.size)
        return over_grid(tensor, axis + 1, old.space.reach, new.space.reach)
    if isinstance(old.space, ir.Sliding) and isinstance(new.space, ir.Sliding):
        tensor = over_grid(tensor, axis, old.space.size, new.space.size)
        return over_grid(tensor, axis + 1, old.space.size, new.space.size)
    return tensor


def over_offsets(tensor: Tensor, axis: int, old: ir.Connect, new: ir.Connect) -> Tensor:
    """A table over relative offsets: one axis of rows (a relative bias), or the two axes of a kernel."""
    if isinstance(old.space, ir.Cross):
        return over_cross(tensor, axis, old.source, new.source)
    grids = []
    for op in (old, new):
        grids.append(op.space.size if isinstance(op.space, ir.Sliding) else op.offsets)
    if tensor.shape[axis] == math.prod(grids[0]):
        return over_grid(tensor, axis, *grids)
    return over_taps(tensor, axis, *grids)


def over_cross(tensor: Tensor, axis: int, old: ir.Feature, new: ir.Feature) -> Tensor:
    """An axis of offsets along the row, and then along the column but 0, which the row has."""
    row, column = tensor.split((2 * old.width - 1, 2 * old.height - 2), axis)
    above, below = column.split(old.height - 1, axis) if old.height > 1 else (column, column)
    column = torch.cat([above, row.narrow(axis, old.width - 1, 1), below], axis)
    row = over_grid(row, axis, (1, 2 * old.width - 1), (1, 2 * new.width - 1))
    column = over_grid(column, axis, (2 * old.height - 1, 1), (2 * new.height - 1, 1))
    above, _, below = column.split((new.height - 1, 1, new.height - 1), axis)
    return torch.cat([row, above, below], axis)


def over_taps(tensor: Tensor, axis: int, old: Grid, new: Grid) -> Tensor:
    """Two axes (h, w) beginning at `axis`."""
    table: Tensor = over_grid(tensor.flatten(axis, axis + 1), axis, old, new).unflatten(axis, new)
    return table


def over_positions(tensor: Tensor, axis: int, old: ir.Feature, new: ir.Feature) -> Tensor:
    """An axis of T + h * w positions: class tokens stay, the map is interpolated."""
    tokens, grid = tensor.split((old.class_tokens, old.positions - old.class_tokens), axis)
    moved = over_grid(grid, axis, (old.height, old.width), (new.height, new.width))
    return torch.cat([tokens, moved], axis)


def over_grid(tensor: Tensor, axis: int, old: Grid, new: Grid) -> Tensor:
    """An axis of h * w values, row by row, at another h and w: bicubic."""
    if old == new or tensor.shape[axis] != math.prod(old):
        return tensor
    last = tensor.movedim(axis, -1)
    images = last.reshape(1, -1, *old)
    moved = F.interpolate(images.float(), size=new, mode="bicubic", align_corners=False).to(tensor.dtype)
    resized: Tensor = moved.reshape(*last.shape[:-1], math.prod(new)).movedim(-1, axis).contiguous()
    return resized
