"""A network goes in; the numbers that make it wide or deep come out, and the network with others in their place.

Numbers of channels are those that are written as numbers: widths of stages, of layers, hidden sizes of a rank over
channels. Those that are written as ratios follow by themselves. Equal numbers stay equal, since some have to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, lcm
from typing import Any

from archspec.errors import SpecError
from archspec.resolve import resolve
from archspec.schema.layer import ConnectLayer
from archspec.schema.nesting import Listed, inner, with_inner
from archspec.schema.network import Network, Stage, listed_steps
from archspec.schema.simple import Connect, Linear
from archspec.schema.steps import Step


@dataclass(frozen=True)
class Part:
    """One number that can change: its value, and the step in which it does; 0: it stays, as others hang on it."""

    value: int
    step: int

    def nearest(self, factor: Fraction) -> int:
        """The whole number of steps nearest to the value times the factor; one step at least."""
        if not self.step:
            return self.value
        return self.step * max(1, floor(self.value * factor / self.step + Fraction(1, 2)))


def depths(network: Network) -> tuple[Part, ...]:
    """The depth of each stage; where several blocks take whole turns, they go on doing so."""
    parts = []
    for stage in network.stages:
        turns = len(stage.block_names)
        parts.append(Part(stage.depth, turns if stage.depth % turns == 0 else 1))
    return tuple(parts)


def with_depths(network: Network, parts: Sequence[Part], values: Sequence[int]) -> Network:
    """The network with another depth of each stage."""
    stages = (stage.model_copy(update={"depth": depth}) for stage, depth in zip(network.stages, values, strict=True))
    return network.model_copy(update={"stages": tuple(stages)})


def widths(network: Network, multiple: int) -> tuple[Part, ...]:
    """Each number of channels, with the smallest step that is a multiple of `multiple` and that its layers can take."""
    values = sorted(dict.fromkeys(channels(network)))
    return tuple(Part(value, _step(network, value, multiple)) for value in values)


def with_widths(network: Network, parts: Sequence[Part], values: Sequence[int]) -> Network:
    """The network with other numbers of channels."""
    new = {part.value: value for part, value in zip(parts, values, strict=True)}
    change = _Change(new)
    update: dict[str, Any] = {"stages": tuple(map(change.stage, network.stages))}
    update["blocks"] = {name: change.steps(steps) for name, steps in network.blocks.items()}
    for key in ("stem", "downsample"):
        if isinstance(getattr(network, key), tuple):
            update[key] = change.steps(getattr(network, key))
    if network.head.steps is not None:
        update["head"] = _kept(network.head, {"steps": change.steps(network.head.steps)})
    return network.model_copy(update=update)


def channels(network: Network) -> Iterator[int]:
    """Every number of channels that is written as a number, as often as it is."""
    for stage in network.stages:
        yield from stage.widths
    for _, steps in listed_steps(network):
        yield from _in_steps(steps)


def _in_steps(steps: Listed) -> Iterator[int]:
    for step in steps:
        yield from _in_step(step)
        for _, listed in inner(step):
            yield from _in_steps(listed)


def _in_step(step: Step) -> Iterator[int]:
    if isinstance(step, Linear) and isinstance(step.linear.width, int):
        yield step.linear.width
    if isinstance(step, Connect):
        if isinstance(step.connect.width, int):
            yield step.connect.width
        if _hidden_channels(step.connect):
            yield _hidden_channels(step.connect)


def _hidden_channels(layer: ConnectLayer) -> int:
    """The hidden size of a rank over channels, where it is a number; 0 for none. Over positions it is no width."""
    mixes = layer.combination.channels == "full" and layer.combination.space == "point"
    return layer.rank.size if layer.rank is not None and layer.rank.size is not None and mixes else 0


@dataclass(frozen=True)
class _Change:
    """New numbers of channels for old ones."""

    new: dict[int, int]

    def stage(self, stage: Stage) -> Stage:
        one = isinstance(stage.width, int)
        width = self.new[stage.widths[0]] if one else tuple(self.new[width] for width in stage.widths)
        update: dict[str, Any] = {"width": width}
        if isinstance(stage.downsample, tuple):
            update["downsample"] = self.steps(stage.downsample)
        return stage.model_copy(update=update)

    def steps(self, steps: Listed) -> Listed:
        return tuple(self.step(with_inner(step, self.steps)) for step in steps)

    def step(self, step: Step) -> Step:
        if isinstance(step, Linear) and isinstance(step.linear.width, int):
            return Linear(linear=_kept(step.linear, {"width": self.new[step.linear.width]}))
        if not isinstance(step, Connect):
            return step
        layer, update = step.connect, {}
        if isinstance(layer.width, int):
            update["width"] = self.new[layer.width]
        if layer.rank is not None and _hidden_channels(layer):
            update["rank"] = _kept(layer.rank, {"size": self.new[_hidden_channels(layer)]})
        return Connect(connect=_kept(layer, update)) if update else step


def _kept(model: Any, update: dict[str, Any]) -> Any:
    return model.model_copy(update=update)


def _step(network: Network, value: int, multiple: int) -> int:
    """The smallest step: two neighbouring multiples of it are legal, so what they must be divided by divides it."""
    others = [Part(each, 1) for each in dict.fromkeys(channels(network))]
    if not _is_legal(network, others, value, 2 * value):
        return 0  # twice a width has all divisors that it has: something else hangs on this number
    divisors = (number for number in range(1, value + 1) if value % number == 0)
    for step in dict.fromkeys(lcm(number, multiple) for number in divisors):
        first = step * ceil(value / step)
        if all(_is_legal(network, others, value, width) for width in (first, first + step)):
            return step
    return lcm(value, multiple)


def _is_legal(network: Network, parts: Sequence[Part], value: int, width: int) -> bool:
    try:
        resolve(with_widths(network, parts, [width if part.value == value else part.value for part in parts]))
    except SpecError:
        return False
    return True
