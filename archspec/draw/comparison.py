"""Two networks go in, both come out side by side: step beside step as relations aligns them, differences marked."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from archspec.ir import Program
from archspec.relations.align import align, aligned_blocks, aligned_stages, chain_pairs, changed_axes, in_words
from archspec.relations.data import Difference
from archspec.relations.difference import difference, step_name
from archspec.relations.signature import Group, Pattern, Stage, Step, signature

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Row:
    """One step of either network, or one of each that stand for one another; None where one has nothing there.

    `changed`: the axes in which they differ, with both values.
    """

    depth: int
    before: str | None
    after: str | None
    changed: tuple[tuple[str, str, str], ...] = ()

    @property
    def same(self) -> bool:
        """Whether both networks have this step, and in the same form."""
        return self.before is not None and self.after is not None and not self.changed


@dataclass(frozen=True)
class Region:
    """The stem, what leads into stages, a block of stages, or the head; equal ones of several stages are one."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class ComparisonData:
    """Both networks, region by region, and what the differences cost."""

    difference: Difference
    regions: tuple[Region, ...]

    @property
    def names(self) -> tuple[str, str]:
        """Of the network on the left and the one on the right."""
        return self.difference.before, self.difference.after

    @property
    def differing(self) -> int:
        """Rows that are marked."""
        return sum(not row.same for region in self.regions for row in region.rows)


def comparison_data(before: Program, after: Program) -> ComparisonData:
    """The networks aligned as `archspec diff` aligns them."""
    return ComparisonData(difference(before, after), tuple(_merged(_regions(before, after))))


def _regions(before: Program, after: Program) -> Iterator[tuple[str, str, tuple[Row, ...]]]:
    """What, in which stages, its rows."""
    old, new = signature(before), signature(after)
    yield "Stem", "", tuple(_rows(old.stem, new.stem))
    for number, (was, becomes) in enumerate(aligned_stages(old.stages, new.stages), 1):
        entries = _rows(was.entry if was else (), becomes.entry if becomes else ())
        yield "Into", f"stage {number}", tuple(entries)
        for block, rows in enumerate(_blocks(was, becomes), 1):
            yield f"Block {block} of", f"stage {number}", rows
    yield "Head", "", tuple(_rows(old.head, new.head))


def _blocks(was: Stage | None, becomes: Stage | None) -> Iterator[tuple[Row, ...]]:
    if was is None or becomes is None:
        for pattern in (was or becomes or Stage("", (), (), (), ())).blocks:
            yield tuple(_rows(*((pattern, ()) if becomes is None else ((), pattern))))
        return
    for pair in aligned_blocks(was, becomes):
        yield tuple(_rows(*pair))


def _merged(regions: Iterator[tuple[str, str, tuple[Row, ...]]]) -> Iterator[Region]:
    """Regions without rows dropped, equal ones of several stages made one, in the order of the first."""
    found: dict[tuple[str, tuple[Row, ...]], list[str]] = {}
    for what, stage, rows in regions:
        if rows:
            found.setdefault((what, rows), []).append(stage)
    for (what, rows), stages in found.items():
        numbers = [stage.removeprefix("stage ") for stage in stages if stage]
        where = f" stage{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}" if numbers else ""
        yield Region(what + where, rows)


def _rows(before: Pattern, after: Pattern, depth: int = 0) -> Iterator[Row]:
    for old, new in align(before, after):
        if isinstance(old, Group) and isinstance(new, Group):
            changed = () if old.kind == new.kind else (("branches", old.kind, new.kind),)
            yield Row(depth, old.kind, new.kind, changed)
            for was, becomes in chain_pairs(old, new):
                yield from _rows(was or (), becomes or (), depth + 1)
        elif isinstance(old, Step) and isinstance(new, Step) and old.kind == new.kind:
            yield Row(depth, _name(old), _name(new), tuple(changed_axes(old, new)))
        else:
            yield from (replace(row, after=None) for row in _alone(old, depth))
            yield from (replace(row, before=None) for row in _alone(new, depth))


def _alone(item: Step | Group | None, depth: int) -> Iterator[Row]:
    if isinstance(item, Step):
        yield Row(depth, _name(item), _name(item))
    elif isinstance(item, Group):
        yield Row(depth, item.kind, item.kind)
        for chain in item.chains:
            for inner in chain:
                yield from _alone(inner, depth + 1)


def _name(step: Step) -> str:
    """A step in the few words that fit a box; what is left out is in the axes beside it where it differs."""
    axes = dict(step.axes)
    if step.kind == "connect":
        if step_name(step) == "linear":
            return "linear"
        mixed = "" if axes["channels"] == "separate" else f", channels {axes['channels']}"
        return f"{axes['weights']} over {in_words(axes, 'space')}{mixed}"
    if step.kind in ("norm", "pool"):
        return " ".join((axes.pop("kind", ""), step.kind, *axes.values()))
    return " ".join(axes.values()) if step.kind == "activation" else " ".join((step.kind, *axes.values()))


LINE, GAP = 26, 14
"""Pixels: a row, and what is between two regions."""


def draw_comparison(data: ComparisonData) -> "go.Figure":
    """A box a step. Grey: the same in both. Orange: changed, with the axis beside it. Blue: in one of them only."""
    import plotly.graph_objects as go

    from archspec.results.plots.style import INK, lay_out, safe

    figure = go.Figure()
    boxes: list[dict[str, object]] = []
    texts: list[dict[str, object]] = []
    top = 0.0
    for region in data.regions:
        texts.append(_text(0, top + LINE / 2, f"<b>{safe(region.title)}</b>", INK, 13))
        top += LINE
        for row in region.rows:
            _add_row(boxes, texts, row, top)
            top += LINE * max(1, len(row.changed))
        top += GAP
    lay_out(figure, int(top) + 60)
    for name, x in zip(data.names, (0.0, 0.68), strict=True):
        texts.append(_text(x, -LINE / 2, f"<b>{safe(name)}</b>", INK, 15))
    figure.update_layout(shapes=boxes, annotations=texts, showlegend=False, margin={"t": 20, "b": 20, "l": 20})
    hidden = {"visible": False, "fixedrange": True}
    figure.update_xaxes(range=[-0.005, 1.005], **hidden)
    figure.update_yaxes(range=[top, -LINE], **hidden)
    # A figure without a trace has no axes that shapes could hold on to.
    figure.add_scatter(x=[0, 1], y=[0, top], mode="markers", marker={"opacity": 0}, hoverinfo="skip")
    return figure


def _add_row(boxes: list[dict[str, object]], texts: list[dict[str, object]], row: Row, top: float) -> None:
    from archspec.results.plots.style import BLUE, GREY, INK, ORANGE, PALE, safe

    height = LINE * max(1, len(row.changed))
    indent = 0.018 * row.depth
    for words, left in ((row.before, 0.0), (row.after, 0.68)):
        if words is None:
            continue
        colour = PALE if row.same else ORANGE if row.changed else BLUE
        fill = "#F6F7F9" if row.same else "#FDF3DF" if row.changed else "#E3EFF7"
        boxes.append(
            {
                "type": "rect",
                "x0": left + indent,
                "x1": left + 0.32,
                "y0": top + 2,
                "y1": top + height - 2,
                "line": {"color": colour, "width": 1 if row.same else 1.6},
                "fillcolor": fill,
                "layer": "below",
            }
        )
        ink = GREY if row.same else INK
        texts.append(_text(left + indent + 0.006, top + height / 2, safe(_shortened(words, row.depth)), ink, 12, words))
    for number, (axis, was, becomes) in enumerate(row.changed):
        sides = " → ".join(safe(_shortened(value or "none", 0, 26)) for value in (was, becomes))
        change = f"<b>{safe(axis)}</b>: {sides}"
        texts.append(_text(0.5, top + LINE * (number + 0.5), change, INK, 11, f"{axis}: {was} → {becomes}", "center"))
    if not row.same and not row.changed:
        side = "only on the left" if row.after is None else "only on the right"
        texts.append(_text(0.5, top + LINE / 2, side, BLUE, 11, None, "center"))


def _shortened(words: str, depth: int, most: int = 50) -> str:
    most -= 3 * depth
    return words if len(words) <= most else words[: most - 1].rstrip(" ,(") + "…"


def _text(
    x: float, y: float, text: str, colour: str, size: int, hover: str | None = None, anchor: str = "left"
) -> dict[str, object]:
    font = {"size": size, "color": colour}
    place = {"x": x, "y": y, "xanchor": anchor, "yanchor": "middle", "showarrow": False}
    return {"text": text, "font": font, "hovertext": hover, **place}


MEASURES = {"params": "parameters", "macs": "multiply-adds", "activation_bytes": "activation bytes in training"}


@dataclass(frozen=True)
class CostsByStage:
    """What every aligned region of two networks costs; 0 where one has none."""

    names: tuple[str, str]
    regions: tuple[str, ...]
    costs: dict[str, tuple[tuple[int, int], ...]]  # by measure, both costs of each region

    def totals(self, measure: str) -> tuple[int, int]:
        """Of both networks."""
        before, after = zip(*self.costs[measure], strict=True)
        return sum(before), sum(after)


def costs_by_stage_data(found: Difference) -> CostsByStage:
    """The costs that a difference carries."""
    sides = [(stage.before, stage.after) for stage in found.stages]
    regions = tuple(before.name if before else after.name if after else "" for before, after in sides)
    costs = {
        measure: tuple(
            (getattr(before, measure) if before else 0, getattr(after, measure) if after else 0)
            for before, after in sides
        )
        for measure in MEASURES
    }
    return CostsByStage((found.before, found.after), regions, costs)


def draw_costs_by_stage(data: CostsByStage) -> "go.Figure":
    """Bars side by side, region by region; the titles have the totals."""
    from plotly.subplots import make_subplots

    from archspec.results.plots.style import BLUE, ORANGE, lay_out, quantity, safe

    titles = []
    for measure, words in MEASURES.items():
        before, after = data.totals(measure)
        change = f" ({after / before - 1:+.1%})" if before else ""
        titles.append(f"{words}<br>{quantity(measure, before)} → {quantity(measure, after)}{change}")
    figure = make_subplots(1, len(MEASURES), subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.04)
    for column, (measure, pairs) in enumerate(data.costs.items(), 1):
        for side, (name, colour) in enumerate(zip(data.names, (BLUE, ORANGE), strict=True)):
            values = [pair[side] for pair in pairs]
            figure.add_bar(
                x=values,
                y=data.regions,
                orientation="h",
                name=safe(name),
                marker={"color": colour},
                showlegend=column == 1,
                legendgroup=str(side),
                text=[quantity(measure, value) for value in values],
                hovertemplate=f"{safe(name)}, %{{y}}: %{{x:,}}<extra></extra>",
                textfont={"size": 10},
                row=1,
                col=column,
            )
    lay_out(figure, 90 + 58 * len(data.regions))
    figure.update_layout(margin={"t": 80, "b": 60}, legend={"y": -0.16, "yanchor": "top"}, bargap=0.25)
    figure.update_annotations(font={"size": 13}, yshift=4)
    figure.update_xaxes(tickformat="~s")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure
