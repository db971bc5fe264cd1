"""A network and an input size (and window) go in; the network at that size comes out. No torch."""

from collections.abc import Iterator
from typing import Any

from archspec.errors import Problem, SpecError
from archspec.resolve import resolve
from archspec.schema.load import network_from
from archspec.schema.network import Network
from archspec.schema.source import read_text
from archspec.schema.writing import dump_yaml

Pair = tuple[int, int]
WINDOWS = ("window", "grid", "halo")


def resized(network: Network, size: Pair, window: Pair | None = None, name: str | None = None) -> Network:
    """The network for images of `size` (height, width), called `name` or its old name with the size.

    `window` replaces the largest extent that positions mix over: every window, grid, halo window and depth-wise kernel
    of stride 1 that is as large as the largest of them (7x7 in Swin and DW-Conv.; a 3x3 kernel beside it stays). A
    shift of half a window stays half a window. Left out, windows and kernels stay as they are.

    Raises SpecError where the network cannot stand at that size, or has nothing that `window` could replace.
    """
    written = network.model_dump(mode="json", exclude_unset=True)
    written["input"]["size"] = size[0] if size[0] == size[1] else list(size)
    written["name"] = name or f"{network.name}_{'x'.join(map(str, dict.fromkeys(size)))}"
    if window is not None:
        _replace_windows(written, window)
    # Written out and read again, so that a size, a window or a name is checked as what a file says.
    made = network_from(read_text(dump_yaml(written), f"{network.name} resized"))
    resolve(made)
    return made


def _replace_windows(written: dict[str, Any], window: Pair) -> None:
    options = [found for layer in _connections(written) if (found := _extent_of(layer)) is not None]
    if not options:
        rule = "a window replaces windows and depth-wise kernels of stride 1, and this network has none"
        raise SpecError([Problem(rule, path=written["name"])])
    largest = max(_pair(each["size"]) for each in options)
    size = window[0] if window[0] == window[1] else list(window)
    for each in options:
        if _pair(each["size"]) == largest:
            if "shift" in each:
                each["shift"] = _moved(_pair(each["shift"]), largest, window)
            each["size"] = size


def _moved(shift: Pair, old: Pair, new: Pair) -> int | list[int]:
    """Half a window stays half a window; another shift stays in proportion."""
    moved = [n // 2 if s == o // 2 else round(s * n / o) for s, o, n in zip(shift, old, new, strict=True)]
    return moved[0] if moved[0] == moved[1] else moved


def _connections(value: Any) -> Iterator[dict[str, Any]]:
    """Every connection layer of a network as written, wherever it stands."""
    if isinstance(value, list):
        for each in value:
            yield from _connections(each)
    elif isinstance(value, dict):
        if "connectivity" in value:
            yield value
        for each in value.values():
            yield from _connections(each)


def _extent_of(layer: dict[str, Any]) -> dict[str, Any] | None:
    """The options, with a size, of the window or depth-wise kernel of a layer; None where it has none."""
    space = layer["connectivity"]["space"]
    if not isinstance(space, dict):
        return None
    ((kind, options),) = space.items()
    if kind not in (*WINDOWS, "sliding"):
        return None
    if not isinstance(options, dict):
        options = space[kind] = {"size": options}
    mixes = layer["connectivity"]["channels"] != "separate"
    moves = _pair(options.get("stride", 1)) != (1, 1) or _pair(options.get("dilation", 1)) != (1, 1)
    return None if kind == "sliding" and (mixes or moves) else options


def _pair(size: int | list[int]) -> Pair:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
