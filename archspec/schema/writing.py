"""Plain data goes in; YAML text that people read, and that reads back as equal data, comes out.

Mappings and lists stand in block style, except small ones, which keep to one line: `{width: 96, depth: 2}`.
Text is quoted wherever any common YAML reader (1.1 or 1.2) might take it for something else.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from archspec.errors import Problem
from archspec.schema.composer import MAXIMUM_DEPTH, STR, Composer
from archspec.schema.problems import dotted, shortened, spec_error
from archspec.schema.source import MAXIMUM_DIGITS

WIDTH = 100
# YAML 1.2.2 section 7.4.2 allows a key 1,024 characters before its colon; people stop reading sooner.
MAXIMUM_KEY_WIDTH = 128

_PLAIN = re.compile(r"(?:\w|\.{0,2}/)(?:[\w.\-/+()*=%@<>^~;]|:(?=[\w/])| (?=[\w./+()*=%@<>^~;]))*")
_ESCAPED = re.compile('["\\\\\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]')
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_PRINTABLE = r"\x20-\x7e\xa1-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010fffd"
# What a literal block (`|`) keeps: it starts and ends with something visible, then has at most one line end.
_LITERAL = re.compile(rf"(?!\s)[{_PRINTABLE}](?:[{_PRINTABLE}\t\n]*(?!\s)[{_PRINTABLE}])?\n?")


def dump_yaml(data: Mapping[str, Any]) -> str:
    """The text of a mapping of text, numbers, booleans, None, mappings and lists, in the order given.

    `read_text(dump_yaml(data)) == data`. Raises SpecError for what the language cannot hold: other types,
    keys that are not text, numbers that are not finite or have more than 18 digits, nesting past 64.
    """
    problems = list(_unwritable(data, ()))
    if problems:
        raise spec_error(problems)
    return "\n".join(_block(data)) + "\n"


def one_line(value: Any) -> str:
    """A value in YAML flow style: `{size: 7, stride: [2, 2]}`; what YAML lacks is shown as in Python."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{one_line(key)}: {one_line(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(one_line(item) for item in value) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _text(value)
    return _number(value) if isinstance(value, float) else repr(value)


def _block(value: Any) -> Iterator[str]:
    """The lines of a mapping or list in block style, not indented."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _entry(key, item)
    elif isinstance(value, list | tuple) and value:
        for item in value:
            lines = list(_item(item))
            yield f"- {lines[0]}"
            yield from _indented(lines[1:])
    else:
        yield one_line(value)


def _entry(key: str, value: Any) -> Iterator[str]:
    name = one_line(key)
    if len(name) > MAXIMUM_KEY_WIDTH:
        yield f"? {name}"
        name = ""
    if _fits_one_line(value, WIDTH - len(name) - 2):
        yield f"{name}: {one_line(value)}"
    elif isinstance(value, str):
        yield f"{name}: {'|' if value.endswith(chr(10)) else '|-'}"
        yield from _indented(value.removesuffix("\n").split("\n"))
    else:
        yield f"{name}:"
        yield from _indented(_block(value))


def _item(value: Any) -> Iterator[str]:
    """The lines of a list item: a mapping of one key reads best without braces."""
    one_key = isinstance(value, Mapping) and len(value) == 1
    if isinstance(value, str) or (not one_key and _fits_one_line(value, WIDTH)):
        yield one_line(value)
    else:
        yield from _block(value)


def _indented(lines: Iterator[str] | list[str]) -> Iterator[str]:
    for line in lines:
        yield f"  {line}" if line else ""


def _fits_one_line(value: Any, width: int) -> bool:
    """Whether a value is written on the line of its key: scalars, and collections small enough to take in."""
    if isinstance(value, str):
        return "\n" not in value or not _LITERAL.fullmatch(value)
    if isinstance(value, Mapping | list | tuple):
        return _depth(value) <= 2 and len(one_line(value)) <= width
    return True


def _depth(value: Any) -> int:
    """How deep a value nests; a list of anything but scalars counts as too deep for one line."""
    if isinstance(value, Mapping):
        return 1 + max((_depth(item) for item in value.values()), default=0)
    if isinstance(value, list | tuple):
        return 1 if not any(isinstance(item, Mapping | list | tuple) for item in value) else MAXIMUM_DEPTH
    return 0


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and not value.isspace() and _reads_as_text(value):
        return value
    return '"' + _ESCAPED.sub(_escape, value) + '"'


def _reads_as_text(value: str) -> bool:
    # `no`, `1_000` and 2020-01-01 are text here, but not to a YAML 1.1 reader: those are quoted too.
    return all(_implicit_tag(loader, value) == STR for loader in (Composer, yaml.SafeLoader))


def _implicit_tag(loader: type[yaml.SafeLoader], value: str) -> str:
    resolvers = loader.yaml_implicit_resolvers
    candidates = [*resolvers.get(value[:1], []), *resolvers.get(None, [])]
    return next((tag for tag, pattern in candidates if pattern.match(value)), STR)


def _escape(match: re.Match[str]) -> str:
    letter = match.group()
    code = ord(letter)
    return _SHORT_ESCAPES.get(letter) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = repr(value)
    # A YAML 1.1 reader takes 1e-06 for text, and 1.0e-06 for the number.
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _unwritable(value: Any, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if len(path) >= MAXIMUM_DEPTH and isinstance(value, Mapping | list | tuple):
        yield Problem(f"lists and mappings nest at most {MAXIMUM_DEPTH} deep", "", dotted(path[:4]))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield Problem("a key is text", shortened(repr(key)), dotted(path))
            yield from _unwritable(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _unwritable(item, (*path, index))
    elif (rule := _broken_rule(value)) is not None:
        yield Problem(rule, shortened(ascii(value)), dotted(path))


def _broken_rule(value: Any) -> str | None:
    if isinstance(value, str):
        return "text holds whole characters, not halves (surrogates)" if not _is_unicode(value) else None
    if isinstance(value, int):
        return None if abs(value) < 10**MAXIMUM_DIGITS else f"a whole number has at most {MAXIMUM_DIGITS} digits"
    if isinstance(value, float):
        return None if math.isfinite(value) else "a number is finite"
    return None if value is None else "YAML holds text, numbers, true, false, null, mappings and lists"


def _is_unicode(value: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in value)
