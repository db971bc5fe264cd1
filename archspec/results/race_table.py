"""A race goes in; a section of the report, or plain data, comes out: every number with its n and interval."""

from collections.abc import Mapping
from html import escape
from typing import Any

from archspec.results.fragments import table
from archspec.results.plots.style import label, quantity
from archspec.results.race import Comparison, Contender, Race
from archspec.results.samples import Sample

_VERDICTS = {
    "running": "Some pairs are not told apart yet; further seeds are being trained.",
    "decided": "Every pair is told apart: their order is significant.",
    "undecided": "The budget of seeds ended before every pair was told apart: those are ties.",
}


def race_facts(race: Race) -> dict[str, Any]:
    """The race as plain data."""
    return {
        "state": race.state,
        "racing": race.racing.model_dump(mode="json"),
        "evaluations": race.evaluations,
        "contenders": [_contender(each) for each in race.contenders],
        "comparisons": [vars(each) for each in race.comparisons],
    }


def race_section(race: Race | None) -> str:
    """The race as HTML; empty without one."""
    if race is None:
        return ""
    measures = tuple(race.contenders[0].samples)
    told = f"{_VERDICTS[race.state]} {race.evaluations} trainings with new seeds; paired t tests, Holm over all pairs, "
    told += f"level {race.racing.level:g} over all {race.racing.looks} looks. The training that chose a trial is lucky "
    told += "as well as good and is not counted."
    head = ["contender"]
    for measure in measures:
        head += [f"{label(measure)} that chose it", f"{label(measure)} of new seeds, 95 % interval, n"]
    rows = [
        [each.record.name, *(text for name in measures for text in _told(each, name))]
        for each in _by_mean(race.contenders, measures[0])
    ]
    pairs = ("pair", "measure", "difference, 95 % interval, n", "p", "verdict")
    shown = "<h3>Told apart by new seeds</h3>" + f"<p>{escape(told)}</p>" + table(head, rows)
    return shown + table(pairs, [_pair_row(each) for each in race.comparisons])


def new_seeds(race: Race | None) -> dict[str, str]:
    """What further seeds gave, by trial, in the first measure."""
    if race is None:
        return {}
    measure = next(iter(race.contenders[0].samples))
    return {each.record.name: sample_text(measure, each.samples[measure]) for each in race.contenders}


def sample_text(measure: str, sample: Sample) -> str:
    """`81.2 % (79.9 % to 82.5 %), n 5`."""
    if sample.mean is None:
        return "n 0"
    found = quantity(measure, sample.mean)
    if sample.interval is None:
        return f"{found}, n {sample.n}, no interval"
    low, high = (quantity(measure, bound) for bound in sample.interval)
    return f"{found} ({low} to {high}), n {sample.n}"


def _by_mean(contenders: tuple[Contender, ...], measure: str) -> list[Contender]:
    sign = 1.0 if measure == "val_loss" else -1.0
    means = ((each.samples[measure].mean, number, each) for number, each in enumerate(contenders))
    return [each for *_, each in sorted((m is None, sign * (m or 0.0), n, each) for m, n, each in means)]


def _told(each: Contender, measure: str) -> tuple[str, str]:
    chosen_by = f"{quantity(measure, each.chosen_by.get(measure))}, n 1"
    return chosen_by, sample_text(measure, each.samples[measure])


def _pair_row(each: Comparison) -> tuple[str, ...]:
    verdict = "a tie so far"
    if each.decided and each.difference is not None:
        larger = each.first if each.difference > 0 else each.second
        verdict = f"{larger} is larger"
    sample = "-"
    if each.difference is not None:
        bounds = each.interval
        between = "no interval" if bounds is None else f"{bounds[0]:+.4f} to {bounds[1]:+.4f}"
        sample = f"{each.difference:+.4f} ({between}), n {each.n}"
    return f"{each.first} - {each.second}", label(each.measure), sample, f"{each.p:.2g}", verdict


def _contender(each: Contender) -> dict[str, Any]:
    samples: Mapping[str, Any] = {name: _sample(sample) for name, sample in each.samples.items()}
    named = {"name": each.record.name, "digest": each.record.digest, "chosen_by": dict(each.chosen_by)}
    return named | {"seeds": list(each.seeds), "samples": samples}


def _sample(sample: Sample) -> dict[str, Any]:
    values = {str(seed): value for seed, value in sample.values.items()}
    return {"n": sample.n, "mean": sample.mean, "interval": sample.interval, "values": values}
