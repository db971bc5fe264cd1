"""Plain mappings and lists go in; the same data, with the place of each key and value, comes out."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Self

from archspec.errors import Location

DataPath = Sequence[str | int]


class LocatedDict(dict[str, Any]):
    """A mapping read from a file.

    `location` is where it starts, `positions` where each value starts, `key_positions` where each key is. The
    marks travel with the object, so a tree may be put together from pieces of several files; plain
    `data[key] = value` leaves the mark of `key` as it was, `put` sets it.
    """

    def __init__(self, items: Mapping[str, Any] | None = None, location: Location | None = None) -> None:
        super().__init__(items or {})
        self.location = location
        self.positions: dict[str, Location] = {}
        self.key_positions: dict[str, Location] = {}

    def put(self, key: str, value: Any, at: Location | None = None, key_at: Location | None = None) -> None:
        """Set a value and its marks; a mark that is not given is taken away."""
        self[key] = value
        _set_mark(self.positions, key, at)
        _set_mark(self.key_positions, key, key_at)

    def copy(self) -> Self:
        """A shallow copy with marks of its own."""
        copied = type(self)(self, self.location)
        copied.positions.update(self.positions)
        copied.key_positions.update(self.key_positions)
        return copied

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = self.copy()
        memo[id(self)] = copied
        for key, value in self.items():
            copied[key] = deepcopy(value, memo)
        return copied


class LocatedList(list[Any]):
    """A list read from a file: `location` is where it starts, `positions` where each item starts."""

    def __init__(self, items: Iterable[Any] = (), location: Location | None = None) -> None:
        super().__init__(items)
        self.location = location
        self.positions: dict[int, Location] = {}

    def add(self, value: Any, at: Location | None = None) -> None:
        """Append a value and its mark."""
        self.append(value)
        _set_mark(self.positions, len(self) - 1, at)

    def copy(self) -> Self:
        """A shallow copy with marks of its own."""
        copied = type(self)(self, self.location)
        copied.positions.update(self.positions)
        return copied

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = self.copy()
        memo[id(self)] = copied
        for index, value in enumerate(self):
            copied[index] = deepcopy(value, memo)
        return copied


Located = LocatedDict | LocatedList


def _set_mark(marks: dict[Any, Location], key: str | int, at: Location | None) -> None:
    if at is None:
        marks.pop(key, None)
    else:
        marks[key] = at


def exists(data: Any, step: str | int) -> bool:
    """Whether `step` is a key of the mapping, or an index of the list, that `data` is."""
    if isinstance(data, Mapping):
        return step in data
    return isinstance(data, list | tuple) and type(step) is int and 0 <= step < len(data)


def value_at(data: Any, path: DataPath) -> Any:
    """The value at a path. Raises KeyError where the path leaves the data."""
    for step in path:
        if not exists(data, step):
            raise KeyError(step)
        data = data[step]
    return data


def locate(data: Any, path: DataPath) -> Location | None:
    """The place of the value at `path`, or of its deepest ancestor with a known place; None without marks."""
    known = _own_location(data)
    for step in path:
        if not exists(data, step):
            break
        mark = _marks(data).get(step)
        data = data[step]
        known = _own_location(data) or mark or known
    return known


def locate_key(data: Any, path: DataPath) -> Location | None:
    """The place of the key that ends `path`; where there is none (a list item, say), what `locate` finds."""
    if path:
        try:
            parent = value_at(data, path[:-1])
        except KeyError:
            return locate(data, path)
        if isinstance(parent, LocatedDict) and path[-1] in parent.key_positions:
            return parent.key_positions[str(path[-1])]
    return locate(data, path)


def mark(data: Any, location: Location) -> Any:
    """A copy of plain data in which everything that has no place yet is said to be written at `location`."""
    here = _own_location(data) or location
    if isinstance(data, Mapping):
        mapping = LocatedDict(location=here)
        for key, value in data.items():
            at, key_at = locate(data, (key,)), locate_key(data, (key,))
            mapping.put(key, mark(value, location), at or here, key_at or here)
        return mapping
    if isinstance(data, list | tuple):
        items = LocatedList(location=here)
        for index, value in enumerate(data):
            items.add(mark(value, location), locate(data, (index,)) or here)
        return items
    return data


def _marks(data: Any) -> Mapping[Any, Location]:
    return data.positions if isinstance(data, Located) else {}


def _own_location(data: Any) -> Location | None:
    return data.location if isinstance(data, Located) else None
