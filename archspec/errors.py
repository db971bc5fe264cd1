"""Every error archspec raises on purpose: a list of problems goes in, one readable message comes out.

ArchspecError
├── SpecError        a YAML file or a Python spec says something that is not legal
├── WeightsError     a checkpoint does not fit the network it is loaded into
├── DataError        a data set is missing, unreadable or not what the study asks for
├── TrainingError    a training run cannot go on (non-finite loss, wrong recipe)
├── ExportError      a network cannot be written in another format, or gives other outputs there
├── StoreError       the database of results cannot be opened, or is of another version
├── StudyError       a study cannot be started, resumed or reported
├── DrawingError     a picture cannot be drawn (an image unreadable, no browser for PNG)
└── DenseError       a network for detection or segmentation cannot be made or trained so
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Location:
    """A place in a file. Lines and columns count from 1, as editors do."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One broken rule: what it asks, what was found, where, and the nearest valid choice."""

    rule: str
    found: str = ""
    path: str = ""
    location: Location | None = None
    nearest: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = ": ".join(part for part in (str(self.location or ""), self.path) if part)
        lines = [f"{where}: {self.rule}" if where else self.rule]
        if self.found:
            lines.append(f"    found: {self.found}")
        if self.nearest:
            lines.append(f"    nearest: {', '.join(self.nearest)}")
        return "\n".join(lines)


class ArchspecError(Exception):
    """The root: the command line prints any of these without a traceback and exits with 1."""


class SpecError(ArchspecError):
    """One or more problems in a spec; all problems of a file are reported at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type["SpecError"], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class WeightsError(ArchspecError):
    """A checkpoint does not fit the network it is loaded into."""


class DataError(ArchspecError):
    """A data set is missing, unreadable or not what was asked for."""


class TrainingError(ArchspecError):
    """A training run cannot go on."""


class ExportError(ArchspecError):
    """A network cannot be written in another format, or gives other outputs there."""


class StoreError(ArchspecError):
    """The database of results cannot be opened, or is of another schema version."""


class StudyError(ArchspecError):
    """A study cannot be started, resumed or reported."""


class ProbeError(ArchspecError):
    """A module cannot be measured as a map of feature maps."""


class DrawingError(ArchspecError):
    """A picture cannot be drawn."""


class DenseError(ArchspecError):
    """A network for dense tasks cannot be made: what it needs is not installed."""


def nearest(word: str, choices: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The valid names closest to a misspelt one, best first; empty when none is close."""
    return tuple(difflib.get_close_matches(word, list(choices), n=count, cutoff=0.5))
