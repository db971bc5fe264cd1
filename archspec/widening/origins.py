"""Two programs of the same ops go in, one with more channels; which channels its parameters copy comes out. No torch.

Net2WiderNet (arXiv 1511.05641): every channel of the wider network is a copy of one of the narrower. What sums over
channels then shares the weight of a channel among its copies, so that y stays what it was: exactly, where each channel
of a map has as many copies as the others. Where not, a layer norm sees more of one than of another, or a group ends
inside a group (after a shuffle too), and only a part of the function is kept.
"""

from dataclasses import dataclass, field
from itertools import accumulate
from typing import cast

import numpy as np

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.widening.connections import connection
from archspec.widening.copying import Axis, Copies, Origin, by_groups, even, kept, part_of

Origins = Origin | tuple[Origin, ...]
"""Of a map, or of several that a network holds at once."""


def copies(narrow: ir.Program, wide: ir.Program) -> dict[str, Copies]:
    """How each parameter of the wider program is copied from the one of that name in the narrower.

    Raises SpecError where the wider program has other ops, or fewer of anything.
    """
    walk = _Walk()
    walk.ops(narrow.ops, wide.ops, even(narrow.image.channels, wide.image.channels))
    rows, wider = ir.parameter_table(narrow), ir.parameter_table(wide)
    for name, row in rows.items():
        shape = wider[name].shape if name in wider else ()
        # Where all channels share, a weight has no axis for its kernels.
        if len(shape) < len(row.shape) or any(w < n for n, w in zip(row.shape[::-1], shape[::-1], strict=False)):
            raise _not_wider(f"{name} has shape {shape}, and {row.shape} in the narrower network")
    return {name: walk.found[name] for name in rows}


@dataclass
class _Walk:
    """Follows the channels of both networks from the image to the logits."""

    found: dict[str, Copies] = field(default_factory=dict)

    def ops(
        self, narrow: tuple[ir.Op, ...], wide: tuple[ir.Op, ...], origin: Origins, wanted: Origins | None = None
    ) -> Origins:
        """What the channels of the last map are copies of: as `wanted`, if the ops leave a choice."""
        if [(type(op), op.path) for op in narrow] != [(type(op), op.path) for op in wide]:
            raise _not_wider(" ".join(op.path for op in wide))
        for place, (first, second) in enumerate(zip(narrow, wide, strict=True)):
            later = narrow[place + 1 :], wide[place + 1 :]
            if isinstance(first, ir.Connect) and isinstance(second, ir.Connect):
                n, w = first.target.channels, second.target.channels
                wish = wanted if wanted is not None and _pass(later[1]) else by_groups(n, w, *_groups(*later))
                origin = self._connect(first, second, cast(Origin, origin), cast(Origin, wish))
            else:
                origin = self._op(first, second, origin)
        return origin

    def _connect(self, narrow: ir.Connect, wide: ir.Connect, origin: Origin, wish: Origin) -> Origin:
        target, rows = connection(narrow, wide, origin, wish)
        self.found |= {f"{wide.path}.{name}": axes for name, axes in rows.items()}
        return target

    def _op(self, narrow: ir.Op, wide: ir.Op, origin: Origins) -> Origins:
        if isinstance(narrow, ir.Branches) and isinstance(wide, ir.Branches):
            return self._branches(narrow, wide, origin)
        if isinstance(narrow, ir.Residual) and isinstance(wide, ir.Residual):
            self.ops(narrow.ops, wide.ops, origin, origin)
            return origin
        here = cast(Origin, origin)  # every other op takes one map
        for row in narrow.parameters:  # of norms, scales and tokens: the channels are the last axis
            axes = (*map(kept, row.shape[:-1]), Axis(here, row.shape[-1]))
            self.found[f"{wide.path}.{row.name}"] = (axes,)
        if isinstance(narrow, ir.Gather):
            return _repeated(here, narrow.source.channels, narrow.size**2)
        if isinstance(wide, ir.Shuffle):
            return _shuffled(here, narrow.source.channels, wide.groups)
        return here

    def _branches(self, narrow: ir.Branches, wide: ir.Branches, origin: Origins) -> Origins:
        results: list[Origins] = []
        for first, second in zip(narrow.branches, wide.branches, strict=True):
            wanted = _agreed(wide, origin, results)
            results.append(self.ops(first.ops, second.ops, _fed(first.feed, second.feed, origin), wanted))
        if wide.join == "streams":
            return tuple(cast(Origin, result) for result in results)
        if wide.join == "tokens":
            return results[-1]
        if wide.join != "concat":
            return results[0]
        sizes = [cast(ir.Feature, branch.target).channels for branch in narrow.branches]
        starts = accumulate(sizes, initial=0)
        parts = [cast(Origin, result) + start for start, result in zip(starts, results, strict=False)]
        return np.concatenate(parts)


def _agreed(op: ir.Branches, origin: Origins, results: list[Origins]) -> Origins | None:
    """What the next branch should give copies of: those of the first, or of a branch that gives what it takes."""
    if op.join not in ("sum", "product"):
        return None
    if any(not branch.ops and isinstance(branch.feed, ir.Everything) for branch in op.branches):
        return origin
    return results[0] if results else None


def _pass(ops: tuple[ir.Op, ...]) -> bool:
    """Whether ops leave channels as they are."""
    changing = (ir.Connect, ir.Branches, ir.Residual, ir.Gather, ir.Shuffle)
    return not any(isinstance(op, changing) for op in ops)


def _groups(narrow: tuple[ir.Op, ...], wide: tuple[ir.Op, ...]) -> tuple[int, int]:
    """Into how many groups the next op that does cuts its channels, before they are mixed, in both: 1 for none."""
    for first, second in zip(narrow, wide, strict=False):  # other ops are told of when they are reached
        if isinstance(first, ir.Connect) and isinstance(second, ir.Connect):
            if second.channels != "separate":
                return first.channel_groups, second.channel_groups
            if isinstance(second.weights, ir.Attention | ir.Outlook) and second.weights.value:
                return 1, 1
            if second.share_channels == "groups":
                return first.kernels, second.kernels
        if isinstance(first, ir.Residual) and isinstance(second, ir.Residual):
            found = _groups(first.ops, second.ops)
            if found != (1, 1):
                return found
        if isinstance(second, ir.Branches):
            count = len(second.branches)
            cut = all(isinstance(branch.feed, ir.Channels) for branch in second.branches)
            return (count, count) if cut else (1, 1)
        if isinstance(second, ir.Gather):
            return 1, 1
    return 1, 1


def _fed(narrow: ir.Feed, wide: ir.Feed, origin: Origins) -> Origins:
    if isinstance(narrow, ir.Channels) and isinstance(wide, ir.Channels):
        part = cast(Origin, origin)[wide.start : wide.stop]
        return part_of(part, narrow.start, narrow.stop - narrow.start, wide.stop - wide.start)
    return origin[wide.index] if isinstance(wide, ir.Stream) and isinstance(origin, tuple) else origin


def _repeated(origin: Origin, channels: int, times: int) -> Origin:
    return np.concatenate([origin + place * channels for place in range(times)])


def _shuffled(origin: Origin, channels: int, groups: int) -> Origin:
    """Channel g * (C / groups) + c goes to c * groups + g, in both networks."""
    taken = np.arange(len(origin)).reshape(groups, -1).T.reshape(-1)
    gone_to = np.argsort(np.arange(channels).reshape(groups, -1).T.reshape(-1))
    return gone_to[origin[taken]]


def _not_wider(found: str) -> SpecError:
    rule = "a wider network has the ops of the narrower one, and at least as many channels everywhere"
    return SpecError([Problem(rule, found)])
