"""A module and the shape it takes go in; one function of (batch, positions, channels) in float64 comes out.

Whatever the layout - (B, C, H, W), (B, H, W, C) or (B, N, C) - a subject takes and gives (B, N, C): positions row by
row, tokens without a place before them. What is measured is a copy in eval mode, so that the module stays as it is.

Legend: B batch, N positions, C channels, R rows of the Jacobian.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from archspec.errors import ProbeError
from archspec.probe.copies import Redraw, parameter_count, prepared
from archspec.probe.facts import Map
from archspec.probe.precision import in_double

Layout = Literal["nchw", "nhwc", "nlc"]

LAYOUTS: tuple[Layout, ...] = ("nchw", "nhwc", "nlc")
HEAVY = 3e7
"""Parameters times positions: about the multiply-adds of a row."""
ELEMENTS = 1 << 21
"""Elements of the batches of maps that are run at once."""


@dataclass(frozen=True)
class Subject:
    """What is measured: `run` maps (B, N, C) to (B, N', C') in float64."""

    path: str
    kind: str
    run: Callable[[Tensor], Tensor]
    source: Map
    target: Map
    redrawn: tuple[str, ...] = ()
    parameters: int = 0
    notes: tuple[str, ...] = ()
    twice: bool = False
    """Whether gradients of a batch of one image are not those of two: torch 2.15 has such a mistake on the CPU."""

    @property
    def heavy(self) -> bool:
        """Whether a row is so dear that fewer are measured."""
        return self.parameters * self.source.positions > HEAVY

    def inputs(self, count: int, seed: int) -> Tensor:
        """Normal maps: (count, N, C)."""
        generator = torch.Generator().manual_seed(seed)
        shape = (count, self.source.positions, self.source.channels)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def outputs(self, x: Tensor) -> Tensor:
        """y without gradients, in parts that fit into memory."""
        with torch.no_grad():
            return torch.cat([self.run(part) for part in x.split(self._batch)])

    def rows(self, x: Tensor, positions: Sequence[int], directions: Tensor) -> Tensor:
        """Rows of the Jacobian: direction r of output position r, at map x or at map r of x.

        Args:
            x: (N, C), or (R, N, C).
            positions: R numbers of output positions.
            directions: (C') or (R, C').

        Returns:
            (R, N, C).
        """
        count = len(positions)
        weights = directions.expand(count, self.target.channels)
        if x.ndim == 2:
            return self._rows_at(x, positions, weights)
        maps = x.expand(count, *x.shape[-2:])
        where = torch.as_tensor(positions)
        parts = [
            self._rows(*part) for part in zip(*(t.split(self._batch) for t in (maps, where, weights)), strict=True)
        ]
        return torch.cat(parts)

    def _rows_at(self, x: Tensor, positions: Sequence[int], weights: Tensor) -> Tensor:
        """All rows at one map: one pass forward, one pass back for each row."""
        maps = x.expand(1 + self.twice, *x.shape).clone().requires_grad_()
        y = self.run(maps)
        rows = torch.zeros(len(positions), *x.shape, dtype=x.dtype)
        if not y.requires_grad:
            return rows
        for number, position in enumerate(positions):
            given = torch.zeros_like(y)
            given[0, position] = weights[number]
            (found,) = torch.autograd.grad(y, maps, given, retain_graph=True, allow_unused=True)
            if found is not None:
                rows[number] = found[0]
        return rows

    def _rows(self, maps: Tensor, where: Tensor, weights: Tensor) -> Tensor:
        maps = maps.clone().requires_grad_()
        y = self.run(maps)
        chosen = (y[torch.arange(len(y)), where] * weights).sum()
        if not chosen.requires_grad:
            return torch.zeros_like(maps)
        (found,) = torch.autograd.grad(chosen, maps, allow_unused=True)
        return torch.zeros_like(maps) if found is None else found.detach()

    @property
    def _batch(self) -> int:
        largest = max(self.source.positions * self.source.channels, self.target.positions * self.target.channels)
        return max(1, min(256, ELEMENTS // largest))


def subject_of(
    module: nn.Module,
    shape: Sequence[int],
    layout: Layout | None = None,
    grid: tuple[int, int] | None = None,
    redraw: Redraw = "zeros",
    seed: int = 0,
    path: str = "",
) -> Subject:
    """A copy of a module as a function of (B, N, C).

    Args:
        shape: of one image or of a batch: (C, H, W), (H, W, C), (N, C) or with a batch before.
        layout: how to read the shape; None: from its size alone (`layout_of`).
        grid: height and width of the map in a sequence (B, N, C); None: the largest square, tokens before it.

    Raises:
        ProbeError: the module does not run, or does not map maps to maps, or mixes images.
    """
    measured, redrawn = prepared(module, redraw, seed)
    return wrapped(measured, shape, layout, grid, path, type(module).__name__, redrawn, parameter_count(module))


def layout_of(shape: Sequence[int]) -> Layout:
    """How a shape with a batch reads: the two sizes that are equal are height and width; channels first if unclear."""
    if len(shape) == 3:
        return "nlc"
    return "nhwc" if shape[1] == shape[2] and shape[2] != shape[3] else "nchw"


def wrapped(
    module: Callable[[Tensor], Any],
    shape: Sequence[int],
    layout: Layout | None,
    grid: tuple[int, int] | None,
    path: str,
    kind: str,
    redrawn: tuple[str, ...] = (),
    parameters: int = 0,
) -> Subject:
    """A callable as a subject; it is run once to learn the shape of what it gives."""
    shape = _with_batch(shape, layout)
    read = layout or layout_of(shape)
    source = _map_of(shape, read, grid)

    def called(x: Tensor) -> Any:
        # A copy, since a module may write into what it is given.
        with in_double():
            return module(_laid_out(x, source, read).clone())

    def run(x: Tensor) -> Tensor:
        return _sequence(_first_tensor(called(x)), read)

    try:
        with torch.no_grad():
            everything = called(torch.zeros(2, source.positions, source.channels).double())
            given = _first_tensor(everything)
    except ProbeError:
        raise
    except Exception as error:  # a module that is given the wrong shape may raise anything
        cause = (str(error).strip().splitlines() or [""])[0]
        raise ProbeError(
            f"{kind} does not run on maps of {source} ({read})\n    found: {type(error).__name__}: {cause}\n"
            f"    nearest: another --shape, or --layout {' or '.join(each for each in LAYOUTS if each != read)}"
        ) from None
    if not given.is_floating_point():
        raise ProbeError(f"a probe measures real numbers\n    found: {kind} gives {given.dtype}")
    target = _target_of(given, read, source)
    count = len(everything) if isinstance(everything, tuple | list | dict) else 1
    notes = (f"the first of {count} outputs was measured",) if count > 1 else ()
    subject = Subject(path, kind, run, source, target, redrawn, parameters, notes)
    _check_batch(subject)
    return replace(subject, twice=_gradients_differ(subject))


def _with_batch(shape: Sequence[int], layout: Layout | None) -> tuple[int, ...]:
    shape = tuple(int(size) for size in shape)
    wanted = 3 if layout == "nlc" or (layout is None and len(shape) == 2) else 4
    if len(shape) == wanted - 1:
        shape = (1, *shape)
    if len(shape) != wanted or min(shape) < 1:
        raise ProbeError(
            f"a probe takes shapes (C, H, W), (H, W, C) or, with layout nlc, (N, C)\n    found: {tuple(shape)}"
        )
    return shape


def _map_of(shape: Sequence[int], layout: Layout, grid: tuple[int, int] | None) -> Map:
    if layout == "nchw":
        return Map(shape[2], shape[3], shape[1])
    if layout == "nhwc":
        return Map(shape[1], shape[2], shape[3])
    return _sequence_map(shape[1], shape[2], grid)


def _sequence_map(positions: int, channels: int, grid: tuple[int, int] | None) -> Map:
    """A sequence as a map: of this grid, or the largest square with at most two tokens before it, or one row."""
    if grid is not None:
        if grid[0] * grid[1] > positions:
            raise ProbeError(f"a grid has at most as many positions as the sequence, {positions}\n    found: {grid}")
        return Map(*grid, channels, positions - grid[0] * grid[1])
    for tokens in range(min(3, positions)):
        side = int((positions - tokens) ** 0.5)
        if side > 1 and side * side == positions - tokens:
            return Map(side, side, channels, tokens)
    return Map(1, positions, channels)


def _laid_out(x: Tensor, source: Map, layout: Layout) -> Tensor:
    if layout == "nlc":
        return x
    x = x.unflatten(1, (source.height, source.width))
    return x.permute(0, 3, 1, 2).contiguous() if layout == "nchw" else x


def _sequence(y: Tensor, layout: Layout) -> Tensor:
    if y.ndim == 2:
        return y[:, None]
    if y.ndim == 4:
        return y.flatten(2).transpose(1, 2) if layout == "nchw" else y.flatten(1, 2)
    return y


def _first_tensor(given: Any) -> Tensor:
    while isinstance(given, tuple | list) and given:
        given = given[0]
    if isinstance(given, dict) and given:
        return _first_tensor(next(iter(given.values())))
    if not isinstance(given, Tensor) or given.ndim not in (2, 3, 4):
        found = f"shape {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise ProbeError(f"a probe measures modules that give a map of the layout they take\n    found: {found}")
    return given


def _target_of(y: Tensor, layout: Layout, source: Map) -> Map:
    if y.ndim == 2:
        return Map(1, 1, y.shape[1])
    if y.ndim == 3:
        grid = (source.height, source.width) if y.shape[1] == source.positions else None
        return _sequence_map(y.shape[1], y.shape[2], grid)
    return _map_of(tuple(y.shape), layout, None)


def _gradients_differ(subject: Subject) -> bool:
    """Whether a batch of one gives other gradients than a batch of two; what fails here is no map of real numbers."""
    x, last = subject.inputs(1, seed=12345), subject.target.positions - 1
    direction = torch.ones(subject.target.channels, dtype=torch.float64)
    alone, both = (subject.rows(each, [last] * len(each), direction) for each in (x, x.expand(2, *x.shape[1:])))
    return bool((alone[0] - both[0]).abs().max() > 1e-9 * both.abs().max())


def _check_batch(subject: Subject) -> None:
    """Rows are measured many images at once, so images must not see each other."""
    x = subject.inputs(3, seed=12345)
    together, alone = subject.outputs(x), torch.cat([subject.outputs(one[None]) for one in x])
    if not torch.isfinite(together).all():
        raise ProbeError(f"{subject.kind} gives numbers that are not finite for normal inputs of {subject.source}")
    least = 1e-6 * together.abs().max().clamp_min(1e-30)
    if together.shape == alone.shape and (together - alone).abs().max() <= least:
        return
    if (subject.outputs(x) - together).abs().max() > least:
        raise ProbeError(f"{subject.kind} gives something else when called again: what draws random numbers has no W")
    raise ProbeError(
        f"{subject.kind} mixes the images of a batch, which a probe takes to be independent\n"
        "    nearest: a module whose first dimension is the batch (batch_first=True)"
    )
