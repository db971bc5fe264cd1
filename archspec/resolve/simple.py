"""A step that holds no other steps goes in; its ops come out, in normal form: what changes nothing is no op."""

from collections.abc import Callable, Mapping
from typing import Any

from archspec import ir
from archspec.ir import Feature
from archspec.normal import Illegal, Place, connect, pair
from archspec.normal.place import closest_divisors
from archspec.schema import simple
from archspec.schema.expand import expand_layer
from archspec.schema.steps import Step

Ops = tuple[ir.Op, ...]


def simple_ops(step: Step, place: Place, around: Feature | None) -> Ops:
    """The ops of a step; `around` is the map that the step around it took. Raises Illegal."""
    expanded = expand_layer(step)
    if isinstance(expanded, simple.Resize):
        return _resize(expanded, place, around)
    return _SIMPLE_OPS[type(expanded)](expanded, place)


def _connect(step: simple.Connect, place: Place) -> Ops:
    return connect(step.connect, place)


def _norm(step: simple.Normalise, place: Place) -> Ops:
    norm, centring = step.norm, False
    if isinstance(norm, simple.LayerNorm):
        kind, eps = "layer", norm.layer.eps
    elif isinstance(norm, simple.BatchNorm):
        kind, eps, centring = "batch", norm.batch.eps, norm.batch.centring
    else:
        kind, eps = norm, 0.0 if norm == "affine" else simple.NormOptions().eps
    return (ir.Norm(place.path, place.source, place.source, kind, eps, centring),)


def _act(step: simple.Activate, place: Place) -> Ops:
    return (ir.Activation(place.path, place.source, place.source, step.act),)


def _scale(step: simple.Scale, place: Place) -> Ops:
    return (ir.Scale(place.path, place.source, place.source, step.scale.init),)


def _multiply(step: simple.Multiply, place: Place) -> Ops:
    if step.multiply == 1:
        return ()
    return (ir.Multiply(place.path, place.source, place.source, float(step.multiply)),)


def _drop_path(step: simple.DropPath, place: Place) -> Ops:
    # A rate of zero is written out here so that it can stand in a search space; it means nothing.
    return (ir.DropPath(place.path, place.source, place.source, step.drop_path),) if step.drop_path else ()


def _class_token(step: simple.ClassToken, place: Place) -> Ops:
    source = place.source
    if source.class_tokens:
        raise Illegal("a network has at most one class token", "a second class_token step")
    return (ir.ClassToken(place.path, source, Feature(source.height, source.width, source.channels, 1)),)


def _position_embedding(step: simple.PositionEmbedding, place: Place) -> Ops:
    return (ir.PositionEmbedding(place.path, place.source, place.source),)


def _gather(step: simple.Gather, place: Place) -> Ops:
    source, size = _without_token(place.source, f"gather: {step.gather}"), step.gather
    target = Feature(-(-source.height // size), -(-source.width // size), source.channels * size**2)
    return (ir.Gather(place.path, source, target, size),)


def _shuffle(step: simple.Shuffle, place: Place) -> Ops:
    groups, width = step.shuffle, place.source.channels
    if width % groups:
        found = f"{groups} for {width} channels"
        raise Illegal("shuffle must divide the number of channels", found, closest_divisors(width, groups))
    return () if groups in (1, width) else (ir.Shuffle(place.path, place.source, place.source, groups),)


def _select(step: simple.Select, place: Place) -> Ops:
    source = place.source
    if step.select == "map":
        target = Feature(source.height, source.width, source.channels)
        return (ir.MapOnly(place.path, source, target),) if source.class_tokens else ()
    if not source.class_tokens:
        raise Illegal("select: class_token needs a class_token step before", "no class token", ("map",))
    return (ir.Pool(place.path, source, Feature(1, 1, source.channels), "class_token"),)


def _resize(step: simple.Resize, place: Place, around: Feature | None) -> Ops:
    source, options = _without_token(place.source, "resize"), step.resize
    if isinstance(options, simple.ResizeOptions):
        height, width = source.height * options.scale, source.width * options.scale
        kind = options.mode
    elif around is None:
        rule = "resize without a scale makes the size of what the step around it took (gate, residual, exchange, ...)"
        raise Illegal(rule, f"no step around resize: {options}", (f"resize: {{scale: 2, mode: {options}}}",))
    else:
        height, width, kind = around.height, around.width, options
    if (height, width) == (source.height, source.width):
        return ()
    target = Feature(height, width, source.channels)
    # From one position there is nothing in between.
    return (ir.Resize(place.path, source, target, "nearest" if source.positions == 1 else kind),)


def _pool(step: simple.Pool, place: Place) -> Ops:
    written = step.pool
    if isinstance(written, simple.SlidingMean):
        return _sliding_pool("mean", written.mean, place)
    if isinstance(written, simple.SlidingMax):
        return _sliding_pool("max", written.max, place)
    return whole_pool(written, place)


def whole_pool(kind: str, place: Place) -> Ops:
    """The whole map to one position; one position without class token is there already."""
    if place.source.positions == 1:
        return ()
    return (ir.Pool(place.path, place.source, Feature(1, 1, place.source.channels), kind),)


def _sliding_pool(kind: str, options: simple.PoolOptions, place: Place) -> Ops:
    source = _without_token(place.source, "a pool that slides")
    size, stride, extent = pair(options.size), pair(options.stride), (source.height, source.width)
    rows, columns = (_Ends(k, s, m, options.padding) for k, s, m in zip(size, stride, extent, strict=True))
    before = (rows.before, columns.before)
    inside = rows.inside and columns.inside
    if size == (1, 1) and stride == (1, 1):
        return ()
    # Where no window reaches beyond the border, or what is beyond has no value, there is nothing to count.
    counted = isinstance(options, simple.MeanPoolOptions) and options.count_padding and not inside
    if (rows.count, columns.count) == (1, 1) and rows.covers and columns.covers and not counted:
        return whole_pool(kind, place)
    target = Feature(rows.count, columns.count, source.channels)
    space = ir.Sliding(size, (1, 1), stride, before)
    return (ir.SlidingPool(place.path, source, target, kind, space, counted),)


class _Ends:
    """How windows of one size and stride lie along one direction."""

    def __init__(self, size: int, stride: int, extent: int, padding: str) -> None:
        self.before = (size - 1) // 2 if padding == "same" else 0
        self.count = (extent - size) // stride + 1 if padding == "none" else -(-extent // stride)
        if self.count < 1:
            rule = "with padding none the window of a pool must fit into the map"
            raise Illegal(rule, f"size {size} on {extent} positions", (f"size: {extent}", "padding: same"))
        last = (self.count - 1) * stride - self.before + size
        self.inside = self.before == 0 and last <= extent
        self.covers = size - self.before >= extent


def _without_token(source: Feature, what: str) -> Feature:
    if source.class_tokens:
        rule = f"a class token has no place on the map: {what.split(':')[0]} needs a map without one"
        raise Illegal(rule, what, ("select: map",))
    return source


_SIMPLE_OPS: Mapping[type, Callable[[Any, Place], Ops]] = {
    simple.Connect: _connect,
    simple.Normalise: _norm,
    simple.Activate: _act,
    simple.Scale: _scale,
    simple.Multiply: _multiply,
    simple.DropPath: _drop_path,
    simple.ClassToken: _class_token,
    simple.PositionEmbedding: _position_embedding,
    simple.Gather: _gather,
    simple.Shuffle: _shuffle,
    simple.Select: _select,
    simple.Pool: _pool,
}
