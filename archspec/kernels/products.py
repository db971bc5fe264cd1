"""Weights and what windows read go in; their products, as sums over what is read, come out.

Legend, in equations: b image, w window, i position, j what it reads, g kernel or group of channels; further letters are
the caller's. A window also has a row r and a column s among the windows.
"""

import torch
from torch import Tensor

from archspec import ir
from archspec.kernels.tables import wrapped


def contract(equation: str, left: Tensor, right: Tensor) -> Tensor:
    """torch.einsum, as a matrix product also where there is one thing to sum over.

    There einsum multiplies element by element, which no counter of flops sees.
    """
    inputs, result = equation.split("->")
    a, b = inputs.split(",")
    summed = [axis for axis in a if axis not in result]
    if any(left.shape[a.index(axis)] > 1 for axis in summed):
        return torch.einsum(equation, left, right)
    shared = [axis for axis in result if axis in a and axis in b]
    rows, columns = ([axis for axis in result if axis in own and axis not in shared] for own in (a, b))
    sizes = dict(zip(a, left.shape, strict=True)) | dict(zip(b, right.shape, strict=True))
    batch, height, width = ([sizes[axis] for axis in axes] for axes in (shared, rows, columns))
    left = left.permute([a.index(axis) for axis in (*shared, *rows, *summed)]).reshape(
        torch.Size(batch).numel(), torch.Size(height).numel(), 1
    )
    right = right.permute([b.index(axis) for axis in (*shared, *summed, *columns)]).reshape(len(left), 1, -1)
    y = torch.bmm(left, right).view(*batch, *height, *width)
    order = [*shared, *rows, *columns]
    return y.permute([order.index(axis) for axis in result])


def per_window(op: ir.Connect, weight: Tensor, axes: str, windows: Tensor, reads: str, gives: str) -> Tensor:
    """Weights with these axes, w, i and j among them, times windows (b, w, reads) -> (b, w, gives).

    What a shift wraps apart is taken out: in weights for each window where these are small beside the map, otherwise
    in those of the last windows only, which are then multiplied on their own (measured: 56x56x96 to 14x14x384).
    """
    mask = wrapped(op, weight)
    if mask is None:
        return contract(f"{axes},bw{reads}->bw{gives}", weight, windows)
    few = op.channels == "separate" and op.kernels * op.neighbours <= 2 * op.source.channels
    if "w" not in axes and few:
        weight, axes = weight.unsqueeze(axes.index("i")), axes.replace("i", "wi")
    if "w" in axes:
        return contract(f"{axes},bw{reads}->bw{gives}", weight * _laid(mask, axes), windows)
    return _by_side(op, weight, mask, f"{axes},brs{reads}->brs{gives}", windows)


def _by_side(op: ir.Connect, weight: Tensor, mask: Tensor, equation: str, windows: Tensor) -> Tensor:
    """Inner windows, the last row, the last column and the corner: each with what it may read of the weights."""
    assert isinstance(op.space, ir.Window)
    grid = op.space.grid(op.source)
    windows, mask = windows.unflatten(1, grid), mask.unflatten(0, grid)
    axes, bands = equation.split(",")[0], []
    for down in _sides(grid[0], op.space.shift[0]):
        parts = []
        for across in _sides(grid[1], op.space.shift[1]):
            own = weight
            if down.start or across.start:
                own = weight * _laid(mask[down.start, across.start], axes)
            parts.append(contract(equation, own, windows[:, down, across]))
        bands.append(torch.cat(parts, 2))
    return torch.cat(bands, 1).flatten(1, 2)


def _sides(count: int, shift: int) -> tuple[slice, ...]:
    return (slice(0, count - 1), slice(count - 1, count)) if shift else (slice(0, count),)


def _laid(mask: Tensor, axes: str) -> Tensor:
    """A mask over (windows,) positions and what they read, as wide as weights with these axes."""
    sizes = iter(mask.shape)
    return mask.view([next(sizes) if axis in "wij" else 1 for axis in axes])
