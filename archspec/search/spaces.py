"""A study and its data go in; its space comes out twice: as it is written, and at the size and classes of the data."""

from dataclasses import dataclass, replace

from archspec.errors import StudyError
from archspec.search.data.images import ImageData
from archspec.search.space import SearchSpace, feasible_share, load_space, nearest_to_feasible
from archspec.search.study import Study

POINTS_LOOKED_AT = 200


@dataclass(frozen=True)
class Spaces:
    """A study's space as it is written, on which its constraints hold, and at the size and classes of the data."""

    written: SearchSpace
    trained: SearchSpace


def spaces_of(study: Study, data: ImageData, checked: bool = True) -> Spaces:
    """The study's space, twice; `checked` looks for feasible points in it.

    Raises:
        SpecError: the space has problems.
        StudyError: none of the points looked at is feasible, or can stand at the size of the data.
    """
    at = {"input": {"size": data.size, "channels": 3}, "classes": len(data.classes)}
    written = load_space(study.space, beside=study.source_folder)
    trained = load_space(study.space, beside=study.source_folder, network=at)
    if not checked:
        return Spaces(written, trained)
    _refuse_if_empty(written, study.seed, "as it is written")
    _refuse_if_empty(replace(trained, constraints=()), study.seed, f"at {data.size[0]}x{data.size[1]} pixels")
    return Spaces(written, trained)


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
