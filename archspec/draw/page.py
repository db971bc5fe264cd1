"""Figures with titles go in, one HTML file that opens offline comes out, and PNG files where they are asked for.

plotly.js is inlined, nothing is loaded from anywhere, and every text that came from a user is escaped.
"""

import os
import string
from dataclasses import dataclass
from html import escape
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from archspec.errors import DrawingError

if TYPE_CHECKING:
    import plotly.graph_objects as go

WIDTH, SCALE = 1100, 2
"""Of PNG files: pixels of the layout, and how many of the file make one of them."""


@dataclass(frozen=True)
class Section:
    """One figure of a page; `name` is unique on it: its link, and part of the name of its PNG."""

    name: str
    title: str
    text: str
    figure: "go.Figure"


@dataclass(frozen=True)
class Page:
    """What one HTML file shows."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]


def write_page(page: Page, path: Path) -> Path:
    """Write the page and return its path; a reader never sees half of it."""
    from plotly.offline import get_plotlyjs

    folder = files("archspec.draw")
    template = string.Template((folder / "page.html").read_text(encoding="utf-8"))
    text = template.substitute(
        title=escape(page.title),
        subtitle=escape(page.subtitle),
        links=" ".join(f'<a href="#{s.name}">{escape(s.name.replace("-", " "))}</a>' for s in page.sections),
        sections="\n".join(map(_section, page.sections)),
        script=(folder / "page.js").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    return path


def write_pictures(page: Page, path: Path) -> list[Path]:
    """Write each figure of a page as a PNG file beside `path`.

    Raises DrawingError where kaleido or a Chrome is missing: the page needs neither.
    """
    from plotly.io import write_images

    written = [path.with_name(f"{path.stem}-{section.name}.png") for section in page.sections]
    figures = [section.figure for section in page.sections]
    heights = [figure.layout.height for figure in figures]
    try:
        # First, for plotly's own words for a missing kaleido are a ValueError of many lines.
        import_module("kaleido")
        write_images(figures, written, width=WIDTH, height=heights, scale=SCALE)
    except ImportError:
        raise DrawingError("PNG files need kaleido: pip install 'archspec-nas[draw]'") from None
    except RuntimeError as error:
        raise DrawingError(f"PNG files need a Chrome or Chromium (apt-get install chromium): {error}") from None
    return written


def _section(section: Section) -> str:
    """Plotly escapes the figure's JSON for use inside a script."""
    figure = section.figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f"{section.name}-figure",
        config={"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["lasso2d", "select2d"]},
        default_height=f"{section.figure.layout.height}px",
        auto_play=False,
        post_script="bind(document.getElementById('{plot_id}'));",
    )
    head = f"<h2>{escape(section.title)}</h2>\n<p>{escape(section.text)}</p>"
    return f'<section id="{section.name}">\n{head}\n<figure>{figure}</figure>\n</section>'
