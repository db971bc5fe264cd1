"""A program goes in; a trainable module comes out: verify, lower, build, initialise."""

import torch

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.lower import plan
from archspec.module import Network
from archspec.resolve import verify

MAXIMUM_PARAMETERS = 2**33


def build(program: ir.Program, seed: int | None = None, device: torch.device | str | None = None) -> Network:
    """The module of a program, initialised from a seed or from torch's global generator.

    Raises SpecError if the program is inconsistent, or has more than 2^33 parameters (nothing is allocated then).
    """
    verify(program)
    _check_size(program)
    lowered = plan(program)
    network = Network(lowered, torch.device(device) if device is not None else None)
    network.initialise(seed)
    return network


def _check_size(program: ir.Program) -> None:
    table = ir.parameter_table(program)
    count = sum(row.count for row in table.values())
    if count > MAXIMUM_PARAMETERS:
        name, largest = max(table.items(), key=lambda item: item[1].count)
        found = f"{count:,}, of which {largest.count:,} in {name}"
        raise SpecError([Problem("a network has at most 2^33 parameters", found, program.name)])
