"""The path of a search-space file goes in; what it says, its network merged over its bases, comes out, with places."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from archspec.errors import Problem, SpecError, nearest
from archspec.schema.base import FROM_LIST, Strict
from archspec.schema.load import names, spec_path
from archspec.schema.located import LocatedDict, locate, locate_key
from archspec.schema.network import Name
from archspec.schema.problems import spec_error
from archspec.schema.source import read_file
from archspec.schema.validation import rule_error, validate
from archspec.search.space.constraints import Constraint, parse_constraint
from archspec.search.space.holes import OPENERS

FOLDER = "search_spaces"
# What a base says of itself, and a point of a space therefore does not inherit.
_OF_THE_BASE = ("name", "source", "description")


class SpaceFile(Strict):
    """One YAML file is one search space. `network` is written in the language of networks, with holes."""

    space: Literal[1]
    name: Name
    description: str | None = None
    base: str | None = None
    """A network (a name of the zoo, or a path from this file) or another space, over which `network` is merged:
    mappings key by key, lists and single values as a whole."""
    network: dict[str, Any] = Field(default_factory=dict)
    constraints: Annotated[tuple[str, ...], FROM_LIST, Field(max_length=100)] | None = None
    """Left out: those of the base, where that is a space. Both bounds of an interval belong to it."""

    @field_validator("space", mode="before")
    @classmethod
    def _known_version(cls, value: Any) -> Any:
        if value != 1 or isinstance(value, bool):
            raise rule_error("space is the version of the language; this release reads version 1", repr(value))
        return value


@dataclass
class SpaceSource:
    """What was read, and everything that is wrong with it so far."""

    path: Path
    name: str = ""
    description: str | None = None
    network: LocatedDict = field(default_factory=LocatedDict)
    constraints: tuple[Constraint, ...] | None = None
    problems: list[Problem] = field(default_factory=list)


def space_path(name_or_path: str | Path, beside: Path | None = None) -> Path:
    """The file of a space: a path, or a name in ./search_spaces, in search_spaces next to `beside`, or in `beside`.

    Raises SpecError naming the nearest names.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        relative = beside / path if beside is not None else path
        return relative if relative.is_file() else path
    folders = [Path(FOLDER), *([beside.parent / FOLDER, beside] if beside is not None else [])]
    known: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
            known.setdefault(file.stem, file)
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    if path.is_file():
        return path
    rule = f"a search space is a path to a YAML file, or a name in ./{FOLDER}"
    raise SpecError([Problem(rule, str(name_or_path), nearest=nearest(str(name_or_path), known) or tuple(known)[:5])])


def read_space(path: Path, chain: tuple[Path, ...] = ()) -> SpaceSource:
    """A file and its bases. Raises SpecError where a file cannot be read at all; other problems are gathered."""
    data = read_file(path)
    source = SpaceSource(path)
    try:
        validate(SpaceFile, data)
    except SpecError as error:
        source.problems += error.problems
    name, description = data.get("name"), data.get("description")
    source.name = name if isinstance(name, str) else path.stem
    source.description = description if isinstance(description, str) else None
    base = _base(data, path, (*chain, path.resolve()), source)
    written = data.get("network", LocatedDict())
    if isinstance(written, LocatedDict):
        _refuse_name(written, source)
        source.network = merged(base, written)
    own = _constraints(data, source)
    source.constraints = own if own is not None else source.constraints
    return source


def _base(data: LocatedDict, path: Path, chain: tuple[Path, ...], source: SpaceSource) -> LocatedDict:
    """The network of the base; empty without one. Gathers the problems of the base."""
    written = data.get("base")
    if not isinstance(written, str):
        return LocatedDict()
    try:
        file = _base_path(written, path)
        if file.resolve() in chain:
            circle = [*chain[chain.index(file.resolve()) :], file.resolve()]
            found = " -> ".join(step.name for step in circle)
            raise SpecError([Problem("a base does not lead back to itself", found)])
        content = read_file(file)
        if "space" in content:
            base = read_space(file, chain)
            source.problems += base.problems
            source.constraints = base.constraints
            return base.network
    except SpecError as error:
        at = locate(data, ("base",))
        source.problems += (replace(p, path=p.path or "base", location=p.location or at) for p in error.problems)
        return LocatedDict()
    network = content.copy()
    for key in _OF_THE_BASE:
        network.pop(key, None)
    return network


def _base_path(written: str, path: Path) -> Path:
    if written in names():
        return spec_path(written)
    beside = path.parent / written
    if beside.suffix in (".yaml", ".yml"):
        return beside
    spaces = {file.stem: file for file in path.parent.glob("*.yaml")}
    if written in spaces:
        return spaces[written]
    rule = "a base is a network (see `archspec list`), a space in the same folder, or a path to either"
    raise SpecError([Problem(rule, written, nearest=nearest(written, [*names(), *spaces]))])


def _refuse_name(network: LocatedDict, source: SpaceSource) -> None:
    if "name" in network:
        rule = "the networks of a space are named after the space and their hash: leave out the name"
        at = locate_key(network, ("name",))
        source.problems.append(Problem(rule, str(network["name"]), "network.name", at))


def _constraints(data: LocatedDict, source: SpaceSource) -> tuple[Constraint, ...] | None:
    written = data.get("constraints")
    if not isinstance(written, list):
        return None
    made = []
    for index, text in enumerate(written):
        if isinstance(text, str):
            try:
                made.append(parse_constraint(text, locate(data, ("constraints", index)), f"constraints.{index}"))
            except SpecError as error:
                source.problems += error.problems
    return tuple(made)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> LocatedDict:
    """`over` laid over `base`: mappings key by key, everything else (lists, single values, holes) as a whole."""
    result = base.copy() if isinstance(base, LocatedDict) else LocatedDict(base)
    for key, value in over.items():
        if isinstance(value, LocatedDict) and isinstance(base.get(key), LocatedDict) and not _is_hole(value, base[key]):
            value = merged(base[key], value)
        result.put(key, value, locate(over, (key,)), locate_key(over, (key,)))
    return result


def _is_hole(*values: Mapping[str, Any]) -> bool:
    return any(opener in value for opener in OPENERS for value in values)


def raise_problems(problems: list[Problem]) -> None:
    """Raise SpecError if there are any, in the order of the file."""
    if problems:
        raise spec_error(problems)
