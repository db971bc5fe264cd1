"""A form goes in; its row in Table 1 of the paper comes out, or the nearest one and what differs.

Source: arXiv 2106.04263, Table 1 and Appendix A. A low rank comes from where a layer stands, and one row has it,
so it is told apart: `Conv., of low rank over channels` is the middle of a bottleneck.
"""

from dataclasses import dataclass

from archspec.relations.form import Form, FormEdit, form_edits
from archspec.relations.reading import CHANNELS, NO_RANK, SPACE, without_rank

ROWS: dict[str, Form] = {
    "MLP": Form("full", "full", NO_RANK, "static", "places"),
    "Low-rank MLP": Form("full", "full", SPACE | CHANNELS, "static", "places"),
    "Conv.": Form("local", "full", NO_RANK, "static", "offsets"),
    "1x1 Conv.": Form("point", "full", NO_RANK, "static", "offsets"),
    "Channel-separable MLP": Form("full", "separate", NO_RANK, "static", "places"),
    "Attention": Form("full", "separate", NO_RANK, "inhomogeneous", "content"),
    "Local attention": Form("local", "separate", NO_RANK, "inhomogeneous", "content"),
    "Depth-wise conv.": Form("local", "separate", NO_RANK, "static", "offsets"),
    "Dynamic depth-wise conv.": Form("local", "separate", NO_RANK, "homogeneous", "offsets"),
    "Inhomogeneous dynamic conv.": Form("local", "separate", NO_RANK, "inhomogeneous", "offsets"),
}


@dataclass(frozen=True)
class Row:
    """The row nearest to a form, and the axes to change in it to get the form; none: it is the row."""

    name: str
    edits: tuple[FormEdit, ...]

    def __str__(self) -> str:
        rank = [edit.after for edit in self.edits if edit.axis == "low_rank"]
        if len(rank) == len(self.edits):
            return f"{self.name}, of low rank over {rank[0]}" if rank else self.name
        return f"nearest {self.name}, with {'; '.join(map(str, self.edits))}"


def row_of(form: Form) -> Row:
    """The nearest row of Table 1, the form's low rank apart."""
    for name, row in ROWS.items():
        if row == form:
            return Row(name, ())
    alone = without_rank(form)
    ways = {name: form_edits(row, alone) for name, row in ROWS.items() if not row.low_rank}
    nearest = min(ways, key=lambda name: len(ways[name]))
    return Row(nearest, (*ways[nearest], *form_edits(alone, form)))
