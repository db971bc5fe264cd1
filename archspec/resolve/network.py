"""A network as written goes in; its program comes out: stem, stages of blocks, head, front to back."""

from dataclasses import replace

from archspec import ir
from archspec.errors import SpecError
from archspec.ir import Feature, Shape, Streams
from archspec.normal import Illegal, Place, connect
from archspec.resolve.branching import Here, SpecPath
from archspec.resolve.chains import verify
from archspec.resolve.simple import whole_pool
from archspec.resolve.walk import Walker
from archspec.schema import simple
from archspec.schema.expand import expand_downsample, expand_linear, expand_stem
from archspec.schema.network import Network, Stage
from archspec.schema.steps import Step

MAXIMUM_BLOCKS = 2048


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
        self.walker = Walker(network.blocks, network.init, network.classes, network.located)
        self.rates = iter(_drop_path_rates(network))
        self.ops: list[ir.Op] = []

    def program(self) -> ir.Program:
        network = self.network
        depth = sum(stage.depth for stage in network.stages)
        if depth > MAXIMUM_BLOCKS:
            self.walker.report(("stages",), Illegal(f"a network has at most {MAXIMUM_BLOCKS} blocks", str(depth)))
            raise SpecError(self.walker.problems.values())
        height, width = network.input.height_width
        image = Feature(height, width, network.input.channels)
        here = Here("stem", ("stem",), network.stages[0].widths)
        shape = self.steps(expand_stem(network.stem), image, here)
        for index, stage in enumerate(network.stages):
            shape = self.stage(index, stage, shape)
        self.head(shape)
        if self.walker.problems:
            raise SpecError(self.walker.problems.values())
        program = ir.Program(network.name, image, network.classes, tuple(self.ops))
        verify(program)
        return program

    def steps(self, written: tuple[Step, ...], shape: Shape, here: Here) -> Shape:
        new, shape = self.walker.steps(written, shape, here)
        self.ops.extend(new)
        return shape

    def stage(self, index: int, stage: Stage, shape: Shape) -> Shape:
        downsample = stage.downsample or (self.network.downsample if index else None)
        if downsample is not None:
            spec: SpecPath = ("stages", index, "downsample") if stage.downsample else ("downsample",)
            here = Here(f"stages.{index}.downsample", spec, stage.widths)
            shape = self.steps(expand_downsample(downsample), shape, here)
        for number, name in enumerate(stage.blocks_in_order):
            here = Here(f"stages.{index}.blocks.{number}", ("blocks", name), stage.widths, next(self.rates))
            if number == 0:
                shape = self.first_block(index, stage, shape, here)
            else:
                shape = self.steps(self.network.blocks[name], shape, here)
        return shape

    def first_block(self, index: int, stage: Stage, shape: Shape, here: Here) -> Shape:
        """The first block may bring the width of the stage; after it, it must be there."""
        block = self.network.blocks[str(here.spec[1])]
        problems = dict(self.walker.problems)
        new, given = self.walker.steps(block, shape, here)
        if _widths(given) == stage.widths:
            self.ops.extend(new)
            return given
        rule, found = "the first block of a stage must end with the width of the stage", given
        if _widths(given) == _widths(shape):
            # It keeps the width that it finds: what went wrong did so before, and what follows from it says nothing.
            self.walker.problems = problems
            what = "the stem" if index == 0 else "what leads into the stage"
            rule, found = f"{what} must end with the width of the stage it leads into", shape
        self.walker.report(("stages", index, "width"), _wrong_width(rule, found, stage))
        corrected = _with_widths(shape, stage.widths)
        new, given = self.walker.steps(block, corrected, here)
        return _with_widths(given, stage.widths)

    def head(self, shape: Shape) -> None:
        head = self.network.head
        widths = self.network.stages[-1].widths
        if head.steps is not None:
            shape = self.steps(head.steps, shape, Here("head.steps", ("head", "steps"), widths))
        if isinstance(shape, Streams):
            rule = "the head takes one map: an exchange of one row makes one of several"
            problem = Illegal(rule, f"{len(shape.features)} maps {shape}", ("steps: [exchange: [[[…], […]]]]",))
            self.walker.report(("head",), problem)
            return
        if head.norm is not None:
            norm = simple.Normalise(norm=head.norm)
            ops, _ = self.walker.step(norm, shape, Here("head.norm.0", ("head", "norm"), widths))
            self.ops.extend(ops)
        self.classify(self.pooled(shape))

    def pooled(self, feature: Feature) -> Feature:
        kind = self.network.head.pool
        if kind == "class_token":
            if not feature.class_tokens:
                problem = Illegal("pooling by class token needs a class_token step", "no class token", ("mean",))
                self.walker.report(("head", "pool"), problem)
            self.ops.append(ir.Pool("head.pool", feature, Feature(1, 1, feature.channels), kind))
        elif kind != "none":
            self.ops.extend(whole_pool(kind, Place("head.pool", feature, 1, self.network.init)))
        elif feature.positions != 1:
            rule = "with pool none the head must be given a map of one position"
            self.walker.report(("head", "pool"), Illegal(rule, str(feature), ("mean", "max", "class_token")))
        return Feature(1, 1, feature.channels)

    def classify(self, pooled: Feature) -> None:
        head, classes = self.network.head, self.network.classes
        if head.classifier:
            # The number of classes may exceed the widest layer that a spec may write.
            linear = expand_linear(simple.LinearLayer(bias=head.bias)).model_copy(update={"width": classes})
            self.ops.extend(connect(linear, Place("head.classifier", pooled, 1, self.network.init)))
        elif pooled.channels != classes:
            rule = "without a classifier, what is left must have as many channels as there are classes"
            found = f"{pooled.channels} channels for {classes} classes"
            self.walker.report(("head", "classifier"), Illegal(rule, found, ("true", f"classes: {pooled.channels}")))


def _widths(shape: Shape) -> tuple[int, ...]:
    return tuple(each.channels for each in _maps(shape))


def _maps(shape: Shape) -> tuple[Feature, ...]:
    return shape.features if isinstance(shape, Streams) else (shape,)


def _with_widths(shape: Shape, widths: tuple[int, ...]) -> Shape:
    """The shape with other widths, as far as there are maps for them."""
    maps = _maps(shape)
    changed = tuple(replace(maps[min(number, len(maps) - 1)], channels=width) for number, width in enumerate(widths))
    return changed[0] if len(changed) == 1 else Streams(changed)


def _wrong_width(rule: str, found: Shape, stage: Stage) -> Illegal:
    maps, widths = _maps(found), stage.widths
    if len(maps) != len(widths):
        text = f"{len(maps)} maps {found} for {len(widths)} widths"
        return Illegal(f"{rule}, one for each map", text, ("exchange: [[[…]], [[…]]]",))
    channels = ", ".join(str(each.channels) for each in maps)
    written = channels if len(maps) == 1 else f"[{channels}]"
    text = f"{channels} channels for a stage of width {stage.widths[0] if len(widths) == 1 else list(widths)}"
    return Illegal(rule, text, (f"width: {written}", "a linear or connect step with width: stage"))


def _drop_path_rates(network: Network) -> list[float]:
    """Rates rise linearly from 0 at the first block to the network's at the last (arXiv 1603.09382, timm, Swin)."""
    depth = sum(stage.depth for stage in network.stages)
    return [round(network.drop_path * index / max(1, depth - 1), 12) for index in range(depth)]
