"""A study and its data go in; its space comes out twice: as it is written, and at the size and classes of the data."""

import random
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from archspec.errors import SpecError, StudyError
from archspec.schema.network import Input
from archspec.search.cheaper import check_rungs, demanding
from archspec.search.data.images import ImageData
from archspec.search.recipe import Rung
from archspec.search.space import SearchSpace, feasible_share, load_space, nearest_to_feasible, point, sample
from archspec.search.space.match import Matching
from archspec.search.study import Study

POINTS_LOOKED_AT = 200


@dataclass(frozen=True)
class Spaces:
    """A study's space as it is written, on which its constraints hold, and at the size and classes of the data."""

    written: SearchSpace
    trained: SearchSpace
    rungs: tuple[Rung, ...] = ()
    """Those of another size or width: a network that cannot stand on them is no point of the study."""


def spaces_of(study: Study, data: ImageData, checked: bool = True) -> Spaces:
    """The study's space, twice; `checked` looks for feasible points in it.

    Raises:
        SpecError: the space has problems.
        StudyError: none of the points looked at is feasible, or can stand at the size of the data.
    """
    at: dict[str, Any] = {"input": {"size": data.size, "channels": 3}, "classes": len(data.classes)}
    written = load_space(study.space, beside=study.source_folder)
    trained = load_space(study.space, beside=study.source_folder, network=at)
    if study.match is not None:
        # One budget for both: it holds at the size that the space writes, as its constraints do.
        matching = Matching(study.match, _counted_at(written))
        written, trained = replace(written, matching=matching), replace(trained, matching=matching)
    found = Spaces(written, trained, demanding(study.recipe))
    if not checked:
        return found
    _refuse_if_empty(written, study.seed, "as it is written")
    _refuse_if_empty(replace(trained, constraints=()), study.seed, f"at {data.size[0]}x{data.size[1]} pixels")
    _refuse_if_none_stands(found, study.seed)
    return found


def _refuse_if_none_stands(spaces: Spaces, seed: int) -> None:
    """Refuse rungs of a size or a width at which no network of the space can be trained."""
    rng = random.Random(seed)
    reasons: list[str] = []
    for _ in range(POINTS_LOOKED_AT if spaces.rungs else 0):
        try:
            found = point(spaces.trained, sample(spaces.trained, rng))
        except SpecError:
            continue
        try:
            check_rungs(found.network, found.program, spaces.rungs)
        except SpecError as error:
            reasons.append(str(error))
        else:
            return
    if reasons:
        rule = f"no network of {spaces.trained.name!r} can be trained on the rungs of the recipe"
        raise StudyError(f"{rule}\n{reasons[0]}")


def _counted_at(space: SearchSpace) -> tuple[Input, int]:
    """The input and classes of a space. Raises StudyError where it has several."""
    written = space.template["input"], space.template["classes"]
    try:
        return Input.model_validate(written[0]), TypeAdapter(int).validate_python(written[1])
    except ValidationError as error:
        rule = "a budget to match is counted at one size: `input` and `classes` of the space are no choice"
        raise StudyError(f"{rule}\n    found: {space.name}") from error


def _refuse_if_empty(space: SearchSpace, seed: int, how: str) -> None:
    """A space where drawing finds nothing is searched downhill too before it is called empty."""
    seen = feasible_share(space, POINTS_LOOKED_AT, seed)
    if seen.feasible:
        return
    nearest = nearest_to_feasible(space, POINTS_LOOKED_AT, seed)
    if nearest.is_feasible:
        return
    looked = "every point" if seen.exact else f"{seen.points} points drawn, and the neighbours of the nearest"
    broken = "; ".join(f"{share.text}: {100 * share.share:.0f} %" for share in (*seen.violated, *seen.illegal))
    raise StudyError(
        f"space {space.name!r} has no feasible point {how} ({looked})\n    broken: {broken}\n    tightest: {nearest}"
    )
