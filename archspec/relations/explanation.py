"""A network goes in; what it is comes out: its blocks in words, stages, costs, and which named points it is or is near.

Blocks whose ops differ in nothing but sizes are one block, shown with the sizes of the first stage it stands in.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from archspec import ir
from archspec.costs import Cost, cost
from archspec.relations.data import Edit, Placement, StageFacts
from archspec.relations.difference import edits
from archspec.relations.facts import stage_facts
from archspec.relations.form import Form
from archspec.relations.index import Named, named_of
from archspec.relations.nearest import Near, equal_names, nearest
from archspec.relations.nodes import paper_graph, place_network
from archspec.relations.reading import layers
from archspec.relations.signature import Pattern, pattern
from archspec.relations.table1 import Row, row_of
from archspec.relations.words import connection_name, connection_words, op_words
from archspec.resolve import resolve
from archspec.schema.network import Network


@dataclass(frozen=True)
class Line:
    """One op in words; `depth`: in how many others it stands. Of a connection also its axes, form and Table 1 row."""

    depth: int
    text: str
    axes: tuple[str, ...] = ()
    form: Form | None = None
    row: Row | None = None


@dataclass(frozen=True)
class Block:
    """A block (or stem, head, what leads into stages), where it stands, and its ops in words."""

    name: str
    where: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class NearNetwork:
    """A named network near by, how far it is, and what must be changed in it."""

    near: Near
    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class Explanation:
    """What a network is."""

    name: str
    source: str | None
    description: str | None
    digest: str
    image: str
    classes: int
    cost: Cost
    stages: tuple[StageFacts, ...]
    blocks: tuple[Block, ...]
    equals: tuple[str, ...]
    """Named networks with the same normal form (the same digest)."""
    nearest: tuple[NearNetwork, ...]
    placements: tuple[Placement, ...]
    """Where its layers stand in the relation graph."""


def explain(network: Network, named: Mapping[str, Named]) -> Explanation:
    """What a network is, and how it stands to the named ones.

    Raises SpecError where the network does not resolve.
    """
    program = resolve(network)
    own = named_of(program)
    near = tuple(
        NearNetwork(each, edits(named[each.name].signature, own.signature)) for each in nearest(own.signature, named)
    )
    return Explanation(
        name=network.name,
        source=network.source,
        description=network.description,
        digest=program.digest,
        image=str(program.image),
        classes=program.classes,
        cost=cost(program),
        stages=stage_facts(program),
        blocks=tuple(blocks(program)),
        equals=equal_names(own.signature, named),
        nearest=near,
        placements=place_network(network.name, own.forms, paper_graph(named)),
    )


def blocks(program: ir.Program) -> Iterator[Block]:
    """Stem, what leads into stages, the distinct blocks and the head, each once, in the order they first stand."""
    found = {layer.op.path: layer.form for layer in layers(program)}
    first: dict[tuple[str, Pattern], tuple[ir.Op, ...]] = {}
    places: dict[tuple[str, Pattern], list[str]] = {}
    for (kind, place), group in groupby(program.ops, key=_part_of):
        ops = tuple(group)
        key = kind, pattern(ops)
        first.setdefault(key, ops)
        places.setdefault(key, []).append(place)
    letters = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    for key, ops in first.items():
        name = f"block {next(letters, '…')}" if key[0] == "block" else key[0]
        yield Block(name, _where(places[key]), tuple(_lines(ops, found)))


def _part_of(op: ir.Op) -> tuple[str, str]:
    """Stem, downsample, block or head, and where: 1.2 is the second block of the first stage."""
    parts = op.path.split(".")
    if parts[0] != "stages":
        return parts[0], ""
    stage = int(parts[1]) + 1
    return ("block", f"{stage}.{int(parts[3]) + 1}") if parts[2] == "blocks" else ("into the stage", str(stage))


def _where(places: list[str]) -> str:
    """Stages, with the numbers of the blocks where there are several kinds."""
    if places == [""]:
        return ""
    by_stage: dict[str, list[str]] = {}
    for place in places:
        stage, _, block = place.partition(".")
        by_stage.setdefault(stage, []).append(block)
    texts = [f"stage {stage}" + (f" ({_ranges(own)})" if own != [""] else "") for stage, own in by_stage.items()]
    return ", ".join(texts)


def _ranges(numbers: list[str]) -> str:
    """1, 2, 3, 5 as blocks 1-3, 5."""
    values = sorted(map(int, numbers))
    runs = [[number for _, number in run] for _, run in groupby(enumerate(values), key=lambda pair: pair[1] - pair[0])]
    text = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"block{'s' if len(values) > 1 else ''} {text}"


def _lines(ops: tuple[ir.Op, ...], found: Mapping[str, Form], depth: int = 0) -> Iterator[Line]:
    for unit, times in _repeated(ops):
        if times > 1:
            yield Line(depth, f"{times} times:")
        for op in unit:
            yield from _op_lines(op, found, depth + (times > 1))


def _repeated(ops: tuple[ir.Op, ...]) -> Iterator[tuple[tuple[ir.Op, ...], int]]:
    """The ops in runs: what stands there several times in a row but for sizes, once, with how often."""
    patterns = [pattern((op,)) for op in ops]
    start = 0
    while start < len(ops):
        length, times = max(_runs(patterns, start), key=lambda run: (run[0] * run[1], run[1]))
        yield ops[start : start + length], times
        start += length * times


def _runs(patterns: list[Pattern], start: int) -> Iterator[tuple[int, int]]:
    """Lengths of units that begin here, with how often they repeat; a unit of one step stands once."""
    yield 1, 1
    for length in range(1, (len(patterns) - start) // 2 + 1):
        unit, times = patterns[start : start + length], 1
        while patterns[start + times * length : start + (times + 1) * length] == unit:
            times += 1
        if times > 1:
            yield length, times


def _op_lines(op: ir.Op, found: Mapping[str, Form], depth: int) -> Iterator[Line]:
    if isinstance(op, ir.Connect):
        form = found.get(op.path)
        spatial = form is not None and form.space != "point"
        axes = connection_words(op) if spatial else ()
        yield Line(depth, connection_name(op), axes, form, row_of(form) if form else None)
    elif isinstance(op, ir.Residual):
        yield Line(depth, "residual: x plus")
        yield from _lines(op.ops, found, depth + 1)
    elif isinstance(op, ir.Branches):
        yield Line(depth, f"{len(op.branches)} branches, joined by {op.join}{', a cascade' if op.cascade else ''}")
        for _, group in groupby(op.branches, key=lambda branch: pattern(branch.ops)):
            alike = list(group)
            yield Line(depth + 1, _feeds(alike))
            yield from _lines(alike[0].ops, found, depth + 2)
    elif not isinstance(op, ir.DropPath):
        yield Line(depth, op_words(op))


def _feeds(alike: list[ir.Branch]) -> str:
    """What branches that do the same are fed with."""
    feeds = list(dict.fromkeys(str(branch.feed) for branch in alike))
    text = f"{', '.join(feeds[:-1])} and {feeds[-1]}" if len(feeds) > 1 else feeds[0]
    each = f"each of {len(alike)} from " if len(feeds) < len(alike) else "each of " if len(feeds) > 1 else "of "
    return f"{each}{text}:" if alike[0].ops else f"{text}, as it is"
