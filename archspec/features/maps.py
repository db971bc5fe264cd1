"""A program goes in; the feature maps that its stages give come out, with channels and reduction. No torch.

A backbone gives one map for each stage. Two kinds of network have no such maps, and give what they have:

- one stage only (ViT, Mixer): one map for each of its blocks, as timm's `feature_info` of such networks has it;
- several resolutions side by side in the last stage (HRNet): those maps of the last stage, the finest first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from archspec import ir
from archspec.ir import Feature


@dataclass(frozen=True)
class FeatureMap:
    """One map of a backbone: (B, H, W, C) after the block `after`, without class token."""

    module: str
    """What gives it, as in `feature_info.module_name()`: a stage, or a block of the only stage."""
    after: str
    """The last module that has to run for it."""
    shape: Feature
    reduction: int
    """How many rows of the image make a row of the map: the product of the strides on the way."""
    stream: int | None = None
    """Which of several maps it is."""


def feature_maps(program: ir.Program) -> tuple[FeatureMap, ...]:
    """The maps of a program, front to back; for several resolutions at once, the finest first."""
    stages = _last_ops(program.ops, parts=2)
    blocks = _last_ops(program.ops, parts=4)
    only, *others = stages
    if not others and isinstance(stages[only].target, Feature):
        return tuple(_maps(program, {path: op for path, op in blocks.items() if ".blocks." in path}))
    last = stages[list(stages)[-1]]
    if not isinstance(last.target, Feature):
        stages = {list(stages)[-1]: last}
    return tuple(_maps(program, stages))


def taken(maps: tuple[FeatureMap, ...], out_indices: tuple[int, ...] | int | None) -> tuple[int, ...]:
    """The indices that are meant: None all, n the last n, negative ones from the end; as timm has it.

    Raises:
        ValueError: an index that there is not.
    """
    count = len(maps)
    wanted = range(count) if out_indices is None else out_indices
    if isinstance(wanted, int):
        wanted = range(-wanted, 0)
    indices = tuple(index + count if index < 0 else index for index in wanted)
    if not indices or any(not 0 <= index < count for index in indices):
        raise ValueError(f"out_indices are among 0 to {count - 1}, or -1 to {-count} from the end; found {out_indices}")
    return indices


def _last_ops(ops: tuple[ir.Op, ...], parts: int) -> dict[str, ir.Op]:
    """The last op of each stage (`stages.1`, 2 parts) or of each of its blocks (`stages.1.blocks.0`, 4 parts)."""
    return {".".join(op.path.split(".")[:parts]): op for op in ops if op.path.startswith("stages.")}


def _maps(program: ir.Program, places: dict[str, ir.Op]) -> Iterator[FeatureMap]:
    strides = dict(_strides(program.ops))
    for module, op in places.items():
        after = ".".join(op.path.split(".")[: 4 if ".blocks." in op.path else 3])
        several = isinstance(op.target, ir.Streams)
        if several and len(places) > 1:
            continue  # on the way to a single map again
        shapes = op.target.features if isinstance(op.target, ir.Streams) else (op.target,)
        for stream, shape in enumerate(shapes):
            reduction = round(program.image.height / shape.height) if several else strides[op.path]
            yield FeatureMap(module, after, shape, reduction, stream if several else None)


def _strides(ops: tuple[ir.Op, ...]) -> Iterator[tuple[str, int]]:
    """Of each op that gives one map, how far all ops up to it reduce. 299 to 149 is 2."""
    product = 1
    for op in ops:
        if isinstance(op.source, Feature) and isinstance(op.target, Feature):
            product *= max(1, round(op.source.height / op.target.height))
            product = max(1, product // max(1, round(op.target.height / op.source.height)))  # back to a larger map
            yield op.path, product
