"""A network as written, with holes, goes in; the same tree with each hole read and checked comes out.

    {choose: [24, 32, 40]}                 one of the options, which may be any data, with further holes inside
    {range: [16, 64], step: 8}             a number; whole numbers go in steps of 1, fractions say their step
    {range: [1, 256], log: true}           whole numbers, tried on a logarithmic scale
    {follow: window, choose: [2, 4]}       no choice of its own: its n-th option where the hole `window` takes its n-th

Every hole may have a `name` (holes of one name share one value), `per: network | stage | block` (how often it is
drawn), and `when: {hole: value}` with `else: value` (what stands there when the condition is not met).
"""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from archspec.errors import Location, Problem, nearest
from archspec.schema.located import LocatedDict, LocatedList, locate, locate_key
from archspec.schema.problems import dotted, shortened
from archspec.schema.writing import one_line
from archspec.search.space.conditions import Label
from archspec.search.space.labels import labels_of, shown
from archspec.search.space.ranges import Range, numbers

Level = Literal["network", "stage", "block"]
LEVELS: tuple[Level, ...] = ("network", "stage", "block")
OPENERS = ("choose", "range")
KEYS = {
    "choose": ("choose", "follow", "name", "per", "when", "else"),
    "range": ("range", "step", "log", "name", "per", "when", "else"),
}
MAXIMUM_CHOICES = 1024
Path = tuple[str | int, ...]
_FIXED: tuple[Path, ...] = ((), ("blocks",))


@dataclass(frozen=True, eq=False)
class Hole:
    """One hole as written. `options` are data that may hold further holes; `labels` name them in the same order."""

    number: int
    path: Path
    location: Location | None
    options: tuple[Any, ...]
    labels: tuple[Label, ...]
    option_locations: tuple[Location | None, ...]
    range: Range | None = None
    name: str | None = None
    per: Level | None = None
    follow: str | None = None
    when: tuple[tuple[str, tuple[Label, ...]], ...] = ()
    otherwise: Any = None

    @property
    def level(self) -> Level:
        """How often the hole is drawn; one that follows another looks for it close by first."""
        return self.per or ("block" if self.follow else "network")

    @property
    def signature(self) -> Any:
        """What two holes of one name must agree in."""
        return [self.level, self.labels, self.range, [shown(option) for option in self.options]]


class HoleReader:
    """Reads the holes of one tree, and gathers what is wrong with them."""

    def __init__(self) -> None:
        self.holes: dict[int, Hole] = {}
        """By number, in the order of the file."""
        self.count = 0
        self.problems: list[Problem] = []
        self.hopeless = False
        """Whether some hole has no options to go on with."""

    def read(self, data: Any, path: Path = (), location: Location | None = None) -> Any:
        """The tree below `path`, with a Hole in place of each mapping that is one. What holds no hole stays itself."""
        if isinstance(data, Mapping):
            if any(key in data for key in OPENERS):
                return self._hole(data, path, location) if path not in _FIXED else self._refuse_hole(data, path)
            self._warn_of_misspelt(data, path)
            filled = LocatedDict(location=getattr(data, "location", location))
            for key, value in data.items():
                at = locate(data, (key,)) or location
                filled.put(key, self.read(value, (*path, key), at), at, locate_key(data, (key,)) or location)
            return filled if holds_hole(filled) else data
        if isinstance(data, list | tuple):
            items = LocatedList(location=getattr(data, "location", location))
            for index, value in enumerate(data):
                at = locate(data, (index,)) or location
                items.add(self.read(value, (*path, index), at), at)
            return items if holds_hole(items) else data
        return data

    def refuse(self, rule: str, found: Any, path: Path, location: Location | None, near: tuple[str, ...] = ()) -> None:
        text = found if isinstance(found, str) else one_line(found)
        self.problems.append(Problem(rule, shortened(text), dotted(("network", *path)), location, near))

    def _warn_of_misspelt(self, data: Mapping[str, Any], path: Path) -> None:
        # `{chose: [1, 2]}` would otherwise be reported as a mapping where a number should be.
        for key, value in data.items():
            close = tuple(get_close_matches(key, OPENERS, n=1, cutoff=0.75))
            if isinstance(value, list) and close:
                rule = "a hole is written {choose: [...]} or {range: [low, high]}"
                self.refuse(rule, key, (*path, key), locate_key(data, (key,)), close)

    def _hole(self, data: Mapping[str, Any], path: Path, location: Location | None) -> Any:
        opener = "choose" if "choose" in data else "range"
        self._keys(data, opener, path)
        number, self.count = self.count, self.count + 1
        if opener == "choose":
            options, places, scale = *self._options(data, path), None
        else:
            scale = self._range(data, path)
            options = scale.values if scale else _first_number(data["range"])
            places = (locate(data, ("range",)),) * len(options)
        if not options:
            self.hopeless = True
            return None
        when, otherwise = self._when(data, path)
        hole = Hole(
            number=number,
            path=path,
            location=getattr(data, "location", None) or location,
            options=options,
            labels=labels_of(options),
            option_locations=places,
            range=scale,
            name=self._name(data, "name", path),
            per=self._per(data, path),
            follow=self._name(data, "follow", path),
            when=when,
            otherwise=otherwise,
        )
        self.holes[number] = hole
        return hole

    def _refuse_hole(self, data: Mapping[str, Any], path: Path) -> None:
        opener = "choose" if "choose" in data else "range"
        rule = "the network, and its mapping of blocks, are written out: holes stand inside them"
        self.refuse(rule, opener, (*path, opener), locate_key(data, (opener,)))
        self.hopeless = True

    def _keys(self, data: Mapping[str, Any], opener: str, path: Path) -> None:
        for key in data:
            if key not in KEYS[opener]:
                rule = f"a hole with {opener} has the keys {', '.join(KEYS[opener])}"
                near = nearest(key, KEYS[opener]) or KEYS[opener]
                self.refuse(rule, key, (*path, key), locate_key(data, (key,)), near)
        if "follow" in data and "name" in data:
            rule = "a hole that follows another has no choice of its own, so it has no name"
            self.refuse(rule, data["name"], (*path, "name"), locate(data, ("name",)))

    def _options(self, data: Mapping[str, Any], path: Path) -> tuple[tuple[Any, ...], tuple[Location | None, ...]]:
        written, at = data["choose"], locate(data, ("choose",))
        if not isinstance(written, list | tuple) or not 1 <= len(written) <= MAXIMUM_CHOICES:
            rule = f"choose is a list of 1 to {MAXIMUM_CHOICES:,} options"
            found = written if not isinstance(written, list | tuple) else f"{len(written):,} options"
            self.refuse(rule, found, (*path, "choose"), at)
            # The value alone stands in, so that the rest of the file can be checked too.
            return ((), ()) if isinstance(written, list | tuple | None) else ((written,), (at,))
        places = tuple(locate(written, (index,)) or at for index in range(len(written)))
        options = []
        for index, (option, place) in enumerate(zip(written, places, strict=True)):
            if "follow" not in data and any(type(option) is type(o) and option == o for o in written[:index]):
                self.refuse("an option is written once", option, (*path, "choose", index), place)
            options.append(self.read(option, (*path, f"<{index}>"), place))
        return tuple(options), places

    def _range(self, data: Mapping[str, Any], path: Path) -> Range | None:
        scale = numbers(data.get("range"), data.get("step"), data.get("log", False), MAXIMUM_CHOICES)
        if isinstance(scale, Range):
            return scale
        key, rule, found, near = scale
        self.refuse(rule, found, (*path, key), locate(data, (key,)), near)
        return None

    def _name(self, data: Mapping[str, Any], key: str, path: Path) -> str | None:
        name = data.get(key)
        if name is None and key not in data:
            return None
        if isinstance(name, str) and (key == "follow" or name.replace("_", "a").replace("-", "a").isalnum()):
            return name
        self.refuse(f"{key} is a word of letters, digits, _ and -", name, (*path, key), locate(data, (key,)))
        return None

    def _per(self, data: Mapping[str, Any], path: Path) -> Level | None:
        per = data.get("per")
        if per is None and "per" not in data:
            return None
        legal: tuple[Level, ...] = {"blocks": LEVELS, "stages": LEVELS[:2]}.get(str(path[0]), LEVELS[:1])
        for level in legal:
            if per == level:
                return level
        rule = f"per says how often a hole is drawn; under {path[0]} it is {' or '.join(legal)}"
        self.refuse(rule, per, (*path, "per"), locate(data, ("per",)), nearest(str(per), legal) or legal)
        return None

    def _when(self, data: Mapping[str, Any], path: Path) -> tuple[tuple[tuple[str, tuple[Label, ...]], ...], Any]:
        if "when" not in data and "else" not in data:
            return (), None
        when, otherwise = data.get("when"), data.get("else")
        if "when" not in data or "else" not in data:
            missing = "else" if "when" in data else "when"
            rule = "when says what this hole needs of others, else what stands here otherwise: both or none"
            self.refuse(rule, f"no {missing}", path, locate_key(data, ("when" if missing == "else" else "else",)))
        if "else" in data and holds_hole(HoleReader().read(otherwise)):
            self.refuse("else holds no holes", otherwise, (*path, "else"), locate(data, ("else",)))
        if not isinstance(when, Mapping) or not when:
            if "when" in data:
                rule = "when is a mapping {hole: value} or {hole: [values]}"
                self.refuse(rule, when, (*path, "when"), locate(data, ("when",)))
            return (), otherwise
        wanted = {key: value if isinstance(value, list | tuple) else [value] for key, value in when.items()}
        return tuple((key, tuple(values)) for key, values in wanted.items()), otherwise


def _first_number(written: Any) -> tuple[Any, ...]:
    """What stands in for a broken range, so that the rest of the file can be checked too."""
    first = written[0] if isinstance(written, list | tuple) and written else None
    return (first,) if isinstance(first, int | float) else ()


def holds_hole(data: Any) -> bool:
    """Whether a tree is or holds a hole."""
    if isinstance(data, Mapping):
        return any(holds_hole(value) for value in data.values())
    if isinstance(data, list | tuple):
        return any(holds_hole(item) for item in data)
    return isinstance(data, Hole)


def every_option(data: Any) -> Iterator[Any]:
    """The tree, filled as few times as show every option of every hole, whatever the conditions."""
    if isinstance(data, Hole):
        for option in data.options:
            yield from every_option(option)
        if data.when:
            yield data.otherwise
    elif isinstance(data, LocatedDict | LocatedList) and holds_hole(data):
        keys: list[Any] = list(data) if isinstance(data, LocatedDict) else list(range(len(data)))
        columns = {key: list(every_option(data[key])) for key in keys}
        for row in range(max(map(len, columns.values()), default=1)):
            copied: Any = copy(data)
            for key, column in columns.items():
                copied[key] = column[row % len(column)]
            yield copied
    else:
        yield data
