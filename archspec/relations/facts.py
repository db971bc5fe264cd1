"""A program goes in; what its regions are and cost comes out: stem, stages (with what leads into them), head."""

from dataclasses import replace
from itertools import groupby

from archspec import ir
from archspec.costs import FLOAT32_BYTES, op_costs
from archspec.costs.maps import elements
from archspec.relations.data import StageFacts
from archspec.relations.signature import region_of


def stage_facts(program: ir.Program) -> tuple[StageFacts, ...]:
    """Stem, stages and head in order; their costs add up to those of the network.

    Activation bytes are what a region adds to what is kept for the backward pass: a map on the border of two counts
    for the first that keeps it.
    """
    params: dict[str, int] = {}
    macs: dict[str, int] = {}
    for row in op_costs(program):
        region = region_of(ir.Op(row.path, program.image, program.image))
        params[region] = params.get(region, 0) + row.params
        macs[region] = macs.get(region, 0) + row.macs
    found: dict[str, StageFacts] = {}
    ops: tuple[ir.Op, ...] = ()
    kept = 0
    for region, group in groupby(program.ops, key=region_of):
        own = tuple(group)
        ops += own
        before, kept = kept, elements(replace(program, ops=ops))[0]
        added = FLOAT32_BYTES * (kept - before)
        shape = str(own[-1].target)
        blocks = {op.path.split(".")[3] for op in own if ".blocks." in op.path}
        found[region] = StageFacts(_name(region), shape, len(blocks), params.get(region, 0), macs.get(region, 0), added)
    empty = StageFacts("stem", str(program.image), 0, 0, 0, 0)
    return tuple(found.get(key, empty) for key in dict.fromkeys(("stem", *found)))


def _name(region: str) -> str:
    return f"stage {int(region.split('.')[1]) + 1}" if region.startswith("stages") else region
