"""What was measured goes in; the nearest legal `connect:` step as YAML, and the axes in which it differs, come out."""

from typing import Any

from archspec.probe.facts import AxisEdit, Channels, Dependence, Map, NearestSpec, Pair, Space, Ties
from archspec.schema.layer import ConnectLayer
from archspec.schema.legality import Combination, broken_rules, nearest_legal
from archspec.schema.writing import dump_yaml


def nearest_spec(
    source: Map, target: Map, space: Space, channels: Channels, ties: Ties, dependence: Dependence
) -> NearestSpec:
    """The combination of axis values that was measured if it is legal; otherwise the nearest legal one."""
    measured = _measured(space, channels, ties, dependence)
    wanted = Combination(*(value if value in known else fallback for value, known, fallback in _known(measured)))
    legal = nearest_legal(wanted) if broken_rules(wanted) else wanted
    written = _written(legal, source, target, space, channels, ties, dependence)
    ConnectLayer.model_validate(written)
    names = ("space", "channels", "sharing over positions", "sharing over channels", "weights")
    edits = [
        AxisEdit(name, ours, theirs)
        for name, ours, theirs in zip(names, measured, legal, strict=True)
        if ours != theirs
    ]
    if not _is_plain(space):
        edits.append(AxisEdit("space", str(space), "sliding, centred, onto a map that its stride makes"))
    if channels.projected and dependence.kind == "static":
        edits.append(AxisEdit("channels", "separate between projections", legal.channels))
    return NearestSpec(dump_yaml({"connect": written}), tuple(edits))


def _is_plain(space: Space) -> bool:
    """Whether the language has this kernel: centred, without missing offsets, ending at the border."""
    placed = space.centred or space.before == (0, 0)
    return placed and not (space.without or space.cyclic) and space.grows == (1, 1)


def _measured(space: Space, channels: Channels, ties: Ties, dependence: Dependence) -> Combination:
    own = ("local", "attention", "outlook")
    tied = {"all": "offsets", "rows": "none", "columns": "none", "outputs": "none", "inputs": "none"}
    positions = "none" if dependence.kind in own else tied.get(ties.positions, ties.positions)
    sharing = ties.channels
    if channels.kind == "full" or (channels.kind == "groups" and sharing == "groups"):
        sharing = "none"
    kind = {"mean": "full", "overlapping": "sliding"}.get(space.kind, space.kind)
    return Combination(kind, channels.kind, positions, sharing, dependence.kind)


def _known(found: Combination) -> list[tuple[str, tuple[str, ...], str]]:
    from archspec.schema.legality import CHANNEL_SHARING, CHANNELS, POSITION_SHARING, SPACES, WEIGHTS

    tables = (SPACES, CHANNELS, POSITION_SHARING, CHANNEL_SHARING, WEIGHTS)
    return list(zip(found, tables, ("full", "full", "none", "none", "static"), strict=True))


def _written(
    legal: Combination, source: Map, target: Map, space: Space, channels: Channels, ties: Ties, dependence: Dependence
) -> dict[str, Any]:
    layer: dict[str, Any] = {
        "connectivity": {"space": _space(legal.space, space, target), "channels": _channels(legal, channels)},
        "sharing": {"positions": legal.positions},
        "weights": _weights(legal, space, dependence),
    }
    if legal.channel_sharing == "groups":
        count = _group_count(ties, source.channels)
        layer["sharing"]["channels"] = {"groups": count}
    elif legal.channel_sharing == "all":
        layer["sharing"]["channels"] = "all"
    if legal.channels != "separate" and target.channels != source.channels:
        layer["width"] = target.channels
    return layer


def _group_count(ties: Ties, width: int) -> int:
    """As many kernels as there are, or the nearest number that divides the width."""
    count = len(ties.channel_groups) + width - sum(map(len, ties.channel_groups))
    return min((n for n in range(1, width + 1) if width % n == 0), key=lambda n: abs(n - count))


def _channels(legal: Combination, channels: Channels) -> Any:
    return {"groups": max(1, len(channels.groups))} if legal.channels == "groups" else legal.channels


def _space(kind: str, space: Space, target: Map) -> Any:
    if kind == "sliding":
        options: dict[str, Any] = {"size": _size(space.size)}
        if space.dilation != (1, 1):
            options["dilation"] = _size(space.dilation)
        if space.stride != (1, 1) and space.kind == "sliding":
            options["stride"] = _size(space.stride)
        if space.kind == "sliding" and space.before == (0, 0) and not space.centred:
            options["padding"] = "none"
        return {"sliding": options if len(options) > 1 else options["size"]}
    if kind == "window":
        size = _size(space.size)
        return {"window": {"size": size, "shift": _size(space.shift)} if any(space.shift) else size}
    if kind == "halo":
        return {"halo": {"size": _size(space.size), "halo": _size(space.halo)}}
    if kind == "grid":
        return {"grid": _size(space.size)}
    if kind == "pooled":
        return {"pooled": _size(space.ratio)}
    return kind


def _size(pair: Pair) -> Any:
    return pair[0] if pair[0] == pair[1] else list(pair)


def _weights(legal: Combination, space: Space, dependence: Dependence) -> Any:
    if legal.weights == "outlook" and space.kind == "overlapping" and space.stride != (1, 1):
        return {"outlook": {"stride": _size(space.stride)}}
    if legal.weights == "attention" and dependence.normalised is False:
        return {"attention": {"normalise": "none"}}
    return legal.weights
