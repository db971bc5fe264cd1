"""Maps and what branches make of them go in; what a branch takes, and the joined result, come out.

(B, H, W, C), or (B, 1, T + H * W, C) with a class token; a tuple of maps where there are streams.
"""

from typing import Any

import torch
from torch import Tensor

from archspec import ir
from archspec.kernels.shapes import as_map, flat


def fed(feed: ir.Feed, x: Any) -> Any:
    """What a branch takes: all of x, a slice of its channels (a view), or one of its maps."""
    if isinstance(feed, ir.Channels):
        return x[..., feed.start : feed.stop]
    return x[feed.index] if isinstance(feed, ir.Stream) else x


def gives_new(ops: tuple[ir.Op, ...]) -> bool:
    """Whether what ops give is a map of its own: not what they take, a view of it, or one value seen many times."""
    for op in reversed(ops):
        if isinstance(op, ir.DropPath):
            continue
        selects = isinstance(op, ir.Pool) and op.kind == "class_token"
        one_of_several = isinstance(op, ir.Branches) and (len(op.branches) == 1 or op.join == "streams")
        one_value = isinstance(op, ir.Resize) and op.source.positions == 1
        return not (isinstance(op, ir.MapOnly) or selects or one_of_several or one_value)
    return False


def join(op: ir.Branches, results: list[Any]) -> Any:
    """The results of branches as one map, or as several."""
    if op.join == "streams":
        return tuple(results)
    if op.join == "concat":
        return torch.cat(results, -1)
    if op.join == "tokens" and isinstance(op.target, ir.Feature):
        token, rest = results
        return as_map(torch.cat([flat(token), flat(rest)], 1), op.target)
    total: Tensor = results[0]
    for result in results[1:]:
        total = total + result if op.join == "sum" else total * result
    return total
