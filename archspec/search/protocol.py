"""A study goes in; what keeps its trainings from being compared with those that are there comes out, as an error."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from archspec import __version__
from archspec.errors import StudyError
from archspec.results.status import StudyStatus
from archspec.results.store import Store
from archspec.search.candidate import Candidate
from archspec.search.data.config import DataConfig
from archspec.search.machine import DECIDES_TIMES
from archspec.search.point_facts import PointCache
from archspec.search.recipe import Recipe
from archspec.search.spaces import Spaces
from archspec.search.study import Study
from archspec.search.table import Table, read_table


def table_of(study: Study) -> Table | None:
    """The table that a study asks instead of training. Raises StudyError for one of other data or another recipe."""
    if study.evaluate is None:
        return None
    table = read_table(study.evaluate.table, study.source_folder)
    apart = [
        *_apart("data", table.facts.data, study.data.protocol()),
        *_apart("recipe", table.facts.recipe, study.recipe.fingerprint),
    ]
    if apart:
        rule = f"a study asks a table of the same data and recipe: write those of {study.evaluate.table}"
        raise StudyError(f"{rule}\n    found: {'; '.join(apart)}")
    return table


def refuse_another_space(table: Table, spaces: Spaces, references: Iterable[Candidate]) -> None:
    """Raise StudyError where the table has no feasible point of the study's space, or not one of its references."""
    missing = [reference.name for reference in references if reference.program.digest not in table]
    if missing:
        rule = "a study that asks a table has references of the table: leave the others out"
        raise StudyError(f"{rule}\n    found: {', '.join(missing)}")
    facts = PointCache(spaces, table)
    for entries in table.by_digest.values():
        found = facts.of_table(entries[0])
        if found is not None and not facts(found).violation:
            return
    rule = f"the table has no feasible point of the space {spaces.written.name!r}"
    raise StudyError(f"{rule}\n    found: {table.path}, a table of {table.facts.space!r}")


def refuse_another_protocol(study: Study, protocol: str, environment: Mapping[str, Any], store: Store) -> None:
    """Raise StudyError where the study has results of another protocol: nobody could compare them with new ones."""
    if StudyStatus(store, study.name).protocols() <= {protocol}:
        return
    begun = store.get_study(study.name)
    data, recipe = DataConfig.model_validate(begun.data), Recipe.model_validate(begun.recipe)
    apart = [
        *_apart("data", data.protocol(), study.data.protocol()),
        *_apart("recipe", recipe.fingerprint, study.recipe.fingerprint),
        *_apart("archspec", {"version": begun.archspec_version}, {"version": __version__}),
    ]
    if study.timed:
        there, here = ({name: each.get(name) for name in DECIDES_TIMES} for each in (begun.environment, environment))
        apart += _apart("machine", there, here)
    rule = f"study {study.name!r} was begun with other data or another recipe: write them as they were, or rename it"
    raise StudyError(f"{rule}\n    found: {'; '.join(apart) or 'other images, or another table'}")


def _apart(section: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs, in words."""
    for key in {**then, **now}:
        if then.get(key) != now.get(key):
            yield f"{section}.{key}: {then.get(key)} there, {now.get(key)} here"
