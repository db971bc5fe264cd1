"""A target goes in; a report of it comes out: of one module, of a block with its layers, or of a whole network.

In a network, a layer is a module that reads other positions and holds no module that does, or (once those are taken)
a module of single positions that is in none of them. Where what several layers do together cannot be told apart, the
modules inside are measured.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from archspec.errors import ProbeError
from archspec.probe.calls import Call, calls_of, grid_of, layout_inside, transposed
from archspec.probe.copies import Redraw, parameter_count, prepared
from archspec.probe.facts import Facts, Report
from archspec.probe.measuring import measure
from archspec.probe.scene import Scene
from archspec.probe.smaller import smaller
from archspec.probe.subject import Layout, Subject, subject_of, wrapped
from archspec.probe.targets import Target, module_inside

Progress = Callable[[str, int, int], None]
"""(path of the layer that is measured next, its number, how many there are)."""


def report_of(
    target: Target,
    shape: tuple[int, ...] | None = None,
    layout: Layout | None = None,
    redraw: Redraw = "zeros",
    seed: int = 0,
    progress: Progress = lambda path, number, count: None,
    grid: tuple[int, int] | None = None,
) -> Report:
    """Measure what a target names. grid: height and width of the map that a sequence is, where a shape is given.

    Raises ProbeError where it does not run, where a shape is wanted and none is given, or nothing in it is measurable.
    """
    module = module_inside(target)
    if target.shape is None or (shape is not None and not _is_image(target, shape)):
        if shape is None:
            raise ProbeError(f"{target.name} does not say what it takes: give --shape, such as --shape 16,8,8")
        progress(target.inner or target.name, 1, 1)
        return Report(target.name, measure(subject_of(module, shape, layout, grid, redraw, seed, target.inner), seed))
    calls = calls_of(target.module, shape or target.shape)
    inside = {path: call for path, call in calls.items() if path == target.inner or _below(path, target.inner)}
    if target.inner and target.inner not in calls:
        raise ProbeError(f"{target.name} does not call {target.inner} with a map")
    chosen = _layers(target, inside, calls, redraw, seed)
    whole, layers, skipped = None, [], []
    if target.inner and [call.path for call, _ in chosen] != [target.inner]:
        progress(target.inner, 0, len(chosen))
        whole = _measured(calls[target.inner], calls, target, redraw, seed, deep=False)
    for number, (call, _) in enumerate(chosen, 1):
        progress(call.path, number, len(chosen))
        try:
            layers.append(_measured(call, calls, target, redraw, seed))
        except ProbeError as error:
            skipped.append(f"{call.path}: {str(error).splitlines()[0]}")
    if whole is None and target.inner and layers:
        whole, layers = layers[0], []
    elif whole is not None:
        whole = _with_only_layer(whole, layers)
    return Report(target.name, whole, tuple(layers), tuple(skipped))


def _with_only_layer(whole: Facts, layers: list[Facts]) -> Facts:
    """A block whose positions read others through one layer alone has the weights of that layer."""
    reading = [each for each in layers if each.space.kind != "point"]
    if len(reading) != 1 or whole.dependence.kind != "unknown":
        return whole
    (only,) = reading
    note = f"weights, ties, row and spec are those of {only.path}, through which alone it reads other positions"
    return replace(
        whole,
        channels=replace(only.channels, mixing=True),
        ties=only.ties,
        dependence=replace(only.dependence, elementwise=True),
        row=only.row,
        parts=only.parts,
        nearest=only.nearest,
        notes=(*whole.notes, note),
    )


def _is_image(target: Target, shape: tuple[int, ...]) -> bool:
    return target.shape is not None and len(shape) == 3 and shape[0] == target.shape[0] and not target.inner


def _below(path: str, inner: str) -> bool:
    return not inner or path.startswith(f"{inner}.")


def _measured(
    call: Call, calls: Mapping[str, Call], target: Target, redraw: Redraw, seed: int, deep: bool = True
) -> Facts:
    subject, wide = _subjects(call, calls, target, redraw, seed)
    return measure(subject, seed, wide, deep)


def _subjects(
    call: Call, calls: Mapping[str, Call], target: Target, redraw: Redraw, seed: int
) -> tuple[Subject, Subject | None]:
    """What is measured, and the same on its whole map where it was measured on a smaller one."""
    kind = type(call.module).__name__
    module, redrawn = prepared(call.module, redraw, seed)
    layout = "nhwc" if target.ours and len(call.shape) == 4 and call.path else layout_inside(call, False)
    shape = (1, *call.shape[1:])
    if layout == "nlc" and transposed(call, calls):
        turned = call.function(module)
        shape = (1, call.shape[2], call.shape[1])
        grid = grid_of(Call(call.path, module, shape, (), (), {}), calls)
        pair = (grid.height, grid.width) if grid else None
        return wrapped(
            lambda x: turned(x.mT).mT, shape, "nlc", pair, call.path, kind, redrawn, parameter_count(module)
        ), None
    found = grid_of(call, calls) if layout == "nlc" else None
    pair = (found.height, found.width) if found else None
    native = _native(call, module, (shape, layout, pair, call.path, kind, redrawn, parameter_count(module)))
    less = smaller(module) if target.ours else None
    if less is None:
        return native, None
    small, feature = less
    size = (1, feature.height, feature.width, feature.channels)
    return wrapped(small, size, "nhwc", None, call.path, kind, redrawn, parameter_count(module)), native


def _native(call: Call, module: nn.Module, known: tuple[Any, ...]) -> Subject:
    """With the tensors that the network gives it beside the map, where they fit; else without."""
    if call.has_tensors_beside:
        with suppress(ProbeError):
            return wrapped(call.function(module, beside=True), *known)
    return wrapped(call.function(module), *known)


def _layers(
    target: Target, inside: Mapping[str, Call], calls: Mapping[str, Call], redraw: Redraw, seed: int
) -> list[tuple[Call, bool]]:
    """The layers among these calls, and whether each reads other positions, in the order of the network."""
    if target.ours:
        from archspec import ir
        from archspec.module import Layer

        found = [
            (c, True) for c in inside.values() if isinstance(c.module, Layer) and isinstance(c.module.op, ir.Connect)
        ]
        return sorted(found, key=lambda pair: list(dict(target.module.named_modules())).index(pair[0].path))
    order = {name: number for number, (name, _) in enumerate(target.module.named_modules())}
    mixing = {
        path: _mixes(call, calls, target, redraw, seed)
        for path, call in inside.items()
        if any(True for _ in call.module.parameters()) or not list(call.module.children())
    }
    chosen = [
        path
        for path, mixes in mixing.items()
        if mixes and not any(mixing[p] for p in mixing if p != path and _below(p, path))
    ]
    taken = set(chosen)
    for path in sorted(mixing, key=lambda p: order[p]):
        within = any(_below(path, other) for other in taken)
        holds = any(_below(other, path) for other in taken)
        parameters = sum(p.numel() for p in inside[path].module.parameters() if p.ndim > 1)
        if mixing[path] is False and not within and not holds and parameters:
            taken.add(path)
    return [(inside[path], bool(mixing[path])) for path in sorted(taken, key=lambda p: order[p])]


def _mixes(call: Call, calls: Mapping[str, Call], target: Target, redraw: Redraw, seed: int) -> bool | None:
    """Whether a module reads other positions than its own; None where it does not run alone."""
    try:
        subject, _ = _subjects(call, calls, target, redraw, seed)
    except ProbeError:
        return None
    if subject.target.positions != subject.source.positions:
        return True
    scene = Scene(subject, seed)
    places = sorted({scene.middle, scene.spread[0]})
    rows = subject.rows(scene.inputs[0], places, scene.direction).abs().amax(-1)
    rows[torch.arange(len(places)), torch.as_tensor(places)] = 0
    return bool(rows.max() > 0)
