"""A study and its evaluations go in, one HTML file that opens offline comes out (or the same facts as JSON).

The page is `report.html`; here are the parts that fill it. plotly.js is inlined once, nothing is loaded from
anywhere, and every text that came from a user is escaped.
"""

import os
import shlex
import string
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archspec.results import plots
from archspec.results.fragments import definition_list, duration, evaluation_table, gene_table, table
from archspec.results.plots.style import AXIS_COLOURS, GREY, label, quantity
from archspec.results.race import Race, race
from archspec.results.race_table import new_seeds, race_section
from archspec.results.records import EvaluationRecord, Objective, StudyRecord
from archspec.results.summary import (
    SYNTHETIC_NOTICE,
    best_trials,
    failures,
    is_synthetic,
    main_objective,
    pareto_pairs,
    report_data,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["report_data", "write_report"]

_AXES_TEXT = (
    "The share of the variance of {measure} over {count} trained points that the choices of an axis explain "
    "on their own (adjusted R² of a main-effects fit; bars with 95\u00a0% jackknife intervals). The red tick "
    "is what chance alone reaches in 1 of 20 shuffles: a bar that does not pass it shows nothing. A sampler "
    "that learns visits good regions more often, so shares overlap and need not add up to 100\u00a0%."
)
_CURVES_TEXT = "The best trials in colour, named points dotted, all others grey, also those that ended early."
_NOTHING_YET = '<p class="empty">No trial has finished yet.</p>'


def write_report(
    study: StudyRecord,
    records: Sequence[EvaluationRecord],
    path: Path,
    events: Mapping[str, int] | None = None,
    best: int = 10,
    exits: Mapping[str, int] | None = None,
    policies: Mapping[str, str] | None = None,
) -> Path:
    """Write the report and return its path; the `best` specs are listed with their YAML.

    The file is written beside its place and then moved, so that a reader never sees half of one.
    """
    data = report_data(study, records, events, best, exits, policies)
    raced = race(study, records)
    records = [record for record in records if not record.is_replicate]
    parts = {
        "title": escape(study.name),
        "subtitle": _subtitle(study),
        "notice": _notice(study),
        "summary": _summary(study, records, data),
        "facts": _facts(data),
        "front": _front(study, records),
        "curves": _curves(study, records),
        "axes": _axes(study, records),
        "best": _best(study, records, best, raced),
        "race": race_section(raced),
        "trials": _trials(study, records, data),
        "provenance": _provenance(study, data["provenance"]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(_page(parts), encoding="utf-8")
    beside.replace(path)
    return path


def _page(parts: Mapping[str, str]) -> str:
    from plotly.offline import get_plotlyjs

    page = string.Template((files("archspec.results") / "report.html").read_text(encoding="utf-8"))
    return page.substitute(parts, plotly=get_plotlyjs())


# --- the parts, in the order of the page


def _subtitle(study: StudyRecord) -> str:
    wanted = ", ".join(f"{o.direction} {label(o.name)}" for o in study.objectives)
    created = "" if study.created is None else f" · begun {study.created:%Y-%m-%d %H:%M} UTC"
    data = f" · data {study.data.get('name', 'unknown')}"
    return escape(f"archspec study · {wanted}{data}{created}")


def _notice(study: StudyRecord) -> str:
    if not is_synthetic(study):
        return ""
    title = SYNTHETIC_NOTICE[0].upper() + SYNTHETIC_NOTICE[1:]
    why = "The images are generated so that connectivity matters; on real images families tie more closely."
    return f'<p class="notice"><b>{escape(title)}.</b> {escape(why)}</p>'


def _summary(study: StudyRecord, records: Sequence[EvaluationRecord], data: Mapping[str, Any]) -> str:
    trials = data["trials"]
    asked = "" if trials["asked"] is None else f" of {trials['asked']} asked for"
    text = f"{trials['total']} trials{asked}: {trials['trained']} trained to the end, {trials['cached']} "
    text += f"answered by an equal point trained before, {trials['pruned']} pruned, {trials['failed']} failed"
    text += f", {trials['running']} still running. " if trials["running"] else ". "
    text += f"Training took {duration(data['training_seconds'])}. "
    objective = main_objective(study, records)
    best = best_trials(study, records, 1)
    if not best:
        return escape(text + "No trial has finished yet.")
    value = best[0].measure(objective.name)
    text += f"Best {label(objective.name)}: {quantity(objective.name, value)} ({best[0].name}"
    params = best[0].measure("params")
    text += f", {quantity('params', params)} parameters; " if params is not None else "; "
    text += "one seed, so without an interval). "
    return escape(text + _against_named_points(records, objective, value or 0.0))


def _against_named_points(records: Sequence[EvaluationRecord], objective: Objective, value: float) -> str:
    """How the best trial compares with the named points, as the end of a sentence."""
    measured = [(r.measure(objective.name), r.name) for r in records if r.reference and r.state == "complete"]
    named = sorted((found, name) for found, name in measured if found is not None)
    if not named:
        return ""
    sign = 1 if objective.direction == "maximise" else -1
    beaten = sum(sign * value > sign * found for found, _ in named)
    top, name = named[-1] if sign > 0 else named[0]
    best = f"{name}, {quantity(objective.name, top)}"
    return f" It beats {beaten} of {len(named)} named points; the best of those is {best}."


def _facts(data: Mapping[str, Any]) -> str:
    trials, name = data["trials"], data["main_objective"]
    best = data["best"][0]["values"].get(name) if data["best"] else None
    facts = [
        (quantity(name, best), f"best {label(name)}", "main"),
        (str(trials["trained"]), "trials trained", ""),
        (str(trials["cached"]), "cached", ""),
        (str(trials["pruned"]), "pruned", ""),
        (str(trials["failed"]), "failed", ""),
        (duration(data["training_seconds"]), "training time", ""),
    ]
    return "".join(f'<div class="{kind}"><b>{escape(a)}</b><span>{escape(b)}</span></div>' for a, b, kind in facts)


def _front(study: StudyRecord, records: Sequence[EvaluationRecord]) -> str:
    found = [plots.pareto_data(records, x, y) for x, y in pareto_pairs(study, records)]
    shown = [
        f"<h3>{escape(label(data.y.name))} against {escape(label(data.x.name))}</h3>"
        + _figure(plots.draw_pareto(data), f"front-{number}")
        for number, data in enumerate(found)
        if data.points
    ]
    return "".join(shown) or _NOTHING_YET


def _curves(study: StudyRecord, records: Sequence[EvaluationRecord]) -> str:
    objective = main_objective(study, records)
    for measure in ("val_accuracy", "val_loss"):
        data = plots.curves_data(records, objective, measure)
        if data.curves:
            return f"<p>{_CURVES_TEXT}</p>" + _figure(plots.draw_curves(data), "learning-curves")
    return '<p class="empty">No epoch has been recorded yet.</p>'


def _axes(study: StudyRecord, records: Sequence[EvaluationRecord]) -> str:
    objective = main_objective(study, records)
    found = plots.importance_data(records, objective, study.axes)
    if all(share.share is None for share in found.axes):
        return f'<p class="empty">Too few trials to tell ({found.trials} with a value).</p>'
    text = _AXES_TEXT.format(measure=label(objective.name), count=found.trials)
    keys = "".join(
        f'<span class="key" style="background:{AXIS_COLOURS.get(name, GREY)}"></span>{escape(name)} &emsp;'
        for name in dict.fromkeys(share.axis for share in found.axes)
    )
    unknown = [share.name for share in found.axes if share.share is None]
    missing = f'<p class="soft">Too few trials for: {escape(", ".join(unknown))}.</p>' if unknown else ""
    by_gene = _figure(plots.draw_importance(found.genes[:16]), "importance-genes")
    by_axis = _figure(plots.draw_importance(found.axes), "importance-axes")
    rows = gene_table(found.genes, objective.name)
    shown = f'<p>{escape(text)}</p><p class="soft">{keys}</p>'
    shown += f"<h3>By axis</h3>{by_axis}{missing}<h3>By gene</h3>{by_gene}"
    return shown + f"<details><summary>every gene and the mean of each of its values</summary>{rows}</details>"


def _best(study: StudyRecord, records: Sequence[EvaluationRecord], count: int, raced: Race | None) -> str:
    best = best_trials(study, records, count)
    shown = _NOTHING_YET
    if best:
        several = len(study.objectives) > 1
        rule = "trials that no other trial beats in every objective" if several else "the best trials"
        hint = f"archspec promote {shlex.quote(study.name)} {best[0].trial}"
        text = f"Ordered by {label(main_objective(study, records).name)}: {rule}. To train one longer:"
        shown = f"<p>{escape(text)} <code>{escape(hint)}</code></p>" + evaluation_table(study, best, new_seeds(raced))
    named = [record for record in records if record.reference is not None]
    return shown + (f"<h3>Named points</h3>{evaluation_table(study, named)}" if named else "")


def _trials(study: StudyRecord, records: Sequence[EvaluationRecord], data: Mapping[str, Any]) -> str:
    history = plots.history_data(records, main_objective(study, records))
    shown = _figure(plots.draw_history(history), "history") if history.trials else _NOTHING_YET
    for cost in ("params", "macs"):
        costs = plots.costs_data(records, cost)
        if costs.trials:
            shown += f"<h3>{escape(label(cost).capitalize())} of the trials</h3>" + _figure(
                plots.draw_costs(costs), f"cost-{cost}"
            )
    shown += _matched(records)
    rows = _failures(records, data)
    if rows:
        columns = ("cause", "trials", "attempts", "retried", "policy", "last seen in", "message")
        shown += "<h3>Failures by cause</h3>" + table(columns, rows)
    if data["saved"]:
        hours = ["unknown" if each["hours"] is None else f"{each['hours']:.2f}" for each in data["saved"]]
        saved = [(each["reason"], each["trials"], text) for each, text in zip(data["saved"], hours, strict=True)]
        shown += "<h3>What was saved</h3>" + table(("reason", "trials", "hours of training, estimated"), saved)
    return shown


def _matched(records: Sequence[EvaluationRecord]) -> str:
    """How each network was scaled to the budget of the study, where it has one."""
    rows = []
    for record in records:
        done = record.environment.get("match")
        if isinstance(done, Mapping):
            before, after = (", ".join(str(pair[side]) for pair in done["numbers"]) for side in (0, 1))
            missed = f"{100 * (done['reached'] / done['target'] - 1):+.2f} %"
            rows.append((record.name, done["by"], before, after, done["before"], done["reached"], missed))
            what = f"{done['quantity']}: {done['target']:,} within {100 * done['tolerance']:g} %"
    if not rows:
        return ""
    head = ("network", "by", "written", "scaled to", "cost as written", "cost reached", "off the budget")
    title = "<h3>Scaled to one budget</h3>" + f"<p>{escape(what)}, at the size that the space writes.</p>"
    return title + f"<details><summary>{len(rows)} networks</summary>{table(head, rows)}</details>"


# Ways in which an attempt ends that are no failure of a trial, in the words of the report.
_NO_FAILURES = {"released": "stopped with its worker, and resumed", "lost": "its worker was gone, and it was resumed"}


def _failures(records: Sequence[EvaluationRecord], data: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """A row for each cause of failure: the trials that ended so, all attempts that did, and what the policy did."""
    last = {record.cause or "": record for record in failures(records)}
    attempts = data["attempts"]
    causes = [*data["failures"], *(exit_ for exit_ in attempts if exit_ not in {*data["failures"], "ok", "pruned"})]
    rows: list[tuple[object, ...]] = []
    for cause in causes:
        record, recorded = last.get(cause), data["failures"].get(cause, 0)
        said = record.message if record else _NO_FAILURES.get(cause, "retried, and then it went well")
        tried, policy = attempts.get(cause, recorded), data["policies"].get(cause, "")
        rows.append((cause, recorded, tried, tried - recorded, policy, record.name if record else "", said))
    return rows


def _provenance(study: StudyRecord, provenance: Mapping[str, Any]) -> str:
    names = ("name", "created", "archspec_version", "space_digest", "seed", "trials", "objectives", "sampler")
    rows = {name.replace("_", " "): provenance[name] for name in (*names, "data", "recipe", "environment")}
    texts = [("study file", study.study), ("search space", study.space)]
    shown = "".join(
        f"<details><summary>{name}</summary><pre>{escape(text)}</pre></details>" for name, text in texts if text
    )
    return definition_list(rows) + shown


def _figure(figure: "go.Figure", name: str) -> str:
    """The figure as a fragment; plotly escapes its JSON for use inside a script."""
    config = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}
    height = f"{figure.layout.height}px"
    text = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config, default_height=height)
    return f"<figure>{text}</figure>"
