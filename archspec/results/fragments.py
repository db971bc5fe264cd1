"""Values go in, fragments of HTML tables come out, every text escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from archspec.results.importance import Share
from archspec.results.plots.style import label, quantity
from archspec.results.records import EvaluationRecord, StudyRecord

_COSTS = ("params", "macs")


def duration(seconds: float) -> str:
    """`41 s`, `12 min 5 s` or `3 h 20 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of plain values; whole columns of numbers are set right."""
    body = [tuple(row) for row in rows]
    numeric = [bool(body) and all(isinstance(row[place], int | float) for row in body) for place in range(len(head))]
    kinds = ["number" if numeric[place] else "wrap" for place in range(len(head))]
    top = "".join(f'<th class="{kind}">{escape(name)}</th>' for name, kind in zip(head, kinds, strict=True))
    lines = "".join(f"<tr>{_cells(row, kinds)}</tr>" for row in body)
    return f'<div class="wide"><table><tr>{top}</tr>{lines}</table></div>'


def _cells(row: Sequence[object], kinds: Sequence[str]) -> str:
    return "".join(
        f'<td class="{kind}">{escape("" if cell is None else str(cell))}</td>'
        for cell, kind in zip(row, kinds, strict=True)
    )


def evaluation_table(
    study: StudyRecord, records: Sequence[EvaluationRecord], new_seeds: Mapping[str, str] | None = None
) -> str:
    """Two rows an evaluation: objectives, costs and time; below, its genes, digest and YAML to unfold.

    `new_seeds` says by name what further seeds of a network gave; the others have one.
    """
    names = list(dict.fromkeys([*(objective.name for objective in study.objectives), *_COSTS]))
    numbers = [*(label(name) for name in names), "time", "seed", "further seeds"]
    top = "<th></th>" + "".join(f'<th class="number">{escape(number)}</th>' for number in numbers)
    lines = "".join(_row(record, names, new_seeds or {}) + _spec(record, 1 + len(numbers)) for record in records)
    return f'<div class="wide"><table class="specs"><tr>{top}</tr>{lines}</table></div>'


def _row(record: EvaluationRecord, names: Sequence[str], new_seeds: Mapping[str, str]) -> str:
    numbers = [quantity(name, record.measure(name)) for name in names]
    numbers += ["–" if record.seconds is None else duration(record.seconds), str(record.seed)]
    numbers.append(new_seeds.get(record.name, "none: n 1, no interval"))
    cells = "".join(f'<td class="number">{escape(number)}</td>' for number in numbers)
    name = f"<b>{escape(record.name)}</b>"
    if record.state != "complete":
        name += f' <span class="soft">{escape(record.cause or record.state)}</span>'
    if record.cached_from is not None:
        name += f' <span class="soft">from {escape(record.cached_from)}</span>'
    return f"<tr><td>{name}</td>{cells}</tr>"


def _spec(record: EvaluationRecord, columns: int) -> str:
    genes = ", ".join(f"{gene}: {value}" for gene, value in record.params.items())
    digest = f'<p class="soft">digest <code>{escape(record.digest)}</code></p>'
    inside = f'<p class="soft">{escape(genes)}</p>{digest}<pre>{escape(record.spec)}</pre>'
    return f'<tr><td colspan="{columns}"><details><summary>spec</summary>{inside}</details></td></tr>'


def gene_table(shares: Sequence[Share], measure: str) -> str:
    """One row a gene: its share, interval and chance, and the mean of each of its values, best first."""

    def percent(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.1f} %"

    rows = []
    for share in shares:
        levels = "; ".join(f"{level.name}: {quantity(measure, level.mean)} ({level.count})" for level in share.levels)
        interval = "–" if share.low is None else f"{percent(share.low)} to {percent(share.high)}"
        rows.append((share.name, share.axis, percent(share.share), interval, percent(share.chance), levels))
    return table(("gene", "axis", "share", "95 % interval", "chance", "mean by value (trials)"), rows)


def definition_list(values: Mapping[str, object]) -> str:
    """Names and values, one a row; mappings inside are spelt out as `name: value`."""
    return table(("", ""), [(name, _plain(value)) for name, value in values.items() if value not in (None, "", {}, [])])


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_plain(inner) for inner in value)
    return str(value)
