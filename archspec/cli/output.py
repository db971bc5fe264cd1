"""Rows and numbers go in; tables for people or JSON for programs go to standard output."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    json.dump(data, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """A table; columns whose cells are numbers are set to the right."""
    from rich.console import Console
    from rich.table import Table

    rows = [list(row) for row in rows]
    table = Table(title=title, box=None, header_style="bold", pad_edge=False, title_justify="left")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


def cell(value: object) -> str:
    """A value as a table shows it: thousands separated, four significant digits."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl-C inside ends the command with a sentence: what was done is kept."""
    try:
        yield
    except KeyboardInterrupt:
        say("\narchspec: stopped; the same command goes on where it was")
        raise typer.Exit(130) from None


def say(text: str) -> None:
    """A line for people, on standard error, so that standard output stays data."""
    print(text, file=sys.stderr)
