"""A subject goes in; with which shifts of its input its output moves comes out (arXiv 2106.04263, Appendix C).

The input is rolled, which a border cannot see, and outputs are compared away from the borders, and from the seam that
the roll moved into the map.
"""

import torch
from torch import Tensor

from archspec.probe.facts import Equivariance, Pair, Space
from archspec.probe.scene import Scene

EQUAL = 1e-7
LARGEST_SHIFT = 32


def equivariance(scene: Scene, space: Space) -> Equivariance:
    """space: what positions read, which says where borders reach."""
    source, target = scene.subject.source, scene.subject.target
    if (target.height, target.width) == (1, 1):
        return Equivariance("unknown", remark="the output is one position, which has nowhere to move")
    if min(source.height, source.width) < 3 and max(source.height, source.width) < 3:
        return Equivariance("unknown", remark="the map is too small to move in")
    tried: list[Pair] = []
    periods: list[int | None] = []
    doubts: list[str] = []
    for axis in (0, 1):
        length, outgoing = (source.height, target.height) if axis == 0 else (source.width, target.width)
        steps = _steps(length, outgoing, space, axis)
        if length == 1 or steps is None:
            periods.append(1 if length == 1 else None)
            continue
        found, small = _period(scene, axis, steps, _reach(space, axis), tried)
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
    one_line = 1 in (source.height, source.width)
    if (down is None and across is None) or (one_line and None in periods):
        return Equivariance("none", tried=tuple(tried))
    if down is None or across is None:
        return Equivariance("axis", (down or 0, across or 0), tuple(tried))
    if (down, across) == (1, 1):
        return Equivariance("any", (1, 1), tuple(tried))
    return Equivariance("blocks", (down, across), tuple(tried))


def _steps(length: int, outgoing: int, space: Space, axis: int) -> tuple[int, int] | None:
    """(stride, grows) along an axis: a shift by the stride moves the output by `grows`. None where nothing moves."""
    if space.kind in ("point", "sliding"):
        return space.stride[axis], space.grows[axis]
    if outgoing == 1:
        return None
    if length % outgoing == 0:
        return length // outgoing, 1
    return (1, outgoing // length) if outgoing % length == 0 else None


def _reach(space: Space, axis: int) -> int:
    """How far, in input positions, an output position reads; 0 where a border has no meaning."""
    size = space.size[axis]
    if space.kind == "sliding":
        return 0 if space.cyclic else max(space.before[axis], space.dilation[axis] * (size - 1) - space.before[axis])
    if space.kind == "overlapping":
        return 2 * size
    return size - 1 + space.halo[axis] if space.kind in ("window", "halo") else 0


def _period(scene: Scene, axis: int, steps: tuple[int, int], reach: int, tried: list[Pair]) -> tuple[int | None, bool]:
    """The smallest shift along one axis with which the output moves; without one, whether borders left no inside."""
    source = scene.subject.source
    length = (source.height, source.width)[axis]
    small = False
    for shift in range(steps[0], min(length // 2, LARGEST_SHIFT) + 1, steps[0]):
        tried.append((shift, 0) if axis == 0 else (0, shift))
        moves, inside = _moves(scene, axis, shift, steps, reach)
        if moves:
            return shift, False
        small |= not inside
    return None, small


def _moves(scene: Scene, axis: int, shift: int, steps: tuple[int, int], reach: int) -> tuple[bool, bool]:
    """Whether the output moves with a shift, and whether there is an inside that no border reaches."""
    source, target = scene.subject.source, scene.subject.target
    before = scene.inputs[:1]
    after = torch.cat([before[:, : source.tokens], _rolled(before[:, source.tokens :], source.height, axis, shift)], 1)
    one, other = scene.subject.outputs(torch.cat([before, after]))[:, target.tokens :]
    stride, grows = steps
    moved = _rolled(one[None], target.height, axis, shift * grows // stride)[0]
    length = (target.height, target.width)[axis]
    first, past = (shift + reach) * grows // stride + bool(reach), length - -(-reach * grows // stride)
    room = past > first
    if not room:
        first, past = shift * grows // stride, length
    inside = [slice(None), slice(None)]
    inside[axis] = slice(first, past)
    difference = (moved - other).unflatten(0, (target.height, target.width))[inside[0], inside[1]]
    return bool(difference.abs().max() <= EQUAL * one.abs().max().clamp_min(1e-300)), room


def _rolled(x: Tensor, height: int, axis: int, shift: int) -> Tensor:
    """x: (B, N, C), moved down or across by a shift, around the border."""
    moved: Tensor = x.unflatten(1, (height, -1)).roll(shift, 1 + axis).flatten(1, 2)
    return moved
