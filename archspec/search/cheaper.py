"""A network and the rungs of a recipe go in; narrower networks, and whether it can stand on each rung, come out.

No torch: points of a space are asked for by the hundred.
"""

from collections.abc import Iterable
from fractions import Fraction

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.resolve import resolve
from archspec.schema.network import Network
from archspec.search.recipe import Recipe, Rung
from archspec.search.space.numbers import Part, channels, widths, with_widths
from archspec.widening import copies

MULTIPLE = 4
"""Narrower numbers of channels are multiples of it, and of what heads and groups need."""


def demanding(recipe: Recipe) -> tuple[Rung, ...]:
    """The rungs that not every network can stand on: those of another size or width."""
    return tuple(rung for rung in recipe.rungs if rung.size is not None or rung.share_of_width < 1)


def check_rungs(network: Network, program: ir.Program, rungs: Iterable[Rung]) -> None:
    """Raise SpecError where a network cannot stand on a rung: nowhere near as wide, or with other parameters."""
    for rung in rungs:
        if rung.size is not None:
            _check_size(network, program, rung.size)
        if rung.share_of_width < 1:
            copies(narrowed(network, rung.share_of_width)[1], program)


def narrowed(network: Network, share: float) -> tuple[Network, ir.Program]:
    """The network with a share of all its channels, each number rounded to what its layers can take; and its program.

    Numbers that others hang on stay. Raises SpecError where no such network is legal.
    """
    if share == 1:
        return network, resolve(network)
    simple = [Part(value, MULTIPLE) for value in sorted(set(channels(network)))]
    found = _with_share(network, simple, share)
    try:
        return found, resolve(found)
    except SpecError:
        found = _with_share(network, widths(network, MULTIPLE), share)
    return found, resolve(found)


def _with_share(network: Network, parts: Iterable[Part], share: float) -> Network:
    exact = Fraction(share).limit_denominator(10**6)
    listed = list(parts)
    return with_widths(network, listed, [min(part.value, part.nearest(exact)) for part in listed])


def _check_size(network: Network, program: ir.Program, size: int) -> None:
    """Raise SpecError where a network cannot stand at a size, or a parameter has another shape there."""
    here = {name: row.shape for name, row in ir.parameter_table(program).items()}
    image = network.input.model_copy(update={"size": (size, size)})
    smaller = resolve(network.model_copy(update={"input": image}))
    there = {name: row.shape for name, row in ir.parameter_table(smaller).items()}
    differing = next((name for name in here if there.get(name) != here[name]), None)
    if differing is not None:
        rule = f"a rung of {size}x{size} images runs the same network: no parameter may belong to a position"
        found = f"{differing} has shape {here[differing]}, there {there.get(differing, 'none')}"
        raise SpecError([Problem(rule, found, "recipe.rungs", nearest=("rungs without `size`",))])
