"""A network as written goes in; a program of resolved ops (shapes, defaults, normal form, identity) comes out."""

from collections.abc import Callable
from typing import Any

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.ir import Feature
from archspec.normal import Illegal, Place, connect
from archspec.schema import steps
from archspec.schema.expand import expand_downsample, expand_linear, expand_stem, expand_step
from archspec.schema.located import locate
from archspec.schema.network import Network, Stage

MAXIMUM_BLOCKS = 2048
SpecPath = tuple[str | int, ...]


def resolve(network: Network) -> ir.Program:
    """The program of a network.

    Raises SpecError naming every layer that cannot stand where it stands (group counts that do not divide the width,
    a branch that changes the shape it is added to, ...), with its place in the file where the network has one.
    """
    return _Resolver(network).program()


class _Resolver:
    """Walks a network once, front to back; problems are collected so that one run reports them all."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.problems: dict[tuple[SpecPath, str], Problem] = {}
        self.rates = iter(_drop_path_rates(network))

    def program(self) -> ir.Program:
        network = self.network
        depth = sum(stage.depth for stage in network.stages)
        if depth > MAXIMUM_BLOCKS:
            self._report(("stages",), Illegal(f"a network has at most {MAXIMUM_BLOCKS} blocks", str(depth)))
            raise SpecError(self.problems.values())
        height, width = network.input.height_width
        image = Feature(height, width, network.input.channels)
        ops: list[ir.Op] = []
        stem = expand_stem(network.stem)
        feature = self._steps(stem, image, "stem", ("stem",), network.stages[0].width, ops)
        for index, stage in enumerate(network.stages):
            feature = self._stage(index, stage, feature, ops)
        self._head(feature, ops)
        if self.problems:
            raise SpecError(self.problems.values())
        program = ir.Program(network.name, image, network.classes, tuple(ops))
        verify(program)
        return program

    def _stage(self, index: int, stage: Stage, feature: Feature, ops: list[ir.Op]) -> Feature:
        path: SpecPath = ("stages", index)
        downsample = stage.downsample or (self.network.downsample if index else None)
        if downsample is not None:
            place = (*path, "downsample") if stage.downsample else ("downsample",)
            expanded = expand_downsample(downsample)
            feature = self._steps(expanded, feature, f"stages.{index}.downsample", place, stage.width, ops)
        if feature.channels != stage.width:
            what = "the stem" if index == 0 else "what leads into the stage"
            problem = Illegal(
                f"{what} must end with the width of the stage it leads into",
                f"{feature.channels} channels for a stage of width {stage.width}",
                (f"width: {feature.channels}", "a linear or connect step with width: stage"),
            )
            self._report((*path, "width"), problem)
            feature = Feature(feature.height, feature.width, stage.width, feature.class_tokens)
        for number, name in enumerate(stage.blocks_in_order):
            feature = self._block(name, feature, f"stages.{index}.blocks.{number}", stage.width, ops)
        return feature

    def _block(self, name: str, feature: Feature, path: str, width: int, ops: list[ir.Op]) -> Feature:
        rate = next(self.rates)
        for number, branch in enumerate(self.network.blocks[name]):
            here = f"{path}.{number}"
            spec: SpecPath = ("blocks", name, number)
            if isinstance(branch, steps.Sequence):
                feature = self._steps(branch.sequence, feature, here, (*spec, "sequence"), width, ops)
                continue
            inner: list[ir.Op] = []
            spec = (*spec, "residual")
            result = self._steps(branch.residual, feature, here, spec, width, inner)
            if result != feature:
                problem = Illegal("a residual branch must give the shape it takes", f"takes {feature}, gives {result}")
                self._report(spec, problem)
            if rate and not any(isinstance(op, ir.DropPath) for op in inner):
                inner.append(ir.DropPath(f"{here}.drop_path", feature, feature, rate))
            ops.append(ir.Residual(here, feature, feature, tuple(inner)))
        return feature

    def _steps(
        self,
        written: tuple[steps.Step, ...],
        feature: Feature,
        path: str,
        spec: SpecPath,
        width: int,
        ops: list[ir.Op],
    ) -> Feature:
        for number, step in enumerate(written):
            place = Place(f"{path}.{number}", feature, width, self.network.init)
            try:
                new = _step_ops(step, place)
            except Illegal as problem:
                self._report((*spec, number), problem)
                continue
            ops.extend(new)
            feature = new[-1].target if new else feature
        return feature

    def _head(self, feature: Feature, ops: list[ir.Op]) -> None:
        head = self.network.head
        if head.norm is not None:
            feature = self._steps((steps.Normalise(norm=head.norm),), feature, "head.norm", ("head",), 1, ops)
        if head.pool == "class_token" and not feature.class_tokens:
            problem = Illegal("pooling by class token needs a class_token step", "no class token", ("mean",))
            self._report(("head", "pool"), problem)
        pooled = Feature(1, 1, feature.channels)
        ops.append(ir.Pool("head.pool", feature, pooled, head.pool))
        # The number of classes may exceed the widest layer that a spec may write.
        linear = expand_linear(steps.LinearLayer(bias=head.bias))
        layer = linear.model_copy(update={"width": self.network.classes})
        ops.extend(connect(layer, Place("head.classifier", pooled, 1, self.network.init)))

    def _report(self, path: SpecPath, problem: Illegal) -> None:
        located = self.network.located
        location = locate(located, path) if located is not None else None
        dotted = ".".join(map(str, path))
        key = (path, problem.rule + problem.found)
        self.problems.setdefault(key, Problem(problem.rule, problem.found, dotted, location, problem.nearest))


def _step_ops(step: steps.Step, place: Place) -> tuple[ir.Op, ...]:
    expanded = expand_step(step)
    return _STEP_OPS[type(expanded)](expanded, place)


def _connect(step: steps.Connect, place: Place) -> tuple[ir.Op, ...]:
    return connect(step.connect, place)


def _norm(step: steps.Normalise, place: Place) -> tuple[ir.Op, ...]:
    norm = step.norm
    if isinstance(norm, steps.LayerNorm):
        kind, eps = "layer", norm.layer.eps
    elif isinstance(norm, steps.BatchNorm):
        kind, eps = "batch", norm.batch.eps
    else:
        kind, eps = norm, 0.0 if norm == "affine" else steps.NormOptions().eps
    return (ir.Norm(place.path, place.source, place.source, kind, eps),)


def _act(step: steps.Activate, place: Place) -> tuple[ir.Op, ...]:
    return (ir.Activation(place.path, place.source, place.source, step.act),)


def _scale(step: steps.Scale, place: Place) -> tuple[ir.Op, ...]:
    return (ir.Scale(place.path, place.source, place.source, step.scale.init),)


def _drop_path(step: steps.DropPath, place: Place) -> tuple[ir.Op, ...]:
    # A rate of zero is written out here so that it can stand in a search space; it means nothing.
    return (ir.DropPath(place.path, place.source, place.source, step.drop_path),) if step.drop_path else ()


def _class_token(step: steps.ClassToken, place: Place) -> tuple[ir.Op, ...]:
    source = place.source
    if source.class_tokens:
        raise Illegal("a network has at most one class token", "a second class_token step")
    return (ir.ClassToken(place.path, source, Feature(source.height, source.width, source.channels, 1)),)


def _position_embedding(step: steps.PositionEmbedding, place: Place) -> tuple[ir.Op, ...]:
    return (ir.PositionEmbedding(place.path, place.source, place.source),)


def _gather(step: steps.Gather, place: Place) -> tuple[ir.Op, ...]:
    source, size = place.source, step.gather
    if source.class_tokens:
        raise Illegal("a class token has no place on the map: gather needs a map without one", f"gather: {size}")
    target = Feature(-(-source.height // size), -(-source.width // size), source.channels * size**2)
    return (ir.Gather(place.path, source, target, size),)


_STEP_OPS: dict[type[Any], Callable[[Any, Place], tuple[ir.Op, ...]]] = {
    steps.Connect: _connect,
    steps.Normalise: _norm,
    steps.Activate: _act,
    steps.Scale: _scale,
    steps.DropPath: _drop_path,
    steps.ClassToken: _class_token,
    steps.PositionEmbedding: _position_embedding,
    steps.Gather: _gather,
}


def _drop_path_rates(network: Network) -> list[float]:
    """Rates rise linearly from 0 at the first block to the network's at the last (arXiv 1603.09382, timm, Swin)."""
    depth = sum(stage.depth for stage in network.stages)
    return [round(network.drop_path * index / max(1, depth - 1), 12) for index in range(depth)]


def verify(program: ir.Program) -> None:
    """Raise SpecError unless shapes chain, residual branches keep their shape and names are unique."""
    problems = list(_broken_chains(program.ops, program.image))
    names = [f"{op.path}.{row.name}" for op in ir.walk(program.ops) for row in op.parameters]
    if len(set(names)) != len(names):
        problems.append(Problem("parameter names must be unique", path=program.name))
    if problems:
        raise SpecError(problems)


def _broken_chains(ops: tuple[ir.Op, ...], feature: Feature) -> list[Problem]:
    problems = []
    for op in ops:
        if op.source != feature:
            problems.append(Problem("an op takes the shape that the op before gives", f"{op.source}", op.path))
        if isinstance(op, ir.Residual):
            problems += _broken_chains(op.ops, op.source)
            if op.ops and op.ops[-1].target != op.source:
                problems.append(Problem("a residual branch must give the shape it takes", path=op.path))
        feature = op.target
    return problems
