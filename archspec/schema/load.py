"""A name of the zoo or a path goes in; the network that it writes comes out, with the place of every value."""

from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from archspec.errors import Problem, SpecError, nearest
from archspec.schema.located import LocatedDict, locate
from archspec.schema.network import Network
from archspec.schema.source import read_file
from archspec.schema.validation import validate
from archspec.schema.writing import dump_yaml


@cache
def names() -> tuple[str, ...]:
    """The named networks that archspec ships, in alphabetical order."""
    files = resources.files("archspec").joinpath("zoo").iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


def spec_path(name_or_path: str | Path) -> Path:
    """The file of a named network, or the path itself.

    Raises SpecError when it is neither, naming the nearest names.
    """
    text = str(name_or_path)
    if text in names():
        return Path(str(resources.files("archspec").joinpath("zoo", f"{text}.yaml")))
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or path.exists():
        return path
    rule = "a network is named (see `archspec list`) or is a path to a YAML file"
    raise SpecError([Problem(rule, text, nearest=nearest(text, names()))])


def load(name_or_path: str | Path) -> Network:
    """The network of a name (`swin_tiny`) or of a YAML file.

    Raises SpecError with every problem of the file: line and column, dotted path, rule, what was found, nearest names.
    """
    return network_from(read_file(spec_path(name_or_path)))


def network_from(data: LocatedDict) -> Network:
    """The network that located data writes. Raises SpecError with every problem at once."""
    network = validate(Network, data, extra_problems=_unknown_blocks(data))
    network._located = data
    return network


def network_yaml(network: Network) -> str:
    """A network as YAML that reads back as the same network; what was left out stays left out."""
    return dump_yaml(network.model_dump(mode="json", exclude_unset=True))


def _unknown_blocks(data: Any) -> list[Problem]:
    """Names of blocks that there are not, found on the data so that other mistakes of a file do not hide them."""
    blocks = data.get("blocks")
    if not isinstance(blocks, dict):
        return []
    problems = []
    for rule, uses in (
        ("a stage names blocks that are defined under blocks", _stage_references(data.get("stages"))),
        ("a block that stands among steps is defined under blocks", _references(data, ())),
    ):
        for path, name in uses:
            if isinstance(name, str) and name not in blocks:
                close = nearest(name, blocks) or tuple(blocks)[:3]
                problems.append(Problem(rule, name, ".".join(map(str, path)), locate(data, path), close))
    return problems


def _stage_references(stages: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    for index, stage in enumerate(stages if isinstance(stages, list) else ()):
        if not isinstance(stage, dict):
            continue
        block, first = stage.get("block"), stage.get("first")
        if isinstance(block, list):
            yield from ((("stages", index, "block", place), name) for place, name in enumerate(block))
        else:
            yield ("stages", index, "block"), block
        yield ("stages", index, "first"), first


def _references(data: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Steps `block: NAME`: mappings with this one key."""
    if isinstance(data, dict):
        if len(data) == 1 and "block" in data:
            yield (*path, "block"), data["block"]
        for key, value in data.items():
            yield from _references(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _references(value, (*path, index))
