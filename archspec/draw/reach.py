"""An op goes in, which positions of x each position of y reads comes out, as a union of products of two axes.

Nearly every space is a product: rows and columns are read independently. What is not (a row and a column; parallel
branches) is a union of such products. So relations of whole networks are composed exactly, axis by axis, at any size.

Legend: H, W height and width of x; H', W' of y. Class tokens stand on no map: where positions read them, they read
the whole map as well, so nothing is lost by leaving them out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archspec import ir
from archspec.ir import Connect, Feature, Op, Pair

Table = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Product:
    """Position (r, c) of y reads (r', c') of x when both `rows[r, r']` and `columns[c, c']`."""

    rows: Table  # (H', H)
    columns: Table  # (W', W)

    def after(self, other: "Product") -> "Product":
        """What is read through this and then through `other`, which comes before it."""
        return Product(_joined(self.rows, other.rows), _joined(self.columns, other.columns))

    def within(self, other: "Product") -> bool:
        """Whether `other` reads all that this does."""
        return not ((self.rows & ~other.rows).any() or (self.columns & ~other.columns).any())


Reach = tuple[Product, ...]
"""The union of products."""


def _joined(late: Table, early: Table) -> Table:
    return np.asarray(late.astype(np.float32) @ early.astype(np.float32) > 0, bool)


def identity(feature: Feature) -> Reach:
    """Each position reads itself."""
    return (Product(np.eye(feature.height, dtype=bool), np.eye(feature.width, dtype=bool)),)


def everything(source: Feature, target: Feature) -> Reach:
    """Each position reads every position."""
    rows = np.ones((target.height, source.height), bool)
    return (Product(rows, np.ones((target.width, source.width), bool)),)


def composed(late: Reach, early: Reach) -> Reach:
    """What is read through `late` of what is read through `early`."""
    return united(*(a.after(b) for a in late for b in early))


def united(*products: Product) -> Reach:
    """The union, without products that another one contains."""
    kept: list[Product] = []
    for product in products:
        if not any(product.within(other) for other in kept):
            kept = [*(other for other in kept if not other.within(product)), product]
    return tuple(kept)


def pairs(reach: Reach) -> NDArray[np.bool_]:
    """The whole relation: (H' W', H W). For small maps."""
    return np.asarray(np.logical_or.reduce([np.kron(product.rows, product.columns) for product in reach]), bool)


def counts(reach: Reach) -> NDArray[np.int64]:
    """How many positions of x each position of y reads: (H', W').

    A row of x is read through some of the products, and few different sets of them occur; for each set, the columns
    that its products read together are counted once. So deep networks of strips, which are unions of dozens of
    products, cost no more than dozens.
    """
    rows = np.stack([product.rows for product in reach], -1)  # (H', H, products)
    sets, which = np.unique(rows.reshape(-1, len(reach)), axis=0, return_inverse=True)
    columns = np.stack([product.columns for product in reach])  # (products, W', W)
    read = np.stack([columns[through].any(0).sum(1) for through in sets])  # (sets, W')
    times = np.stack([np.bincount(line, minlength=len(sets)) for line in which.reshape(rows.shape[:2])])
    return np.asarray(times @ read, np.int64)


def read_at(reach: Reach, row: int, column: int) -> NDArray[np.bool_]:
    """What one position reads: (H, W)."""
    maps = [np.outer(product.rows[row], product.columns[column]) for product in reach]
    return np.asarray(np.logical_or.reduce(maps))


# --- single ops


def reach(op: Op, through_weights: bool = False) -> Reach:
    """What an op's positions read; `through_weights`, also what its weights are made from."""
    if isinstance(op, Connect):
        read = _connection(op)
        return united(*read, *_weights(op, read)) if through_weights else read
    if isinstance(op, ir.Norm):
        return everything(op.source, op.target) if op.centring else identity(op.source)
    if isinstance(op, ir.Gather):
        return _axes(op, lambda out, into, _: into // op.size == out)
    if isinstance(op, ir.Pool):
        return everything(op.source, op.target)
    if isinstance(op, ir.SlidingPool):
        return _sliding(op, op.space)
    if isinstance(op, ir.Resize):
        return _resized(op)
    return identity(op.source)


def _connection(op: Connect) -> Reach:
    if isinstance(op.space, ir.Point):
        return identity(op.source)
    if isinstance(op.space, ir.Full | ir.Reduced) or op.token_asks:
        return everything(op.source, op.target)
    if isinstance(op.space, ir.Cross):
        (own,), (all_,) = identity(op.source), everything(op.source, op.target)
        return Product(own.rows, all_.columns), Product(all_.rows, own.columns)
    if isinstance(op.weights, ir.Outlook):
        return composed(_turned(_outlook(op, op.weights)), _outlook(op, op.weights))
    if isinstance(op.space, ir.Sliding):
        return _sliding(op, op.space)
    return _windows(op, op.space)


def _weights(op: Connect, read: Reach) -> Reach:
    """What the weights between a position and what it reads are made from."""
    if isinstance(op.weights, ir.Static):
        return ()
    if isinstance(op.weights, ir.Outlook):
        return composed(_turned(_outlook(op, op.weights)), _patches(op, op.weights.stride))
    if isinstance(op.weights, ir.Attention):
        asked = united(*read, *identity(op.source)) if op.source.positions == op.target.positions else read
        convolved = op.weights.pre_convolution
        if convolved is None:
            return asked
        half = convolved.size // 2
        return composed(asked, _axes(op, lambda out, into, _: abs(into - out) <= half, op.source))
    if op.weights.source == "pooled":
        return everything(op.source, op.target)
    moved = isinstance(op.space, ir.Sliding) and op.space.stride != (1, 1)
    return _patches(op, op.space.stride) if moved and isinstance(op.space, ir.Sliding) else identity(op.source)


def _axes(op: Op, reads: Callable[[int, int, int], bool], target: Feature | None = None) -> Reach:
    """The product of one rule for both axes: (outgoing, incoming, axis) -> bool."""
    out, tables = target or op.target, []
    for axis, (new, old) in enumerate(((out.height, op.source.height), (out.width, op.source.width))):
        tables.append(np.array([[reads(i, j, axis) for j in range(old)] for i in range(new)]))
    return (Product(*tables),)


def _sliding(op: Op, space: ir.Sliding) -> Reach:
    def reads(out: int, into: int, axis: int) -> bool:
        tap, rest = divmod(into + space.before[axis] - space.stride[axis] * out, space.dilation[axis])
        return rest == 0 and 0 <= tap < space.size[axis]

    return _axes(op, reads)


def _windows(op: Connect, space: ir.Window) -> Reach:
    """Slots as in archspec/reference: per axis, positions connect in one window, on one side of the wrap."""
    padded = space.padded(op.source)

    def reads(out: int, into: int, axis: int) -> bool:
        size, shift, length = space.size[axis], space.shift[axis], padded[axis]
        if space.halo != (0, 0):
            return -space.halo[axis] <= into - out // size * size < size + space.halo[axis]
        i, j = (out - shift) % length, (into - shift) % length
        if space.interlaced:
            return i % (length // size) == j % (length // size)
        return i // size == j // size and (out < shift) == (into < shift)

    return _axes(op, reads)


def _outlook(op: Connect, weights: ir.Outlook) -> Reach:
    """Which positions each window of an outlook holds."""
    rows, columns = weights.grid(op.source)
    space = op.space
    assert isinstance(space, ir.Sliding)

    def holds(window: int, into: int, axis: int) -> bool:
        return 0 <= into - weights.stride[axis] * window + space.size[axis] // 2 < space.size[axis]

    return _axes(op, holds, Feature(rows, columns, 1))


def _patches(op: Connect, stride: Pair) -> Reach:
    """The patches whose means predict weights: one for each place, those at the end ragged."""
    grid = Feature(-(-op.source.height // stride[0]), -(-op.source.width // stride[1]), 1)
    return _axes(op, lambda out, into, axis: into // stride[axis] == out, grid)


def _turned(read: Reach) -> Reach:
    return tuple(Product(product.rows.T, product.columns.T) for product in read)


def _resized(op: ir.Resize) -> Reach:
    """The positions between whose centres a new position lies (archspec/ir/ops.py); one of weight zero is not read."""
    sizes = (op.source.height, op.target.height), (op.source.width, op.target.width)

    def reads(out: int, into: int, axis: int) -> bool:
        old, new = sizes[axis]
        if op.kind == "nearest":
            return into == out * old // new
        place = min(max((out + 0.5) * old / new - 0.5, 0), old - 1)
        return abs(into - place) < 1

    return _axes(op, reads)
