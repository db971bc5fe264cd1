"""Problems in any order and number go in; one SpecError, sorted by place and of bounded length, comes out."""

from collections.abc import Iterable

from archspec.errors import Location, Problem, SpecError

MAXIMUM_PROBLEMS = 100


def spec_error(problems: Iterable[Problem], left_out: int = 0) -> SpecError:
    """The error that reports them, from the top of the file down; those without a place come first.

    `left_out` counts problems that the caller found and did not put into words.
    """
    # The content of an anchor is read once per alias: one mistake there is one problem, under its first path.
    unique: dict[tuple[Location | None, str, str, str], Problem] = {}
    for problem in problems:
        path = "" if problem.location else problem.path
        unique.setdefault((problem.location, problem.rule, problem.found, path), problem)
    ordered = sorted(unique.values(), key=lambda problem: problem.location or Location("", 0, 0))
    shown = ordered[:MAXIMUM_PROBLEMS]
    left_out += len(ordered) - len(shown)
    if left_out:
        shown.append(Problem(f"there are {left_out:,} more problems, not shown"))
    return SpecError(shown)


def shortened(text: str, width: int = 60) -> str:
    """The text, with its end left out where it is longer than `width` characters."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def dotted(path: Iterable[str | int]) -> str:
    """`stages.0.block`; a part that is very long is shortened."""
    return ".".join(shortened(str(part)) for part in path)
