"""A scene goes in; what its positions read at any input comes out, and groups of channels that read alike.

At one input, an activation or a maximum hides what is read at another. So inputs are drawn, larger and smaller ones,
until nothing new is read.

Legend: P output positions, N input positions, D outgoing and C incoming channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from archspec.probe.scene import TOLERANCE, Scene
from archspec.probe.subject import Subject

MOST_DRAWS, HEAVY_DRAWS = 64, 4
PATIENCE, LITTLE_PATIENCE = 16, 4
SCALES = (1.0, 0.3, 10.0, 3.0)
ROWS, ROWS_AT_MANY_INPUTS = 2048, 128
"""Rows that are measured to compare channels: at one input, at many; fewer of large maps."""
MOST_ELEMENTS = 1 << 23
"""Of all these rows together."""


@dataclass(frozen=True)
class Group:
    """Outgoing channels that read the same positions, and the incoming channels that they read (all, if unsure)."""

    channels: tuple[int, ...]
    inputs: tuple[int, ...]


def ever(
    scene: Scene,
    first: Tensor,
    measured: Callable[[Tensor], Tensor],
    patience: int = PATIENCE,
    enough: Callable[[Tensor], bool] = lambda seen: bool(seen.all()),
) -> Tensor:
    """Whether entries are ever other than zero, over as many inputs as show something new.

    first: sizes of entries at the first input; measured: (N, C) -> sizes of the same entries at another. patience:
    after how many inputs that show nothing new no more are drawn; enough: whether no more are needed.
    """
    seen = _told(first)
    # Of few positions, as the one of a maximum over the map, a draw shows little and costs little.
    idle, most = 0, HEAVY_DRAWS if scene.subject.heavy else max(MOST_DRAWS, ROWS // len(scene.positions))
    for count in range(most):
        if enough(seen) or idle == patience:
            break
        x = SCALES[count // 2 % len(SCALES)] * _drawn(scene, alike=bool(count % 2))
        now = _told(measured(x))
        idle = 0 if bool((now & ~seen).any()) else idle + 1
        seen |= now
    return seen


def _drawn(scene: Scene, alike: bool) -> Tensor:
    """A normal map, or one whose positions are nearly alike: where an activation lets one through, it does all."""
    x = scene.normal(*scene.inputs[0].shape)
    return 0.1 * x + scene.normal(1, x.shape[1]) if alike else x


def positions_read(scene: Scene, rows: Tensor) -> Tensor:
    """What each measured position ever reads: (P, N), true or false. rows: (P, N, C) at the first input."""

    def measured(x: Tensor) -> Tensor:
        return scene.subject.rows(x, scene.positions, scene.direction).abs().amax(-1)

    return ever(scene, rows.abs().amax(-1), measured)


def _told(size: Tensor) -> Tensor:
    return size > TOLERANCE * max(float(size.max()), 1e-300)


def groups(scene: Scene, places: Sequence[int]) -> tuple[Group, ...]:
    """Groups of channels that read the same positions, those that read nothing left out; () of a heavy module.

    Where an outgoing channel reads one incoming channel only, every position of it was measured already; otherwise
    channels are compared at as many positions as can be afforded. places: output positions that nothing was cut off
    from, at which incoming channels are looked for.
    """
    if scene.subject.heavy or not 1 < scene.subject.target.channels <= _affordable(scene, ROWS):
        return ()
    reads = _channels_read(scene, places)
    separate = bool((reads.sum(1) <= 1).all())
    found = _by_incoming_channel(scene, reads) if separate else _one_by_one(scene, places[0])
    return _collected(found, reads if scene.affine else torch.ones_like(reads))


def _affordable(scene: Scene, rows: int) -> int:
    return min(rows, MOST_ELEMENTS // (scene.subject.source.positions * scene.subject.source.channels))


def _channels_read(scene: Scene, places: Sequence[int]) -> Tensor:
    """Which incoming channels each outgoing one reads: (D, C)."""
    every = range(scene.subject.target.channels)

    def measured(x: Tensor) -> Tensor:
        return torch.stack([scene.one_by_one(x, i, every).abs().amax(1) for i in places]).amax(0)

    first = measured(scene.inputs[0])
    return _told(first) if scene.affine else ever(scene, first, measured, LITTLE_PATIENCE)


def _by_incoming_channel(scene: Scene, reads: Tensor) -> Tensor:
    """(D, P, N): what each channel reads, each from one incoming channel of its own."""

    def measured(x: Tensor) -> Tensor:
        return scene.subject.rows(x, scene.positions, scene.direction).abs()

    def by_channel(seen: Tensor) -> Tensor:
        return seen.permute(2, 0, 1)[reads.int().argmax(1)] & reads.any(1)[:, None, None]

    first = scene.rows.abs()
    if scene.affine:
        return by_channel(_told(first))
    return by_channel(ever(scene, first, measured, enough=lambda seen: _agree(by_channel(seen))))


def _one_by_one(scene: Scene, usual: int) -> Tensor:
    """(D, P', N): what each channel reads, at some positions."""
    width = scene.subject.target.channels
    rows = _affordable(scene, ROWS if scene.affine else ROWS_AT_MANY_INPUTS)
    step = -(-len(scene.positions) // max(1, rows // width))
    places = sorted({usual, *scene.positions[step // 2 :: step]})

    def measured(x: Tensor) -> Tensor:
        return torch.stack([scene.one_by_one(x, i, range(width)).abs().amax(-1) for i in places], 1)

    first = measured(scene.inputs[0])
    return _told(first) if scene.affine else ever(scene, first, measured, PATIENCE // 2, _agree)


def _agree(seen: Tensor) -> bool:
    """Whether channels that read anything, most of all, read the same. seen: (D, P, N)."""
    alive = seen[seen.flatten(1).any(1)]
    return 2 * len(alive) > len(seen) and bool((alive == alive[:1]).all())


def _collected(seen: Tensor, reads: Tensor) -> tuple[Group, ...]:
    """Channels with equal footprints. seen: (D, P, N); reads: (D, C)."""
    found: dict[bytes, list[int]] = {}
    for channel, footprint in enumerate(seen):
        if bool(footprint.any()):
            found.setdefault(footprint.numpy().tobytes(), []).append(channel)
    largest_first = sorted(found.values(), key=lambda each: (-len(each), each))
    return tuple(
        Group(tuple(each), tuple(reads[torch.as_tensor(each)].any(0).nonzero().flatten().tolist()))
        for each in largest_first
    )


def restricted(subject: Subject, group: Group) -> Subject:
    """The subject on these channels alone; incoming channels that they do not read are zero."""
    outputs, inputs = torch.as_tensor(group.channels), torch.as_tensor(group.inputs)

    def run(x: Tensor) -> Tensor:
        whole = x.new_zeros(*x.shape[:-1], subject.source.channels)
        return subject.run(whole.index_copy(-1, inputs, x))[..., outputs]

    return replace(
        subject,
        run=run,
        source=replace(subject.source, channels=len(inputs)),
        target=replace(subject.target, channels=len(outputs)),
    )
