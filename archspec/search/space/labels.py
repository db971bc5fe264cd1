"""The options of a hole go in; a short, stable label of each comes out: `7`, `static`, `pooled(reduction=4)`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from archspec.schema.writing import one_line
from archspec.search.space.conditions import Label

WIDTH = 40
"""A longer label is cut and ends with a few letters of the hash of its option, so that it stays unique and stable."""


@runtime_checkable
class Opening(Protocol):
    """A hole inside an option: it is shown as `*`, whatever may stand there."""

    options: tuple[Any, ...]


def labels_of(options: Sequence[Any]) -> tuple[Label, ...]:
    """One label for each option, all different; a single value is its own label."""
    labels: list[Label] = []
    for option in options:
        label = label_of(option)
        # 1, 1.0 and true are equal in Python, and `*` hides which hole is meant.
        labels.append(label if label not in labels else f"{label}~{_short_hash([len(labels), shown(option)])}")
    return tuple(labels)


def label_of(option: Any) -> Label:
    """The label of one option by itself."""
    if isinstance(option, str | int | float):
        return option
    text = _text(option)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 7]}~{_short_hash(shown(option))}"


def _text(option: Any) -> str:
    if isinstance(option, Opening):
        return "*"
    if isinstance(option, Mapping):
        if len(option) == 1:
            (key, value), *_ = option.items()
            return f"{key}({_pairs(value) if isinstance(value, Mapping) else _text(value)})"
        return _pairs(option)
    if isinstance(option, list | tuple):
        if not option:
            return "[]"
        simple = all(isinstance(item, str | int | float) for item in option)
        return ("+" if simple else "; ").join(_text(item) for item in option)
    if option is None or isinstance(option, bool):
        return one_line(option)
    return str(option)


def _pairs(mapping: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_text(value)}" for key, value in mapping.items())


def shown(option: Any) -> Any:
    """An option as plain data, with `*` for each hole: equal for options that are written alike."""
    if isinstance(option, Opening):
        return {"*": [shown(inner) for inner in option.options]}
    if isinstance(option, Mapping):
        return {key: shown(value) for key, value in option.items()}
    return [shown(item) for item in option] if isinstance(option, list | tuple) else option


def _short_hash(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:6]
