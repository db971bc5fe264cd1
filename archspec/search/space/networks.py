"""A point of a search space goes in; the network that it is, its program and its cost come out.

Parts that points have in common are checked once and kept in the space: what remains for each point is to fill in its
holes, to put the parts together and to resolve them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pydantic import TypeAdapter, ValidationError

from archspec.costs import Cost
from archspec.costs import cost as cost_of
from archspec.errors import SpecError
from archspec.ir import Program
from archspec.resolve import resolve
from archspec.schema.expand import expand_downsample, expand_stem, expand_steps
from archspec.schema.load import network_from, network_yaml
from archspec.schema.located import LocatedDict, LocatedList
from archspec.schema.network import Network, Stage
from archspec.schema.steps import Block
from archspec.search.space.conditions import Label, Read
from archspec.search.space.filling import Misshapen, Part, Parts, StageParts
from archspec.search.space.genes import NETWORK
from archspec.search.space.match import Scaling, scaled
from archspec.search.space.model import Assignment, SearchSpace, canonical

MAXIMUM_KEPT = 20_000
_BLOCK: TypeAdapter[Block] = TypeAdapter(Block)


@dataclass(frozen=True)
class Point:
    """One network of a space."""

    assignment: Assignment
    network: Network
    program: Program
    scaling: Scaling | None = None
    """What was done to the network to meet the budget of the space, where it has one."""

    @cached_property
    def cost(self) -> Cost:
        return cost_of(self.program)


def point(space: SearchSpace, assignment: Mapping[str, Label]) -> Point:
    """The network of an assignment, resolved; its name is the space's with the first letters of its digest.

    Raises SpecError where the layers do not fit each other (heads that do not divide a width, ...), at the place in
    the file; also for an assignment that is not one of the space, and for a network that cannot be scaled to the
    budget of the space.
    """
    chosen = canonical(space, assignment)
    network, program = _resolved(space, chosen.__getitem__)
    scaling = None
    if space.matching is not None:
        network, program, scaling = scaled(network, space.matching)
        network = network.model_copy(update={"description": str(scaling)})
    name = f"{space.name}_{program.digest[:8]}"
    named = replace(program, name=name)
    vars(named)["digest"] = program.digest  # the name is no part of it, and it takes as long as the cost
    return Point(chosen, network.model_copy(update={"name": name}), named, scaling)


def _resolved(space: SearchSpace, read: Read) -> tuple[Network, Program]:
    try:
        network, spelt_out = assembled(space, space.filler.parts(read))
        return network, resolve(spelt_out)
    except (Misshapen, ValidationError, SpecError):
        # Rare, so only then is the network written with the place of each value in the file.
        pass
    network = network_from(written(space, read))
    return network, resolve(network)


def network(space: SearchSpace, assignment: Mapping[str, Label]) -> Network:
    """The network of an assignment. Raises SpecError as `point` does."""
    return point(space, assignment).network


def yaml(space: SearchSpace, assignment: Mapping[str, Label]) -> str:
    """The network of an assignment as a YAML file of its own. Raises SpecError as `point` does."""
    return network_yaml(network(space, assignment))


def assembled(space: SearchSpace, parts: Parts) -> tuple[Network, Network]:
    """The network, and the same with its shorthands spelt out, which resolves faster. Raises ValidationError."""
    names = block_names(parts)
    rest = kept(space, parts.rest.key, lambda: _checked_rest(space, parts, names))
    stages, blocks = [], {}
    for made in parts.stages:
        used = tuple(names[block.key] for block in made.blocks)
        key = (*made.stage.key, *used, made.first)
        stages.append(kept(space, key, lambda: _checked_stage(made, used)))  # noqa: B023
        for block in made.blocks:
            blocks[names[block.key]] = kept(space, block.key, lambda: _checked_block(block))  # noqa: B023
    plain = {"stages": tuple(s for s, _ in stages), "blocks": {name: b for name, (b, _) in blocks.items()}}
    network = Network.model_validate({**rest[0], **plain})
    spelt = {"stages": tuple(s for _, s in stages), "blocks": {name: b for name, (_, b) in blocks.items()}}
    return network, network.model_copy(update={**rest[1], **spelt})


def kept(space: SearchSpace, key: Any, make: Callable[[], Any]) -> Any:
    """What `make` makes, made once for a key of the space."""
    if key not in space.kept:
        if len(space.kept) >= MAXIMUM_KEPT:
            space.kept.clear()
        space.kept[key] = make()
    return space.kept[key]


def _checked_rest(space: SearchSpace, parts: Parts, names: Mapping[Any, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Everything but stages and blocks as models, and those of them that change when spelt out."""
    network = Network.model_validate(_written(space, parts, names))
    own = {key: getattr(network, key) for key in network.model_fields_set - {"stages", "blocks"}}
    spelt = {} if network.stem is None else {"stem": expand_steps(expand_stem(network.stem))}
    if network.downsample is not None:
        spelt["downsample"] = expand_steps(expand_downsample(network.downsample))
    return {key: own[key] for key in Network.model_fields if key in own}, spelt


def _checked_stage(made: StageParts, names: tuple[str, ...]) -> tuple[Stage, Stage]:
    stage = Stage.model_validate({**made.stage.data, **_block_fields(names, made.first)})
    if stage.downsample is None:
        return stage, stage
    spelt = expand_steps(expand_downsample(stage.downsample))
    return stage, stage.model_copy(update={"downsample": spelt})


def _checked_block(part: Part) -> tuple[Block, Block]:
    block = _BLOCK.validate_python(part.data)
    return block, expand_steps(block)


def block_names(parts: Parts) -> dict[tuple[str | int, ...], str]:
    """A name for each block in use: its own, or, of several, with the stage (and place) of its first use."""
    variants: dict[str, dict[tuple[str | int, ...], tuple[int, int]]] = {}
    for stage, made in enumerate(parts.stages):
        for place, block in enumerate(made.blocks):
            variants.setdefault(str(block.key[0]), {}).setdefault(block.key, (stage, place))
    names: dict[tuple[str | int, ...], str] = {}
    for name, uses in variants.items():
        several = len(uses) > 1
        stages = [stage for stage, _ in uses.values()]
        for key, (stage, place) in uses.items():
            own = f"{name}_stage{stage}" if several else name
            own += f"_block{place}" if several and stages.count(stage) > 1 else ""
            while own in names.values() or (several and own in variants):
                own += "_"
            names[key] = own
    return names


def _block_fields(names: tuple[str, ...], first: bool) -> dict[str, Any]:
    """What a stage says of its blocks: `block`, and `first` where the first one stands out of turn."""
    in_turn = _block_field((names[1], *names[1:]) if first and len(names) > 1 else names)
    for period in range(1, len(names)) if first else ():
        # The first place of the cycle is free here: what stands there is what comes round to it.
        cycle = (names[period], *names[1:period])
        if all(name == cycle[place % period] for place, name in enumerate(names) if place):
            in_turn = cycle[0] if period == 1 else cycle
            break
    return {"first": names[0], "block": in_turn} if first else {"block": in_turn}


def _block_field(names: tuple[str, ...]) -> str | tuple[str, ...]:
    """The names as short as they can be written: they take turns."""
    for period in range(1, len(names) + 1):
        if all(name == names[place % period] for place, name in enumerate(names)):
            return names[0] if period == 1 else names[:period]
    return names


def written(space: SearchSpace, read: Read) -> LocatedDict:
    """The network as data that knows its places in the file; also where it is not legal."""
    try:
        parts = space.filler.parts(read)
    except Misshapen:
        filled: LocatedDict = space.filler.fill(space.template, NETWORK, read, [])
        return _with_head(space, filled)
    return _written(space, parts, block_names(parts))


def _with_head(space: SearchSpace, data: LocatedDict) -> LocatedDict:
    head = LocatedDict({"archspec": 1, "name": space.name}, data.location)
    head.update({"source": f"archspec: a point of the search space {space.name}"})
    for key, value in data.items():
        head.put(key, value, data.positions.get(key), data.key_positions.get(key))
    return head


def _written(space: SearchSpace, parts: Parts, names: Mapping[Any, str]) -> LocatedDict:
    data = _with_head(space, parts.rest.data)
    stages, blocks = LocatedList(), LocatedDict()
    for made in parts.stages:
        stage: LocatedDict = made.stage.data.copy()
        used = tuple(names[block.key] for block in made.blocks)
        for key, value in _block_fields(used, made.first).items():
            stage.put(key, _listed(value))
        stages.add(stage)
        blocks.update({names[block.key]: block.data for block in made.blocks})
    data.put("stages", stages)
    data.put("blocks", blocks)
    return data


def _listed(names: str | tuple[str, ...]) -> Any:
    return names if isinstance(names, str) else list(names)
