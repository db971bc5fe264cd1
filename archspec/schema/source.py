"""A YAML file or its text goes in; plain data that knows its places, or every problem of the file, comes out.

The accepted language is YAML 1.2's core schema without tags: `true` and `false` are the booleans (`no` and
`on` are text), `1e-6` is a number, dates are text, keys are text. Anchors, aliases and merge keys (`<<`) are
allowed. Limits keep a hostile file from costing more than a moment: `composer.py` has those on structure.
"""

import codecs
import math
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from archspec.errors import Location, Problem, SpecError, nearest
from archspec.schema.composer import BOOL, EXPECTED, FLOAT, INT, MERGE, NULL, compose, place_of
from archspec.schema.located import LocatedDict, LocatedList
from archspec.schema.problems import dotted, shortened, spec_error

MAXIMUM_BYTES = 1_000_000
MAXIMUM_DIGITS = 18


def read_file(path: Path) -> LocatedDict:
    """The data of one YAML file.

    Raises SpecError, with every problem found, if the file cannot be read, is larger than MAXIMUM_BYTES, is
    not UTF-8, or holds anything but one mapping of the accepted language.
    """
    return read_text(_decoded(_content(path), str(path)), str(path))


def read_text(text: str, name: str = "<text>") -> LocatedDict:
    """The data of a YAML text; `name` stands for the file in the places it carries. Raises SpecError."""
    if len(text) > MAXIMUM_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAXIMUM_BYTES:
        raise SpecError([_too_large(name)])
    root, problems = compose(text.removeprefix("\ufeff"), name)
    builder = _Builder(name, problems)
    if isinstance(root, yaml.MappingNode):
        data = builder.mapping(root, ())
    else:
        builder.refuse(root, (), EXPECTED, _kind(root))
    if builder.problems:
        raise spec_error(builder.problems)
    return data


def _content(path: Path) -> bytes:
    try:
        # A pipe or a device could block or never end, so only regular files are opened.
        if path.is_dir() or not stat.S_ISREG(path.stat().st_mode):
            found = f"{path}: {'a directory' if path.is_dir() else 'not a regular file'}"
            raise SpecError([Problem("a spec is read from a file", found)])
        with path.open("rb") as stream:
            content = stream.read(MAXIMUM_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        rule = "the file must exist and be readable"
        raise SpecError([Problem(rule, f"{path}: {reason}", nearest=_neighbours(path))]) from None
    if len(content) > MAXIMUM_BYTES:
        raise SpecError([_too_large(str(path))])
    return content


def _decoded(content: bytes, name: str) -> str:
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        place = place_of(before, len(before), name)
        found = f"byte 0x{content[error.start]:02x}"
        raise SpecError([Problem("a file is encoded as UTF-8", found, "", place)]) from None


def _too_large(name: str) -> Problem:
    return Problem(f"a file is at most {MAXIMUM_BYTES:,} bytes", f"{name}: a larger one")


def _neighbours(path: Path) -> tuple[str, ...]:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.suffix in (".yaml", ".yml")]
    except (OSError, ValueError):
        return ()
    return tuple(str(path.parent / name) for name in nearest(path.name, names))


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else shortened(node.value or "nothing")


@dataclass
class _Builder:
    """Turns composed nodes into located data and gathers what is refused on the way."""

    file: str
    problems: list[Problem] = field(default_factory=list)

    def place(self, node: yaml.Node) -> Location:
        return Location(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def refuse(self, node: yaml.Node, path: tuple[str, ...], rule: str, found: str) -> None:
        self.problems.append(Problem(rule, found, dotted(path), self.place(node)))

    def value(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        return self.sequence(node, path) if isinstance(node, yaml.SequenceNode) else self.scalar(node, path)

    def sequence(self, node: yaml.SequenceNode, path: tuple[str, ...]) -> LocatedList:
        items = LocatedList(location=self.place(node))
        for index, item in enumerate(node.value):
            items.add(self.value(item, (*path, str(index))), self.place(item))
        return items

    def mapping(self, node: yaml.MappingNode, path: tuple[str, ...]) -> LocatedDict:
        """The pairs in the order written, then those of merged mappings: what is written here wins."""
        pairs = LocatedDict(location=self.place(node))
        merged: LocatedDict | None = None
        merge_place: dict[str, Location] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node, path)
            if key is None:
                continue
            known = merge_place if key_node.tag == MERGE else pairs.key_positions
            if key in known:
                name = shortened(key)
                rule = f"a key is written once in a mapping; `{name}` is already on line {known[key].line}"
                self.refuse(key_node, (*path, key), rule, name)
            elif key_node.tag == MERGE:
                merge_place[key] = self.place(key_node)
                merged = self.merged(value_node, path)
            else:
                value = self.value(value_node, (*path, key))
                pairs.put(key, value, self.place(value_node), self.place(key_node))
        if merged is not None:
            _fill(pairs, merged)
        return pairs

    def merged(self, node: yaml.Node, path: tuple[str, ...]) -> LocatedDict:
        """What `<<` stands for: a mapping, or a list of mappings of which the earlier win."""
        gathered = LocatedDict()
        for parent in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(parent, yaml.MappingNode):
                _fill(gathered, self.mapping(parent, path))
            else:
                rule = "`<<` merges a mapping or a list of mappings"
                self.refuse(parent, (*path, "<<"), rule, _kind(parent))
        return gathered

    def key(self, node: yaml.Node, path: tuple[str, ...]) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self.refuse(node, path, "a key is text", _kind(node))
            return None
        if node.tag in (NULL, BOOL, INT, FLOAT):
            kind = node.tag.rpartition(":")[2]
            rule = f"a key is text: a key that reads as {kind} is written in quotes"
            self.refuse(node, path, rule, _kind(node))
            return None
        return node.value if node.tag == MERGE else self.text(node, path)

    def scalar(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        if node.tag == NULL:
            return None
        if node.tag == BOOL:
            return node.value.lower() == "true"
        if node.tag == INT:
            return self.integer(node, path)
        return self.number(node, path) if node.tag == FLOAT else self.text(node, path)

    def integer(self, node: yaml.Node, path: tuple[str, ...]) -> int | None:
        # Length first: int() of a long text takes quadratic time and is refused by Python past 4,300 digits.
        base = {"0x": 16, "0o": 8}.get(node.value[:2], 10)
        if len(node.value) <= MAXIMUM_DIGITS + 2:
            whole = int(node.value, base)
            if abs(whole) < 10**MAXIMUM_DIGITS:
                return whole
        self.refuse(node, path, f"a whole number has at most {MAXIMUM_DIGITS} digits", shortened(node.value))
        return None

    def number(self, node: yaml.Node, path: tuple[str, ...]) -> float | None:
        text = node.value.lower()
        value = math.nan if text.lstrip("+-") in (".inf", ".nan") else float(text)
        if math.isfinite(value):
            return value
        self.refuse(node, path, "a number is finite", shortened(node.value))
        return None

    def text(self, node: yaml.Node, path: tuple[str, ...]) -> str:
        text: str = node.value
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            self.refuse(node, path, "text holds whole characters, not halves (surrogates)", ascii(text[:60]))
        return text


def _fill(pairs: LocatedDict, more: LocatedDict) -> None:
    for key, value in more.items():
        if key not in pairs:
            pairs.put(key, value, more.positions.get(key), more.key_positions.get(key))
