"""Clean rows of W go in; which channels a channel reads, and which channels share a kernel, come out.

As they stand, channels may be mixed although each has a kernel of its own: a projection before (the value of attention)
or after (its output) hides it. A row over positions j and channels c is then the product of a profile over j and a
vector over c; or all blocks W_ij become diagonal in one basis, with equal values for channels that share a kernel.

Legend: D channels measured, K positions that a position reads, C incoming channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from archspec.probe.clean import Clean
from archspec.probe.facts import Channels, Dependence
from archspec.probe.scene import TOLERANCE, rank

EQUAL = 1e-6
Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Structure:
    """What channels read, and groups of channels that share a kernel (those of one channel are left out)."""

    channels: Channels
    shared: Groups
    count: int
    """How many different kernels there are."""
    dead: tuple[int, ...] = ()
    """Output channels that read nothing."""
    note: str = ""


def structure(clean: Clean, found: Dependence) -> Structure:
    """Connectivity and sharing over channels."""
    scene, view = clean.scene, clean.view
    channels = scene.channels()
    read = torch.as_tensor(sorted({*view.support, *view.centre}))
    blocks = clean.one_by_one(view.position, channels)[:, read]
    mask = blocks.abs().amax(1) > TOLERANCE * max(float(blocks.abs().max()), 1e-300)
    dead = tuple(channels[n] for n in (~mask.any(1)).nonzero().flatten().tolist())
    direct = _direct(mask, channels, scene.subject.source.channels)
    if found.choice:
        return Structure(direct, (), len(channels), dead)
    if found.kind == "attention":
        return _attention(clean, found, direct, dead)
    if direct.kind == "separate":
        kernels = _kernels(clean, channels, mask)
        return _shared(direct, kernels, channels, found.elementwise, dead)
    if len(read) > 1:
        hidden = _projected(blocks, channels, found.elementwise)
        if hidden is not None:
            return hidden
    return _shared_blocks(direct, blocks, mask, channels, dead)


def _direct(mask: Tensor, channels: Sequence[int], width: int) -> Channels:
    """What the channels read as they stand. mask: (D, C)."""
    mixing = bool((mask.sum(1) > 1).any())
    alive = [n for n in range(len(mask)) if bool(mask[n].any())]
    if not mixing:
        reads = {channels[n]: int(mask[n].nonzero()[0]) for n in alive}
        if len(set(reads.values())) == len(reads):
            return Channels("separate", permuted=any(d != c for d, c in reads.items()))
    if bool(mask[alive].all()):
        return Channels("full", mixing=True)
    parts: dict[tuple[int, ...], list[int]] = {}
    for n in alive:
        parts.setdefault(tuple(mask[n].nonzero().flatten().tolist()), []).append(channels[n])
    disjoint = sum(len(inputs) for inputs in parts) == len({c for inputs in parts for c in inputs})
    if not disjoint:
        return Channels("irregular", mixing=mixing)
    groups = tuple(sorted(tuple(outputs) for outputs in parts.values()))
    ordered = sorted((tuple(outputs), inputs) for inputs, outputs in parts.items())
    blocks = all(part[-1] - part[0] + 1 == len(part) for pair in ordered for part in pair)
    in_order = [c for _, inputs in ordered for c in inputs] == sorted(c for _, inputs in ordered for c in inputs)
    return Channels("groups", groups, permuted=not (blocks and in_order) and len(channels) >= width, mixing=mixing)


def _kernels(clean: Clean, channels: Sequence[int], mask: Tensor) -> Tensor:
    """The kernel of each separate channel, at several positions one after the other: (D, values)."""
    inside = clean.scene.positions
    chosen = {clean.view.position, *(inside[n * (len(inside) - 1) // 3] for n in range(4))}
    if clean.scene.subject.target.channels > 64:
        chosen = {clean.view.position, inside[0]}
    return torch.cat([clean.one_by_one(i, channels).sum(-1) for i in sorted(chosen)], 1)


def clusters(vectors: Tensor, names: Sequence[int], scaled: bool = False) -> tuple[Groups, int]:
    """Groups of equal vectors (up to a factor, if scaled) and how many different ones there are; zeros left out."""
    size = vectors.norm(dim=1)
    largest = float(size.max()) if len(size) else 0.0
    left = [n for n in range(len(vectors)) if float(size[n]) > TOLERANCE * max(largest, 1e-300)]
    if scaled:
        vectors = vectors / size[:, None].clamp_min(1e-300)
        pivot = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
        vectors, largest = vectors * pivot.sign(), 1.0
    groups = []
    while left:
        distance = (vectors[left] - vectors[left[0]]).norm(dim=1).tolist()
        groups.append(tuple(names[n] for n, far in zip(left, distance, strict=True) if far <= EQUAL * largest))
        left = [n for n, far in zip(left, distance, strict=True) if far > EQUAL * largest]
    return tuple(sorted(group for group in groups if len(group) > 1)), len(groups)


def _shared(
    channels: Channels, kernels: Tensor, names: Sequence[int], scaled: bool, dead: tuple[int, ...]
) -> Structure:
    shared, count = clusters(kernels, names, scaled)
    return Structure(channels, shared, count, dead)


def _shared_blocks(
    direct: Channels, blocks: Tensor, mask: Tensor, channels: Sequence[int], dead: tuple[int, ...]
) -> Structure:
    """Where channels mix: output channels with equal kernels; or groups with equal blocks."""
    if direct.kind != "groups":
        shared, count = clusters(blocks.flatten(1), channels)
        return Structure(direct, shared, count, dead)
    width = int(mask.sum(1).max())
    packed = torch.stack(
        [
            torch.nn.functional.pad(line[:, row], (0, width - int(row.sum()))).flatten()
            for line, row in zip(blocks, mask, strict=True)
        ]
    )
    shared, count = clusters(packed, channels)
    return Structure(direct, shared, count, dead)


def _projected(blocks: Tensor, channels: Sequence[int], scaled: bool) -> Structure | None:
    """Channels that are separate in a basis of their own, or None. blocks: (D, K, C)."""
    hidden = Channels("separate", projected=True, mixing=True)
    flat = blocks.transpose(0, 1).flatten(1)
    if rank(flat) == 1:
        return Structure(hidden, (tuple(channels),), 1)
    if all(rank(row) <= 1 for row in blocks):
        profiles = torch.linalg.svd(blocks, full_matrices=False).U[:, :, 0]
        return Structure(hidden, *clusters(profiles, channels, scaled=True))
    columns = blocks.permute(2, 1, 0)
    if all(rank(column) <= 1 for column in columns):
        profiles = torch.linalg.svd(columns, full_matrices=False).U[:, :, 0]
        return Structure(hidden, *clusters(profiles, range(len(profiles)), scaled=True))
    if scaled or len(blocks) != blocks.shape[2] or blocks.shape[1] < 3:
        return None
    return _diagonal_together(blocks, hidden)


def _diagonal_together(blocks: Tensor, hidden: Channels) -> Structure | None:
    """W_ij = P D_ij Q with diagonal D_ij: then all W_ij^-1 W_ik commute, and eigenvalues tell who shares a kernel."""
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(3, blocks.shape[1], generator=generator, dtype=blocks.dtype)
    first, second, third = torch.einsum("mk,dkc->mdc", weights, blocks)
    if float(torch.linalg.cond(first)) > 1e8:
        return None
    one, other = torch.linalg.solve(first, second), torch.linalg.solve(first, third)
    if (one @ other - other @ one).norm() > EQUAL * one.norm() * other.norm():
        return None
    values = torch.linalg.eigvals(one)
    points = torch.stack([values.real, values.imag], 1)
    return Structure(hidden, *clusters(points, range(len(points))))


def _attention(clean: Clean, found: Dependence, direct: Channels, dead: tuple[int, ...]) -> Structure:
    """Heads: channels whose weights over the positions have one profile; or how many maps all blocks are sums of."""
    channels = clean.scene.channels()
    separate = Channels("separate", mixing=direct.mixing, projected=direct.mixing)
    shared: Groups = ()
    count = len(channels)
    if _one_profile_each(clean, channels):
        shared, count = clusters(_profiles(clean, channels), channels)
    if count < len(channels) and (count > 1 or clean.large is not None):
        return Structure(separate, shared, count, dead)
    if not direct.mixing:
        return Structure(separate, (), len(channels), dead)
    heads = _heads(clean, found)
    width = clean.scene.subject.source.channels
    if heads is None or heads >= width:
        return Structure(separate, (), 0, dead, "how many heads there are could not be told from its rows")
    return Structure(separate, _evenly(width, heads), heads, dead)


def _one_profile_each(clean: Clean, channels: Sequence[int]) -> bool:
    """Whether a channel reads with one profile over the positions; with a projection after, it reads with all."""
    x = clean.large if clean.large is not None else clean.x
    rows = clean.scene.one_by_one(x, clean.view.position, channels[:: max(1, len(channels) // 4)])
    rows[:, torch.as_tensor(clean.view.centre, dtype=torch.long)] = 0.0
    return all(rank(row, 1e-7) <= 1 for row in rows)


def _evenly(width: int, heads: int) -> Groups:
    """Heads in a basis of their own, whose sizes are not measured: as many channels each."""
    size = max(1, width // heads)
    return tuple(tuple(range(n * size, (n + 1) * size)) for n in range(heads)) if size > 1 else ()


def _profiles(clean: Clean, channels: Sequence[int]) -> Tensor:
    """How strongly each channel reads each position, on a constant map and where a softmax chose: (D, values)."""
    inside = clean.scene.positions
    places = {clean.view.position, *(inside[n * (len(inside) - 1) // 5] for n in range(6))}
    if len(channels) > 64:
        places = {clean.view.position, inside[len(inside) // 3]}
    found = []
    for i in sorted(places):
        maps = [clean.one_by_one(i, channels)]
        if clean.large is not None:
            maps.append(clean.scene.one_by_one(clean.large, i, channels))
        for rows in maps:
            size = rows.norm(dim=-1)
            found.append(size / size.norm(dim=1, keepdim=True).clamp_min(1e-300))
    return torch.cat(found, 1)


def _heads(clean: Clean, found: Dependence) -> int | None:
    """The rank of the rows over all pairs of positions.

    Where the softmax chose (or on a constant map, with a bias per head) a block is a sum of one fixed map per head. On
    any map, a row of one position is a combination of those and of one vector per head that the products come from.
    """
    scene = clean.scene
    if clean.large is not None:
        places = scene.positions[:: max(1, len(scene.positions) // 64)]
        return rank(scene.subject.rows(clean.large, places, scene.direction).flatten(0, 1), 1e-7)
    if found.normalised:
        rows = clean.rows([clean.view.position], scene.direction[None])[0]
        heads = rank(rows)
        if heads > 1:
            return heads
    rows = scene.subject.rows(scene.inputs[0], [clean.view.position], scene.direction)[0]
    twice = rank(rows[torch.as_tensor(clean.view.support)])
    limit = min(len(clean.view.support), rows.shape[1])
    return twice // 2 if twice % 2 == 0 and twice < limit else None
