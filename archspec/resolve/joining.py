"""How branches are joined and the shapes they give go in; the shape of the result comes out, or why there is none."""

from archspec.ir import Feature, Shape
from archspec.normal import Illegal


def joined_target(join: str, given: tuple[Shape, ...]) -> Feature:
    """The map that branches joined by sum, product, concat or tokens give. Raises Illegal."""
    maps = tuple(shape for shape in given if isinstance(shape, Feature))
    if len(maps) != len(given):
        raise Illegal("branches that are joined give one map each", _listed(given))
    first, *others = maps
    if join == "sum":
        if any(other != first for other in others):
            raise Illegal("the branches of a sum must give the same shape", _listed(given))
        return first
    if join == "product":
        return _product(first, others)
    return _concatenated(maps) if join == "concat" else _with_token(maps)


def _product(first: Feature, others: list[Feature]) -> Feature:
    for other in others:
        same_places = _places(other) == _places(first) or _places(other) == (1, 1, 0)
        if not same_places or other.channels not in (first.channels, 1):
            rule = (
                "what a map is multiplied by must have its shape, or one position (as after pool: mean), or one channel"
            )
            raise Illegal(rule, f"{first} times {other}")
    return first


def _concatenated(maps: tuple[Feature, ...]) -> Feature:
    first = maps[0]
    if any(_places(other) != _places(first) for other in maps):
        raise Illegal("branches are concatenated over channels: their maps must have one size", _listed(maps))
    return Feature(first.height, first.width, sum(each.channels for each in maps), first.class_tokens)


def _with_token(maps: tuple[Feature, ...]) -> Feature:
    rule = (
        "join: tokens takes two branches: the first gives one position (as select: class_token does), "
        "the second a map without a class token (select: map), of the same width"
    )
    if len(maps) != 2 or _places(maps[0]) != (1, 1, 0) or maps[1].class_tokens or maps[0].channels != maps[1].channels:
        raise Illegal(rule, _listed(maps))
    return Feature(maps[1].height, maps[1].width, maps[1].channels, 1)


def _places(feature: Feature) -> tuple[int, int, int]:
    return feature.height, feature.width, feature.class_tokens


def _listed(given: tuple[Shape, ...]) -> str:
    return " and ".join(map(str, given))
