"""A YAML file of any of the three kinds goes in; its kind comes out, checked to the end, or every mistake at once."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from archspec.errors import Problem, SpecError, nearest
from archspec.resolve import resolve
from archspec.schema.load import load, network_from
from archspec.schema.located import locate
from archspec.schema.network import Network
from archspec.schema.source import read_file
from archspec.search.space import load_space
from archspec.search.space.source import SpaceFile
from archspec.search.study import Study, load_study

# The first key of a file says which language it is in, and carries its version.
KINDS = {"archspec": "network", "space": "search space", "study": "study"}


def check_file(path: Path) -> str:
    """Check a file as far as it can be checked without data: a study's space is checked too.

    Raises SpecError with every problem.
    """
    data = read_file(path)
    key = next((key for key in KINDS if key in data), None)
    if key is None or ("study" not in data and key == "space" and not isinstance(data["space"], int)):
        rule = "a file says which language it is in: archspec: 1 (network), space: 1 or study: 1"
        found = ", ".join(str(key) for key in list(data)[:5])
        close = tuple(name for key in data for name in nearest(str(key), KINDS))
        raise SpecError([Problem(rule, found, location=data.location, nearest=close)])
    if "study" in data:
        check_named(load_study(path))
        return KINDS["study"]
    if "space" in data:
        load_space(path)
        return KINDS["space"]
    resolve(network_from(data))
    return KINDS["archspec"]


def check_named(study: Study) -> None:
    """Check what a study names, its space and its references, without data, torch or a database.

    Raises SpecError with every problem.
    """
    problems = list(_problems(("space",), study, lambda: load_space(study.space, beside=study.source_folder)))
    for number, name in enumerate(study.references):
        problems += _problems(("references", number), study, lambda: resolve(load(name)))  # noqa: B023
    if problems:
        raise SpecError(problems)


def _problems(place: tuple[str | int, ...], study: Study, check: Callable[[], object]) -> Iterator[Problem]:
    """What is wrong with a thing that a study names; a wrong name itself is at its place in the study."""
    try:
        check()
    except SpecError as error:
        for problem in error.problems:
            named = replace(problem, path=".".join(map(str, place)), location=locate(study.located, place))
            yield problem if problem.location else named


def json_schema(language: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a language: network, space or study."""
    models: dict[str, type[BaseModel]] = {"network": Network, "space": SpaceFile, "study": Study}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **models[language].model_json_schema()}
