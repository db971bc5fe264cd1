"""A module goes in; what it is, measured from its Jacobian, comes out.

targets.py    a name, a file or a function -> module and shape
copies.py, precision.py    the copy that is measured, and all it does, in float64
subject.py    module -> a function of (batch, positions, channels)
scene.py, suspects.py      inputs, positions and rows that all measurements share
lines.py, patterns.py, spaces.py    what is read -> the space, and its holes
reading.py    what is read at any input; channels that read differently
background.py, dependence.py, clean.py    what weights change with; rows of W without it
channels.py, ties.py, ranks.py, equivariance.py    the other axes
unseen.py     what no gradient shows
table.py, nearest.py    the row of Table 1, the nearest spec
maps.py, facts.py    all of it as data, without torch
"""

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from archspec.probe.facts import Facts as Facts
from archspec.probe.facts import Report as Report

if TYPE_CHECKING:
    from torch import nn

    from archspec.probe.copies import Redraw
    from archspec.probe.subject import Layout


def probe(
    module: "nn.Module",
    shape: Sequence[int],
    *,
    layout: "Layout | None" = None,
    grid: tuple[int, int] | None = None,
    redraw: "Redraw" = "zeros",
    seed: int = 0,
) -> Facts:
    """Measure a module that maps feature maps to feature maps of the same layout.

    Args:
        module: any torch module; a copy of it is measured, in eval mode and float64.
        shape: of its input, with or without the batch: (C, H, W), (H, W, C), or (N, C) of a sequence.
        layout: nchw, nhwc or nlc; None reads it off the shape.
        grid: height and width of the map that a sequence is; None: the largest square.
        redraw: which parameters are drawn anew in the copy: those that are zero (or nearly, and equal), all, none.
        seed: of the inputs and of parameters drawn anew.

    Raises:
        ProbeError: the module does not run on such maps, mixes images, or gives no map.
    """
    from archspec.probe.measuring import measure
    from archspec.probe.subject import subject_of

    return measure(subject_of(module, shape, layout, grid, redraw, seed), seed)


class _Callable(ModuleType):
    """`archspec.probe` is this package and the function of its name, whichever was imported first."""

    def __call__(self, *arguments: Any, **named: Any) -> Facts:
        return probe(*arguments, **named)


sys.modules[__name__].__class__ = _Callable
