"""A network with holes and a value for each gene go in; the parts of the network that they make come out.

Parts carry a key made of the options taken, so that equal parts (a block used in several stages, or in many points)
are checked once and kept.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from archspec.errors import Location
from archspec.schema.located import LocatedDict
from archspec.search.space.conditions import Read, holds
from archspec.search.space.genes import NETWORK, Scope
from archspec.search.space.holes import Hole
from archspec.search.space.inlining import named, needs_filling, reference
from archspec.search.space.layout import Layout
from archspec.search.space.walking import ELSE, MAXIMUM_DEPTH


class Part(NamedTuple):
    """A filled piece of the network; equal keys mean equal data."""

    key: tuple[str | int, ...]
    data: Any


@dataclass(frozen=True)
class StageParts:
    """A stage without its blocks, and the block at each of its places; `first`: the first one stands out of turn."""

    stage: Part
    blocks: tuple[Part, ...]
    first: bool = False


@dataclass(frozen=True)
class Parts:
    """A whole network: everything but stages and blocks, then the stages."""

    rest: Part
    stages: tuple[StageParts, ...]


class Misshapen(Exception):
    """The network is not even a list of stages of named blocks; checking it as a network says what is wrong."""


class Undecided(Exception):
    """A gene was read that has no value yet: `read` raises it.

    `place` is the stage and the place in it of the block that was being filled, None for all else; `path` leads from
    the block to the step whose filling stopped.
    """

    def __init__(self, gene: str) -> None:
        super().__init__(gene)
        self.gene = gene
        self.place: tuple[int, int] | None = None
        self.path: list[str | int] = []


@dataclass
class Filler:
    """Fills the holes of one template."""

    template: Mapping[str, Any]
    layout: Layout
    carriers: set[int] = field(default_factory=set)
    """The ids of the containers that hold a hole, or inline a block, somewhere; all others are used as they are."""
    varied: set[tuple[str, int]] = field(default_factory=set)
    """(block, stage) where the places of the stage may differ."""
    trimmed: dict[int, LocatedDict] = field(default_factory=dict)
    """Mappings without the keys that are filled apart, by the id of the whole mapping."""

    def __post_init__(self) -> None:
        self._note_carriers(self.template)
        self.genes = {gene.name: gene for gene in self.layout.genes}
        sites: dict[tuple[int, int | None], set[Any]] = {}
        for (number, scope), site in self.layout.sites.items():
            sites.setdefault((number, scope.stage), set()).add(site)
        uneven = {key for key, found in sites.items() if len(found) > 1}
        for name, block in self._blocks.items():
            numbers = {hole.number for hole in self._holes_of(block)}
            self.varied |= {(name, stage) for number, stage in uneven if number in numbers and stage is not None}

    def __reduce__(self) -> tuple[type["Filler"], tuple[Any, ...]]:
        # Ids are of this process and of these objects: a copy finds its own.
        return type(self), (self.template, self.layout)

    @property
    def _blocks(self) -> Mapping[str, Any]:
        blocks = self.template.get("blocks")
        return blocks if isinstance(blocks, Mapping) else {}

    def _holes_of(self, node: Any) -> Iterator[Hole]:
        """Every hole at or below a node, and in the blocks that it inlines."""
        inlined = reference(node)
        if inlined is not None:
            yield from holes_in(inlined)
            for name in named(inlined):
                yield from self._holes_of(self._blocks.get(name))
        elif isinstance(node, Hole):
            yield node
            for option in node.options:
                yield from self._holes_of(option)
        elif isinstance(node, Mapping | list | tuple):
            for child in node.values() if isinstance(node, Mapping) else node:
                yield from self._holes_of(child)

    def _note_carriers(self, node: Any) -> None:
        if isinstance(node, Hole):
            for option in node.options:
                self._note_carriers(option)
        elif isinstance(node, Mapping | list | tuple) and needs_filling(node):
            self.carriers.add(id(node))
            for child in node.values() if isinstance(node, Mapping) else node:
                self._note_carriers(child)

    def fill(self, node: Any, scope: Scope, read: Read, taken: list[str | int]) -> Any:
        """A node with its holes filled; appends to `taken` which option each of them took."""
        node, _ = self.open(node, scope, read, taken)
        if id(node) not in self.carriers:
            return node
        inlined = reference(node)
        if inlined is not None:
            return self._inlined(node, inlined, scope, read, taken)
        mapping = isinstance(node, Mapping)
        filled = node.copy()
        for step, child in node.items() if mapping else enumerate(node):
            try:
                option, at = self.open(child, scope, read, taken)
                filled[step] = self.fill(option, scope, read, taken)
            except Undecided as missing:
                missing.path.insert(0, step)
                raise
            if at is not None:
                filled.positions[step] = at
        return filled

    def _inlined(self, node: LocatedDict, inlined: Any, scope: Scope, read: Read, taken: list[str | int]) -> Any:
        """A block among steps, written out as a sequence."""
        name, at = self.open(inlined, scope, read, taken)
        if not isinstance(name, str) or name not in self._blocks:
            unknown = node.copy()
            unknown["block"] = name
            return unknown
        steps = self.fill(self._blocks[name], scope, read, taken)
        place = at or node.positions.get("block")
        filled = LocatedDict(location=node.location)
        filled.put("sequence", steps, place, node.key_positions.get("block") or place)
        return filled

    def open(self, node: Any, scope: Scope, read: Read, taken: list[str | int]) -> tuple[Any, Location | None]:
        """What stands at a node: the option taken where it is a hole, and the place in the file of that option."""
        at = None
        while isinstance(node, Hole):
            site = self.layout.sites.get((node.number, scope.at(node)))
            if site is not None and not holds(site.when, read):
                taken.append(ELSE)
                return node.otherwise, node.location
            number = self.genes[site.gene].index[read(site.gene)] if site and site.gene in self.genes else 0
            taken.append(number)
            node, at = node.options[number], node.option_locations[number]
        return node, at

    def parts(self, read: Read) -> Parts:
        """The whole network. Raises Misshapen."""
        return deque(self.steps(read), maxlen=1)[0]

    def steps(self, read: Read, begun: Parts | None = None) -> Iterator[Parts]:
        """The network as it grows from front to back: by the fields of a stage, then block by block; whole at last.

        Nothing is read before it is needed, and nothing of the whole stages that `begun` has. Raises Misshapen.
        """
        # Which list of stages was taken tells its stages from those of the same number in other lists.
        taken: list[str | int] = []
        stages, _ = self.open(self.template.get("stages"), NETWORK, read, taken)
        if not isinstance(stages, list | tuple) or not stages:
            raise Misshapen
        if begun is None:
            begun = Parts(self._part("<rest>", self.template, NETWORK, read, without=("stages", "blocks")), ())
        rest, done = begun.rest, begun.stages
        for number, node in list(enumerate(stages))[len(done) :]:
            for grown in self._stage(node, Scope(number), read, tuple(taken)):
                yield Parts(rest, (*done, grown))
            done = (*done, grown)

    def _part(
        self,
        kind: str,
        node: Any,
        scope: Scope,
        read: Read,
        without: tuple[str, ...] = (),
        before: tuple[str | int, ...] = (),
    ) -> Part:
        taken: list[str | int] = [kind, *before]
        node, _ = self.open(node, scope, read, taken)
        if without:
            node = self._without(node, without)
        data = self.fill(node, scope, read, taken)
        return Part(tuple(taken), data)

    def _without(self, node: Any, keys: tuple[str, ...]) -> Any:
        if not isinstance(node, LocatedDict):
            raise Misshapen
        known = self.trimmed.get(id(node))
        if known is None:
            known = self.trimmed[id(node)] = node.copy()
            for key in keys:
                known.pop(key, None)
            if needs_filling(known):
                self.carriers.add(id(known))
        return known

    def _stage(self, node: Any, scope: Scope, read: Read, before: tuple[str | int, ...]) -> Iterator[StageParts]:
        mapping, _ = self.open(node, scope, read, [])
        stage = self._part(f"<stage {scope.stage}>", node, scope, read, ("block", "first"), before)
        yield StageParts(stage, ())
        first = self.fill(mapping.get("first"), scope, read, [])
        names = self.fill(mapping.get("block"), scope, read, [])
        names = names if isinstance(names, list | tuple) else [names]
        depth = stage.data.get("depth")
        if type(depth) is not int or not 1 <= depth <= MAXIMUM_DEPTH or not names:
            raise Misshapen
        blocks: list[Part] = []
        same: dict[str, Part] = {}
        for place in range(depth):
            name = first if first is not None and place == 0 else names[place % len(names)]
            if not isinstance(name, str) or name not in self._blocks:
                raise Misshapen
            if name not in same or (name, scope.stage) in self.varied:
                same[name] = self._block(name, Scope(scope.stage, place), read)
            blocks.append(same[name])
            yield StageParts(stage, tuple(blocks), first is not None)

    def _block(self, name: str, scope: Scope, read: Read) -> Part:
        try:
            return self._part(name, self._blocks[name], scope, read)
        except Undecided as missing:
            if scope.stage is not None and scope.block is not None:
                missing.place = scope.stage, scope.block
            raise


def holes_in(node: Any) -> Iterator[Hole]:
    """Every hole at or below a node, with those inside options."""
    if isinstance(node, Hole):
        yield node
        for option in node.options:
            yield from holes_in(option)
    elif isinstance(node, Mapping | list | tuple):
        for child in node.values() if isinstance(node, Mapping) else node:
            yield from holes_in(child)
