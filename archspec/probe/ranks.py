"""A scene goes in; whether W has a low rank - as a whole, over positions, or by pooling keys - comes out."""

import torch

from archspec.probe.facts import Channels, Pair, Space
from archspec.probe.scene import Scene, rank

LARGEST = 1 << 21
"""Entries of the largest Jacobian that is measured whole."""


def low_rank(scene: Scene, space: Space, channels: Channels) -> tuple[str, str]:
    """ "space", "all" or "", and a sentence; only of a small affine module, whose Jacobian can be measured whole."""
    source, target = scene.subject.source, scene.subject.target
    incoming, outgoing = source.positions * source.channels, target.positions * target.channels
    if not scene.affine or incoming * outgoing > LARGEST or space.kind in ("point", "nothing"):
        return "", ""
    whole = torch.cat([scene.one_by_one(scene.inputs[0], i, range(target.channels)) for i in range(target.positions)])
    positions = rank(whole.transpose(0, 1).flatten(1))
    read = int((whole != 0).any(2).any(0).sum())
    pooled = space.kind == "full" and channels.kind == "separate" and positions == 1
    # Of one channel with one kernel, W has no more rows than outputs: that a map shrinks makes no low rank.
    most = min(read, target.positions) if channels.kind == "separate" else read
    if positions <= most // 2 and not pooled:
        return "space", f"W has rank {positions} over the {source.positions} incoming positions"
    everything = rank(whole.flatten(1))
    if everything < min(incoming, outgoing) // 2 and channels.kind == "full":
        return "all", f"W has rank {everything} of {min(incoming, outgoing)}"
    return "", ""


def pooled_ratio(scene: Scene) -> Pair:
    """How many times smaller the map is that keys and values come from: (1, 1) if it is x itself.

    Positions of one patch of a pooled map reach other positions only through their common linear combination of C
    channels: the columns of a patch of r x r positions, r^2 C of them, have rank at most C.
    """
    source = scene.subject.source
    width = source.channels
    best: Pair = (1, 1)
    if width > 384 or min(source.height, source.width) < 4:
        return best
    first = source.tokens
    far = [i for i in scene.positions if i - scene.subject.target.tokens >= source.width * (source.height // 2)]
    if not far:
        return best
    count = 2 * width + 8
    places = [far[n % len(far)] for n in range(count)]
    directions = scene.normal(count, scene.subject.target.channels)
    rows = scene.subject.rows(scene.inputs[0], places, directions)
    for ratio in range(2, source.height // 2 + 1):
        if source.height % ratio or source.width % ratio:
            continue
        patch = [first + r * source.width + c for r in range(ratio) for c in range(ratio)]
        if rank(rows[:, torch.as_tensor(patch)].flatten(1), 1e-7) <= width:
            best = (ratio, ratio)
    return best
