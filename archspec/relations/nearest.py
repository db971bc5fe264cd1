"""A signature goes in; the named networks that it equals or is nearest to come out, with how far they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from archspec.relations.difference import distance
from archspec.relations.index import Named
from archspec.relations.signature import Pattern, Signature, Step


@dataclass(frozen=True)
class Near:
    """A named network, and how many axis edits and other edits it is away."""

    name: str
    axis_edits: int
    other_edits: int


def equal_names(found: Signature, named: Mapping[str, Named]) -> tuple[str, ...]:
    """The named networks with the same normal form, the asked one among them if it is named."""
    return tuple(name for name, other in named.items() if other.signature.digest == found.digest)


def nearest(found: Signature, named: Mapping[str, Named], count: int = 3) -> tuple[Near, ...]:
    """The nearest named networks that are not equal: fewest axis edits, then fewest others, then by name."""
    others = {name: each.signature for name, each in named.items() if each.signature.digest != found.digest}
    bounds = {name: at_least(found, other) for name, other in others.items()}
    best: list[Near] = []
    for name in sorted(others, key=lambda name: (bounds[name], name)):
        if len(best) == count and bounds[name] > best[-1].axis_edits:
            break
        best.append(Near(name, *distance(found, others[name])))
        best = sorted(best, key=lambda near: (near.axis_edits, near.other_edits, near.name))[:count]
    return tuple(best)


def at_least(before: Signature, after: Signature) -> int:
    """A bound that the axis edits of two networks cannot be below, found without aligning them.

    Each block is made into some block of the other network, and a connection more or less is an axis edit.
    """
    ours, theirs = _sizes(before), _sizes(after)
    ways = [min(abs(size - other) for other in theirs) for size in ours]
    back = [min(abs(size - other) for other in ours) for size in theirs]
    return max(ways + back)


def _sizes(whole: Signature) -> set[int]:
    return {connections(block) for stage in whole.stages for block in stage.blocks}


@cache
def connections(pattern: Pattern) -> int:
    """How many connections a pattern holds."""
    return sum(
        (item.kind == "connect") if isinstance(item, Step) else sum(connections(chain) for chain in item.chains)
        for item in pattern
    )
