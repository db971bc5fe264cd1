"""A study or a table goes in; its points with their axes, stage by stage, are attributed and printed."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from archspec.errors import StudyError
from archspec.resolve import resolve
from archspec.results.attribution import Attribution, Effect, LevelEffect, Observation, attribute
from archspec.results.layers import AXES, stage_axes
from archspec.schema.load import network_from
from archspec.schema.source import read_text

OF_AXES = frozenset({"connectivity", "sharing", "weights", "pattern"})
"""Axes of genes that the layers themselves tell; genes of other axes (width, depth) are factors as they are."""

Row = tuple[str, str, Mapping[str, object], float]
"""Digest, spec (YAML), genes, accuracy."""


def of_table(path: str, seed: int) -> Attribution:
    """The attribution of a table's points. Raises StoreError, StudyError."""
    from archspec.search.table import read_table

    table = read_table(path)
    rows = [(e.digest, e.spec, e.genes, e.accuracy) for e in table.entries if e.accuracy is not None]
    return _attributed(rows, table.facts.axes, seed)


def of_study(name: str, changes: tuple[str, ...], seed: int) -> Attribution:
    """The attribution of a study's completed trials. Raises SpecError, StoreError, StudyError."""
    from archspec.search.runner import open_store
    from archspec.search.study import load_study

    study = load_study(name, changes)
    with open_store(study) as store:
        axes = store.get_study(study.name).axes
        records = store.evaluations(study.name)
    found = {record.uuid: record for record in records if record.state == "complete" and record.trial is not None}
    rows = [(r.digest, r.spec, r.params, r.values["accuracy"]) for r in found.values() if "accuracy" in r.values]
    return _attributed(rows, axes, seed)


def _attributed(rows: Iterable[Row], axes: Mapping[str, str], seed: int) -> Attribution:
    points: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        points[row[0]].append(row)
    observations: list[Observation] = []
    pairs: dict[tuple[str, str], None] = {}
    for of_point in points.values():
        factors = _factors(of_point[0], axes)
        pairs |= dict.fromkeys(_pairs(factors))
        observations.append(Observation(factors, tuple(row[3] for row in of_point)))
    if not observations:
        raise StudyError("nothing to attribute: no evaluation came to its end")
    return attribute(observations, tuple(pairs), seed)


def _factors(row: Row, axes: Mapping[str, str]) -> dict[str, str]:
    """The axes of each stage, and the genes that are none of them."""
    _, spec, genes, _ = row
    stages = stage_axes(resolve(network_from(read_text(spec, "spec"))))
    factors = {f"{stage}: {axis}": stages[stage][axis] for axis in AXES for stage in stages}
    return factors | {gene: str(value) for gene, value in genes.items() if axes.get(gene) not in OF_AXES}


def _pairs(factors: Mapping[str, str]) -> list[tuple[str, str]]:
    """Two axes of one stage, and one axis of two stages."""
    parted = [(name, *name.split(": ")) for name in factors if name.startswith("stage ")]
    return [
        (one[0], other[0])
        for one, other in itertools.combinations(parted, 2)
        if (one[1] == other[1]) != (one[2] == other[2])
    ]


def print_attribution(found: Attribution, table: Callable[..., None], line: Callable[[str], None]) -> None:
    """For a person."""
    noise = "unknown (no network has two)" if found.noise is None else f"{100 * found.noise:.2f}"
    line(
        f"{found.points} networks, {found.evaluations} evaluations; accuracy deviates by {100 * found.deviation:.2f} % "
        f"between networks, by {noise} % between seeds; the factors alone explain {100 * found.explained:.0f} % of it"
    )
    shares = [_share_row(effect) for effect in _ordered(found.factors)]
    heads = ("factor", "share of variance", "95 % interval", "levels", "accuracy beyond average in %, 95 % interval")
    table(heads, shares)
    line("")
    table(("what two do together", "share of variance", "95 % interval", ""), map(_pair_row, _ordered(found.pairs)))
    for name, other in found.follows.items():
        line(f"{name}: decided by {other} on these points, so its effect is part of that one's")


def _ordered(effects: Iterable[Effect]) -> list[Effect]:
    return sorted(effects, key=lambda effect: (effect.share is None, -(effect.share or 0.0)))


def _percent(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f} %"


def _share_row(effect: Effect) -> tuple[str, ...]:
    share = "-" if effect.share is None else f"{100 * effect.share:.1f} %"
    if effect.reason:
        return effect.name, share, "-", str(len(effect.levels)), effect.reason
    levels = "; ".join(map(_level, effect.levels))
    return effect.name, share, _percent(effect.low, effect.high), str(len(effect.levels)), levels


def _level(level: LevelEffect) -> str:
    effect, low, high = (100 * (value or 0.0) for value in (level.effect, level.low, level.high))
    return f"{level.name} {effect:+.1f} ({low:+.1f} to {high:+.1f}, n {level.count})"


def _pair_row(effect: Effect) -> tuple[str, ...]:
    share = "-" if effect.share is None else f"{100 * effect.share:.1f} %"
    return effect.name, share, _percent(effect.low, effect.high), effect.reason
