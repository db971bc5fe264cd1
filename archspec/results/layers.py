"""A network's program goes in; what the connections of each stage are, axis by axis, comes out as words.

Read from the resolved network and not from genes: a space may write an axis as a gene of its own or as a pattern that
decides all three, and the answer is the same.
"""

from archspec.ir import Attention, Connect, Full, Op, Point, Predicted, Program, Sliding, Static, Window, walk

AXES = ("connectivity", "channel sharing", "weights", "position sharing")
"""In the order in which one is kept where two say the same."""


def stage_axes(program: Program) -> dict[str, dict[str, str]]:
    """Of each stage (`stage 0`), the value of each axis over its connections; several values are joined by ` + `.

    Layers that only mix channels at a position (linear, MLP) are the same question for every pattern and left out.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for op in walk(program.ops):
        stage = _stage(op)
        if stage is not None and isinstance(op, Connect) and _connects(op):
            values = found.setdefault(stage, {axis: [] for axis in AXES})
            for axis, value in zip(AXES, _values(op), strict=True):
                if value not in values[axis]:
                    values[axis].append(value)
    return {stage: {axis: " + ".join(words) for axis, words in values.items()} for stage, values in found.items()}


def _stage(op: Op) -> str | None:
    parts = op.path.split(".")
    return f"stage {parts[1]}" if parts[:1] == ["stages"] and parts[2:3] == ["blocks"] else None


def _connects(op: Connect) -> bool:
    return not isinstance(op.space, Point) or op.channels == "separate"


def _values(op: Connect) -> tuple[str, str, str, str]:
    mixes = "" if op.channels == "separate" else f", channels {op.channels}"
    shared = f"groups({op.kernels})" if op.share_channels == "groups" else op.share_channels
    return _space(op) + mixes, shared, _weights(op), op.share_positions


def _space(op: Connect) -> str:
    space = op.space
    if isinstance(space, Sliding):
        return f"sliding({_by(space.size)})"
    if isinstance(space, Window):
        shifted = " shifted" if any(space.shift) else ""
        return f"window({_by(space.size)}){shifted}"
    return "full" if isinstance(space, Full) else "point"


def _by(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def _weights(op: Connect) -> str:
    if isinstance(op.weights, Predicted):
        return op.weights.source
    return "attention" if isinstance(op.weights, Attention) else "static" if isinstance(op.weights, Static) else "other"
