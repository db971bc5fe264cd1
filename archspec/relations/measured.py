"""What was measured of a layer goes in (in the words of archspec.probe.facts); its form comes out.

So the nodes of the relation graph can be had without reading a spec: `graph_of` takes these forms as it takes those of
archspec.relations.reading.
"""

from collections.abc import Iterable

from archspec.relations.form import Channels, Direction, Form, Index, Space, Weights

_SPACES: dict[str, Space] = {"full": "full", "pooled": "full", "mean": "full", "point": "point"}
_CHANNELS: dict[str, Channels] = {"separate": "separate", "full": "full"}
_WEIGHTS: dict[str, Weights] = {"static": "static", "pooled": "homogeneous"}
_TIES: dict[str, Index] = {"offsets": "offsets", "all": "offsets", "windows": "windows"}


def measured_form(
    space: str,
    channels: str,
    positions: str,
    weights: str,
    low_rank: Iterable[Direction] = (),
    ordered: bool | None = None,
) -> Form:
    """The form of a layer.

    Args:
        space: kind of `facts.Space`; every kind but full, pooled, mean and point is a part of the positions: local.
        channels: kind of `facts.Channels`; every kind but separate and full is a part of the channels: groups.
        positions: `facts.Ties.positions`: which entries of one input are equal. Read for static and pooled weights.
        weights: kind of `facts.Dependence`.
        low_rank: the directions in which W is a product of thinner matrices; a pooled space is one over space.
        ordered: of weights that differ by position, whether an offset has a part of the law of its own (a vector)
            or the window is a set; None: attention is a set, everything else in a sliding window a vector.

    Raises:
        ValueError: the layer reads nothing, or its weights could not be told.
    """
    if space == "nothing" or weights == "unknown":
        raise ValueError(f"no form: the layer reads {space!r} with {weights!r} weights")
    rank: frozenset[Direction] = frozenset((*low_rank, "space") if space == "pooled" else low_rank)
    kind = _WEIGHTS.get(weights, "inhomogeneous")
    index = _TIES.get(positions, "places") if kind != "inhomogeneous" else _law(space, weights, ordered)
    return Form(_SPACES.get(space, "local"), _CHANNELS.get(channels, "groups"), rank, kind, index)


def _law(space: str, weights: str, ordered: bool | None) -> Index:
    if ordered is None:
        ordered = weights != "attention" and space in ("sliding", "point")
    if ordered:
        return "offsets"
    if weights == "attention":
        return "content"
    return "places" if space in ("full", "pooled", "mean") else "windows"
