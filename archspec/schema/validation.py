"""A model and located data go in; the checked model, or every problem with its place, comes out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from archspec.errors import Location, Problem, nearest
from archspec.schema.located import DataPath
from archspec.schema.places import Step, Turn, find_place
from archspec.schema.problems import MAXIMUM_PROBLEMS, spec_error
from archspec.schema.wording import Fault, none_of, value_found

# Finding the place of a fault takes some 0.1 ms; a file with more is past reading anyway.
MAXIMUM_FAULTS = 10 * MAXIMUM_PROBLEMS

Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], data: Mapping[str, Any], *, extra_problems: Iterable[Problem] = ()) -> Model:
    """The model that the data writes.

    Raises SpecError with everything that is wrong, in the order of the file, together with `extra_problems`
    that the caller found. Places are known where the data carries them (`read_file`, `read_text`).
    """
    problems = list(extra_problems)
    try:
        checked = model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        faults = _faults(details[:MAXIMUM_FAULTS], model, data)
        problems += [fault.problem(data) for fault in faults[:MAXIMUM_PROBLEMS]]
        left_out = max(0, len(faults) - MAXIMUM_PROBLEMS) + max(0, len(details) - MAXIMUM_FAULTS)
        raise spec_error(problems, left_out) from None
    if problems:
        raise spec_error(problems)
    return checked


def rule_error(rule: str, found: str = "", nearest: Sequence[str] = (), at: Sequence[Step] = ()) -> PydanticCustomError:
    """What a validator of a model raises: the rule that is broken, the value found, the nearest valid ones.

    `at` is the path of the culprit, relative to the value under validation. Without `found`, the value itself
    is shown.
    """
    context: dict[str, Any] = {"nearest": tuple(nearest), "path": tuple(at)}
    if found:
        context["found"] = found
    # pydantic fills braces in a message from the context, entry by entry: the rule goes in as the last entry, so
    # that braces of its own are left alone.
    context["rule"] = rule
    return PydanticCustomError("rule", "{rule}", context)


def _faults(errors: Sequence[ErrorDetails], model: type[BaseModel], data: Any) -> list[Fault]:
    """The mistakes that pydantic's errors stand for, in the order of the file."""
    faults = [_fault(details, model, data) for details in errors]
    start = Location("", 0, 0)
    return sorted(_without_echoes(_most_specific(faults)), key=lambda fault: fault.location(data) or start)


def _fault(details: ErrorDetails, model: type[BaseModel], data: Any) -> Fault:
    kind, context = details["type"], details.get("ctx", {})
    place = find_place(model, data, details["loc"], missing=kind == "missing")
    mapping_or_value = place.path[:-1] if kind == "missing" else (*place.path, *context.get("path", ()))
    value = value_found(data, mapping_or_value, details["input"])
    return Fault(kind, details["msg"], context, value, place)


def _most_specific(faults: Sequence[Fault], level: int = 0) -> list[Fault]:
    """The faults, less those of union members that were not meant; all share the first `level` turns."""
    kept = [fault for fault in faults if len(fault.place.route) == level]
    groups: dict[Turn, list[Fault]] = {}
    for fault in faults:
        if len(fault.place.route) > level:
            groups.setdefault(fault.place.route[level], []).append(fault)
    members = []
    for turn, group in groups.items():
        specific = _most_specific(group, level + 1)
        if turn.picks_member:
            members.append(specific)
        else:
            kept += specific
    return kept + (_meant(members, next(iter(groups)).depth) if members else [])


def _meant(members: Sequence[list[Fault]], depth: int) -> list[Fault]:
    """Of the faults of each member of a union, `depth` steps down, those of the member that was meant."""
    misfits = [faults[0] for faults in members if _is_misfit(faults, depth)]
    fitting = [faults for faults in members if not _is_misfit(faults, depth)]
    if all(len(faults) == 1 and faults[0].kind == "literal_error" for faults in fitting):
        # A wrong word where a word or a number may stand: say all that may stand there.
        return [none_of([*(faults[0] for faults in fitting), *misfits])]
    return max(fitting, key=lambda faults: (max(len(fault.place.path) for fault in faults), -len(faults)))


def _is_misfit(faults: Sequence[Fault], depth: int) -> bool:
    """Whether a member of a union says no more than that the value is of another kind."""
    return len(faults) == 1 and len(faults[0].place.path) == depth and faults[0].is_of_another_kind


def _without_echoes(faults: Sequence[Fault]) -> list[Fault]:
    """A misspelt key is one mistake: leave out that the key which was meant is missing."""
    missing: dict[DataPath, list[str]] = {}
    for fault in faults:
        if fault.kind == "missing":
            missing.setdefault(fault.place.path[:-1], []).append(str(fault.place.path[-1]))
    meant: set[DataPath] = set()
    for fault in faults:
        around = fault.path[:-1]
        if fault.kind == "extra_forbidden" and missing.get(around):
            for name in nearest(str(fault.path[-1]), missing[around], 1):
                missing[around].remove(name)
                meant.add((*around, name))
    return [fault for fault in faults if fault.kind != "missing" or fault.path not in meant]
