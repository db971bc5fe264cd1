"""A subject goes in; output positions that do not move as the others do come out: something differs there.

On a large map not every row of W is measured. Outputs are cheap: where f(shift x) is shift f(x) at all positions but a
few, rows at those few are measured too. Legend: B batch, N positions, C channels.
"""

import torch
from torch import Tensor

from archspec.probe.subject import Subject

EQUAL = 1e-9
LARGEST_SHARE = 0.2
LARGEST_SHIFT = 16
MOST = 64


def suspects(subject: Subject, seed: int) -> set[int]:
    """Numbers of output positions among height * width, without tokens; none where the module moves with no shift.

    A position that is unlike others disagrees with a shift down and with a shift across; a border with one of them.
    """
    found: set[int] | None = None
    for axis in (0, 1):
        here = _disagreeing(subject, seed, axis)
        if here is None:
            return set()
        found = here if found is None else found & here
    return set(sorted(found or ())[:MOST])


def _disagreeing(subject: Subject, seed: int, axis: int) -> set[int] | None:
    """Positions that disagree with the smallest shift along an axis with which most agree; None if there is none."""
    source, target = subject.source, subject.target
    length, outgoing = (source.height, target.height) if axis == 0 else (source.width, target.width)
    stride = max(1, round(length / outgoing))
    x = subject.inputs(1, seed)
    before = _map(subject.outputs(x)[:, target.tokens :], target.height)
    for shift in range(stride, min(LARGEST_SHIFT * stride, length // 2) + 1, stride):
        moved = _map(x[:, source.tokens :], source.height).roll(shift, 1 + axis).flatten(1, 2)
        after = subject.outputs(torch.cat([x[:, : source.tokens], moved], 1))[:, target.tokens :]
        unlike = (_map(after, target.height) - before.roll(shift // stride, 1 + axis))[0].abs().amax(-1)
        wrong = unlike > EQUAL * before.abs().max()
        if float(wrong.double().mean()) <= LARGEST_SHARE:
            return set(wrong.flatten().nonzero().flatten().tolist())
    return None


def _map(x: Tensor, height: int) -> Tensor:
    """(B, N, C) as (B, H, W, C)."""
    laid: Tensor = x.unflatten(1, (height, -1))
    return laid
