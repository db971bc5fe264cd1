"""A study and its data go in; its space comes out twice: as it is written, and at the size and classes of the data."""

from dataclasses import dataclass, replace

from archspec.errors import StudyError
from archspec.search.data.images import ImageData
from archspec.search.space import Feasibility, SearchSpace, feasible_share, load_space
from archspec.search.study import Study

POINTS_LOOKED_AT = 200


@dataclass(frozen=True)
class Spaces:
    """A study's space as it is written, on which its constraints hold, and at the size and classes of the data."""

    written: SearchSpace
    trained: SearchSpace


def spaces_of(study: Study, data: ImageData) -> Spaces:
    """The study's space, twice.

    Raises:
        SpecError: the space has problems.
        StudyError: none of the points looked at is feasible, or can stand at the size of the data.
    """
    at = {"input": {"size": data.size, "channels": 3}, "classes": len(data.classes)}
    written = load_space(study.space, beside=study.source_folder)
    trained = load_space(study.space, beside=study.source_folder, network=at)
    _refuse_if_empty(feasible_share(written, POINTS_LOOKED_AT, study.seed), written.name, "as it is written")
    seen = feasible_share(replace(trained, constraints=()), POINTS_LOOKED_AT, study.seed)
    _refuse_if_empty(seen, trained.name, f"at {data.size[0]}x{data.size[1]} pixels")
    return Spaces(written, trained)


def _refuse_if_empty(seen: Feasibility, name: str, how: str) -> None:
    if not seen.feasible:
        looked = "every point" if seen.exact else f"{seen.points} points drawn"
        broken = "; ".join(f"{share.text}: {100 * share.share:.0f} %" for share in (*seen.violated, *seen.illegal))
        raise StudyError(f"space {name!r} has no feasible point {how} ({looked})\n    broken: {broken}")
