"""A program goes in; a trainable module comes out: verify, lower, build, initialise."""

from collections.abc import Callable
from functools import partial

import torch

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.lower import Plan, plan
from archspec.module import Network
from archspec.resolve import resolve, verify
from archspec.schema import network as schema

MAXIMUM_PARAMETERS = 2**33


def build(
    program: ir.Program,
    seed: int | None = None,
    device: torch.device | str | None = None,
    written: schema.Network | None = None,
    kind: Callable[[Plan, torch.device | None, Callable[[int, int], Plan] | None], Network] = Network,
) -> Network:
    """The module of a program, initialised from a seed or from torch's global generator.

    With the network that the program was resolved from, `written`, the module also runs at other image sizes.
    `kind` makes the module: a classification network, or a backbone.

    Raises SpecError if the program is inconsistent, or has more than 2^33 parameters (nothing is allocated then).
    """
    verify(program)
    _check_size(program)
    lowered = plan(program)
    plan_at = partial(planned_at, written) if written is not None else None
    network = kind(lowered, torch.device(device) if device is not None else None, plan_at)
    network.initialise(seed)
    return network


def planned_at(network: schema.Network, height: int, width: int) -> Plan:
    """The plan of a network for images of another size. Raises SpecError where it cannot stand at that size."""
    image = network.input.model_copy(update={"size": (height, width)})
    return plan(resolve(network.model_copy(update={"input": image})))


def _check_size(program: ir.Program) -> None:
    table = ir.parameter_table(program)
    count = sum(row.count for row in table.values())
    if count > MAXIMUM_PARAMETERS:
        name, largest = max(table.items(), key=lambda item: item[1].count)
        found = f"{count:,}, of which {largest.count:,} in {name}"
        raise SpecError([Problem("a network has at most 2^33 parameters", found, program.name)])
