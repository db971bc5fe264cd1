"""A list of steps and the map it takes go in; its ops and what they give come out; problems are collected."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from archspec import ir
from archspec.errors import Problem
from archspec.ir import Feature
from archspec.normal import Illegal, Place
from archspec.resolve.branching import BRANCHING, Here, Misfit, Ops, SpecPath
from archspec.resolve.simple import simple_ops
from archspec.schema.located import LocatedDict, locate
from archspec.schema.nesting import Listed
from archspec.schema.steps import Block, BlockReference, Sequence, Step


@dataclass
class Walker:
    """Walks lists of steps; a step that cannot stand where it stands is reported and left out."""

    blocks: Mapping[str, Block]
    init: str
    classes: int
    located: LocatedDict | None = None
    problems: dict[tuple[SpecPath, str], Problem] = field(default_factory=dict)

    def steps(self, written: Listed, shape: ir.Shape, here: Here) -> tuple[Ops, ir.Shape]:
        """The ops of a list of steps, one after the other, and the shape they give."""
        ops: list[ir.Op] = []
        for number, step in enumerate(written):
            try:
                new, shape = self.step(step, shape, here.at(number))
            except Illegal as problem:
                below = problem.below if isinstance(problem, Misfit) else ()
                self.report((*here.spec, number, *below), problem)
                continue
            ops.extend(new)
        return tuple(ops), shape

    def step(self, step: Step, shape: ir.Shape, here: Here) -> tuple[Ops, ir.Shape]:
        """The ops of one step; `here` is its own place. Raises Illegal."""
        if isinstance(step, Sequence):
            return self.steps(step.sequence, shape, here.below("sequence"))
        if isinstance(step, BlockReference):
            return self.steps(self.blocks[step.block], shape, replace(here, spec=("blocks", step.block)))
        branching = BRANCHING.get(type(step))
        if branching is not None:
            new = branching(step, shape, here, self.steps)
        elif isinstance(shape, Feature):
            new = simple_ops(step, Place(here.path, shape, here.widths[0], self.init, self.classes), here.around)
        else:
            rule = "after several maps come streams, exchange, sequence or block: this step takes one map"
            raise Illegal(rule, f"{len(shape.features)} maps {shape}", ("streams: [[…], …]", "exchange: [[[], […]]]"))
        return new, (new[-1].target if new else shape)

    def report(self, path: SpecPath, problem: Illegal) -> None:
        """Keep a problem, once, with its place in the file where the network has one."""
        location = locate(self.located, path) if self.located is not None else None
        dotted = ".".join(map(str, path))
        key = (path, problem.rule + problem.found)
        self.problems.setdefault(key, Problem(problem.rule, problem.found, dotted, location, problem.nearest))
