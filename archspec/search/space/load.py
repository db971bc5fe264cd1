"""A name or a path of a search-space file goes in; the search space comes out, every option of it checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archspec.errors import Location
from archspec.schema.located import mark
from archspec.search.space.checking import problems_of
from archspec.search.space.filling import Filler
from archspec.search.space.holes import HoleReader
from archspec.search.space.inlining import check_inlining
from archspec.search.space.layout import lay_out
from archspec.search.space.model import SearchSpace
from archspec.search.space.source import merged, raise_problems, read_space, space_path


def load_space(
    name_or_path: str | Path, *, beside: Path | None = None, network: Mapping[str, Any] | None = None
) -> SearchSpace:
    """The search space of a name (`connectivity_nano`) or of a YAML file.

    Args:
        name_or_path: a name in ./search_spaces, or a path.
        beside: the folder of the file that mentions the space (a study): names and paths are looked for there too.
        network: laid over the network of the file, as that is over its base (a study's input and classes).

    Raises:
        SpecError: every problem of the file at once, of every option of every hole: line and column, dotted path, rule,
            what was found, nearest names.
    """
    source = read_space(space_path(name_or_path, beside))
    written = source.network
    if network:
        written = merged(written, mark(network, Location("<network>", 1, 1)))
    reader = HoleReader()
    template = reader.read(written)
    problems = [*source.problems, *reader.problems]
    if reader.hopeless:
        raise_problems(problems)
    check_inlining(template)
    layout, more = lay_out(template, reader.holes)
    problems += more
    space = SearchSpace(
        name=source.name,
        description=source.description,
        path=source.path,
        genes=layout.genes,
        constraints=source.constraints or (),
        template=template,
        filler=Filler(template, layout),
    )
    # Conditions that go in a circle cannot be followed.
    if not more:
        problems += problems_of(space)
    raise_problems(problems)
    return space
