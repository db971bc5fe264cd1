"""Where a layer stands goes in; widths and group counts in whole numbers come out, or what forbids them."""

from dataclasses import dataclass

from archspec.ir import Feature
from archspec.schema.axes import Groups, GroupWidth, Size
from archspec.schema.layer import StageRatio, WidthDivide, WidthRatio


class Illegal(Exception):
    """A layer that cannot stand where it stands: the rule, what was found, the nearest valid choices."""

    def __init__(self, rule: str, found: str = "", nearest: tuple[str, ...] = ()) -> None:
        super().__init__(rule)
        self.rule, self.found, self.nearest = rule, found, nearest


@dataclass(frozen=True)
class Place:
    """Where a layer stands: its path, the incoming shape, and what the network says of layers that do not say."""

    path: str
    source: Feature
    stage_width: int
    init: str
    classes: int = 0
    """How many classes the network tells apart; 0 where nobody said."""

    def inside(self, name: str, source: Feature) -> "Place":
        return Place(f"{self.path}.{name}", source, self.stage_width, self.init, self.classes)


def pair(size: Size | int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def width_of(width: int | str | WidthRatio | WidthDivide | StageRatio | None, place: Place) -> int:
    """The outgoing width that a layer asks for."""
    incoming = place.source.channels
    if width is None:
        return incoming
    if isinstance(width, int):
        return width
    if isinstance(width, WidthRatio):
        return whole(width.ratio * incoming, f"{width.ratio} x {incoming} channels")
    if isinstance(width, StageRatio):
        return whole(width.stage_ratio * place.stage_width, f"{width.stage_ratio} x {place.stage_width} channels")
    if isinstance(width, WidthDivide):
        if incoming % width.divide:
            found = f"{incoming} channels in {width.divide} parts"
            raise Illegal("divide must divide the number of channels", found, closest_divisors(incoming, width.divide))
        return incoming // width.divide
    if width == "classes" and not place.classes:
        raise Illegal("the number of classes is known inside a network only", "width: classes", ("stage",))
    return place.classes if width == "classes" else place.stage_width


def whole(value: float, found: str) -> int:
    """A size that must come out as a whole number of at least one."""
    if value != round(value) or value < 1:
        raise Illegal("a ratio times a size must be a whole number", f"{found} = {value:g}")
    return round(value)


def group_count(value: Groups | GroupWidth, width: int, what: str) -> int:
    """How many groups; the width must be a multiple."""
    if isinstance(value, Groups):
        count, name = value.groups, "groups"
    else:
        count, name = width // value.group_width, "group_width"
    size = value.groups if isinstance(value, Groups) else value.group_width
    if width % size or not count:
        found = f"{size} for {width} {what}"
        raise Illegal(f"{name} must divide the number of {what}", found, closest_divisors(width, size))
    return count


def closest_divisors(width: int, wanted: int) -> tuple[str, ...]:
    """The three divisors of a width that are nearest to the one that was asked for."""
    divisors = sorted((d for d in range(1, width + 1) if width % d == 0), key=lambda d: abs(d - wanted))
    return tuple(map(str, divisors[:3]))
