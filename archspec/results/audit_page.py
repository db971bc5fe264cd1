"""An audit goes in; one HTML file that opens offline comes out: figure, table, remarks and the rule of trust."""

import os
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from archspec.results.audit import RULE, Audit, Row, estimate_text
from archspec.results.fragments import table
from archspec.results.plots.trust import draw_trust, trust_data


def write_page(source: str, notes: Sequence[str], audits: Sequence[Audit], path: Path) -> Path:
    """Write the page; the file is whole or not there."""
    from plotly.offline import get_plotlyjs

    report = (files("archspec.results") / "report.html").read_text(encoding="utf-8")
    style = report.partition("<style>")[2].partition("</style>")[0]
    parts = "".join(_section(found, number) for number, found in enumerate(audits))
    said = "".join(f'<p class="notice">{escape(note)}</p>' for note in notes)
    title = escape(f"Which proxies to trust: {source}")
    text = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
        f"<script>{get_plotlyjs()}</script></head><body><main><h1>{title}</h1><p>{escape(RULE)}</p>{said}{parts}"
        "</main></body></html>"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    return path


def _section(found: Audit, number: int) -> str:
    columns = ("proxy", "what it is", "n", "Kendall tau", "Spearman rho", "tau of the top quarter")
    columns = (*columns, f"regret of its {found.k}", "tau beyond the baselines", "verdict")  # type: ignore[assignment]
    title = escape(f"Against {found.truth}")
    counted = f"{found.networks} networks; 95 % intervals of a bootstrap over them, seed {found.seed}."
    figure = draw_trust(trust_data(found)).to_html(
        full_html=False, include_plotlyjs=False, div_id=f"trust-{number}", config={"displaylogo": False}
    )
    rows = table(columns, map(_cells, found.rows))
    return f"<section><h2>{title}</h2><p>{counted}</p><figure>{figure}</figure>{rows}{_remarks(found.rows)}</section>"


def _cells(row: Row) -> tuple[object, ...]:
    numbers = map(estimate_text, (row.tau, row.rho, row.top, row.regret, row.ahead))
    what = " - ".join(filter(None, (row.asked.formula, row.asked.source)))
    return (row.asked.name, what, row.n, *numbers, row.verdict)


def _remarks(rows: Sequence[Row]) -> str:
    said = [(row.asked.name, count, remark) for row in rows for remark, count in row.asked.remarks.items()]
    return "<h3>Where they mean nothing, or little</h3>" + table(("proxy", "networks", "why"), said) if said else ""
