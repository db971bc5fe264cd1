"""A point and the image sizes of rungs go in; whether one set of parameters runs at all of them comes out."""

from collections.abc import Iterable

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.resolve import resolve
from archspec.schema.network import Network
from archspec.search.recipe import Recipe


def rung_sizes(recipe: Recipe) -> tuple[int, ...]:
    """The sizes of images that the rungs of a recipe ask for, beside that of the data."""
    return tuple(sorted({rung.size for rung in recipe.rungs if rung.size is not None}))


def check_sizes(network: Network, program: ir.Program, sizes: Iterable[int]) -> None:
    """Raise SpecError where a network cannot stand at a size, or a parameter has another shape there."""
    here = {name: row.shape for name, row in ir.parameter_table(program).items()}
    for size in sizes:
        image = network.input.model_copy(update={"size": (size, size)})
        smaller = resolve(network.model_copy(update={"input": image}))
        there = {name: row.shape for name, row in ir.parameter_table(smaller).items()}
        differing = next((name for name in here if there.get(name) != here[name]), None)
        if differing is not None:
            rule = f"a rung of {size}x{size} images runs the same network: no parameter may belong to a position"
            found = f"{differing} has shape {here[differing]}, there {there.get(differing, 'none')}"
            raise SpecError([Problem(rule, found, "recipe.rungs", nearest=("rungs without `size`",))])
