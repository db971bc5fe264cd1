"""A subject goes in; with which shifts of its input its output moves comes out (arXiv 2106.04263, Appendix C).

The input is rolled, which a border cannot see, and outputs are compared away from the borders, and from the seam that
the roll moved into the map.
"""

import torch
from torch import Tensor

from archspec.probe.facts import Equivariance, Pair
from archspec.probe.scene import Scene

EQUAL = 1e-7
LARGEST_SHIFT = 32


def equivariance(scene: Scene, reach: Pair) -> Equivariance:
    """reach: how far, in input positions, an output position reads down and across (0 where it reads everything)."""
    source, target = scene.subject.source, scene.subject.target
    if min(source.height, source.width) < 3 and max(source.height, source.width) < 3:
        return Equivariance("unknown", remark="the map is too small to move in")
    tried: list[Pair] = []
    periods: list[int | None] = []
    doubts: list[str] = []
    for axis in (0, 1):
        length, outgoing = (source.height, target.height) if axis == 0 else (source.width, target.width)
        if length == 1 or outgoing == 1 or length % outgoing:
            periods.append(1 if length == 1 else None)
            continue
        found, small = _period(scene, axis, length // outgoing, reach[axis], tried)
        periods.append(found)
        if found is None and small:
            doubts.append("down" if axis == 0 else "across")
    down, across = periods
    if doubts:
        return Equivariance(
            "unknown",
            tried=tuple(tried),
            remark=f"the map is too small {' and '.join(doubts)}: borders reach everywhere",
        )
    if down is None or across is None:
        return Equivariance("none", tried=tuple(tried))
    if (down, across) == (1, 1):
        return Equivariance("any", (1, 1), tuple(tried))
    return Equivariance("blocks", (down, across), tuple(tried))


def _period(scene: Scene, axis: int, stride: int, reach: int, tried: list[Pair]) -> tuple[int | None, bool]:
    """The smallest shift along one axis with which the output moves; without one, whether borders left no inside."""
    source = scene.subject.source
    length = (source.height, source.width)[axis]
    small = False
    for shift in range(stride, min(length // 2, LARGEST_SHIFT) + 1, stride):
        tried.append((shift, 0) if axis == 0 else (0, shift))
        moves, inside = _moves(scene, axis, shift, stride, reach)
        if moves:
            return shift, False
        small |= not inside
    return None, small


def _moves(scene: Scene, axis: int, shift: int, stride: int, reach: int) -> tuple[bool, bool]:
    """Whether the output moves with a shift, and whether there is an inside that no border reaches."""
    source, target = scene.subject.source, scene.subject.target
    before = scene.inputs[:1]
    after = torch.cat([before[:, : source.tokens], _rolled(before[:, source.tokens :], source.height, axis, shift)], 1)
    one, other = scene.subject.outputs(torch.cat([before, after]))[:, target.tokens :]
    moved = _rolled(one[None], target.height, axis, shift // stride)[0]
    length = (target.height, target.width)[axis]
    first, past = (shift + reach) // stride + bool(reach), length - -(-reach // stride)
    room = past > first
    if not room:
        first, past = shift // stride, length
    inside = [slice(None), slice(None)]
    inside[axis] = slice(first, past)
    difference = (moved - other).unflatten(0, (target.height, target.width))[inside[0], inside[1]]
    return bool(difference.abs().max() <= EQUAL * one.abs().max().clamp_min(1e-300)), room


def _rolled(x: Tensor, height: int, axis: int, shift: int) -> Tensor:
    """x: (B, N, C), moved down or across by a shift, around the border."""
    moved: Tensor = x.unflatten(1, (height, -1)).roll(shift, 1 + axis).flatten(1, 2)
    return moved
