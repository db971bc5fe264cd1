"""The command probe: measure what a module is."""

from enum import StrEnum
from typing import Annotated

import typer

from archspec.cli.output import print_json, print_table, say
from archspec.cli.resizing import pair_of
from archspec.cli.specs import Json, Seed

Shape = Annotated[
    str | None, typer.Option(help="Of the input: 16,8,8 is (C, H, W). Of a network: of the image; left out, its own.")
]


class LayoutName(StrEnum):
    """How a map lies in memory."""

    nchw = "nchw"
    nhwc = "nhwc"
    nlc = "nlc"


class RedrawName(StrEnum):
    """Which parameters are drawn anew in the copy that is measured."""

    zeros = "zeros"
    all = "all"
    none = "none"


def probe(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A named network, a YAML file, timm:NAME, timm:NAME.module.path, python:module:callable or "
            "file.py:callable.",
        ),
    ],
    block: Annotated[str, typer.Option(help="A module inside it, such as stages.2.blocks.0.")] = "",
    shape: Shape = None,
    layout: Annotated[LayoutName | None, typer.Option(help="Left out: read off the shape.")] = None,
    grid: Annotated[
        str | None, typer.Option(help="Of a sequence, the map that it is: 7x7, or 1x49. Left out: the largest square.")
    ] = None,
    redraw: Annotated[
        RedrawName, typer.Option(help="Parameters drawn anew: those that are zero and would hide a branch; all; none.")
    ] = RedrawName.zeros,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure what a module is: what it reads, which weights are equal, what they change with, how it moves.

    Nothing is read off names: the Jacobian is measured in float64 on a copy.

    Example: archspec probe swin_tiny --block stages.2.blocks.0

    Example: archspec probe timm:convnext_tiny.stages.0.blocks.0.conv_dw
    """
    from archspec.probe.networks import report_of
    from archspec.probe.targets import shape_from, target_of
    from archspec.probe.wording import SUMMARY_COLUMNS, as_data, rows_of, summary_row

    report = report_of(
        target_of(target, block, seed),
        shape_from(shape) if shape else None,
        layout.value if layout else None,
        redraw.value,
        seed,
        lambda path, number, count: say(f"{number} of {count}: {path}") if count > 1 else None,
        pair_of(grid, "--grid") if grid else None,
    )
    if as_json:
        print_json(as_data(report))
        return
    if report.whole is not None:
        name = " ".join(word for word in (report.target, report.whole.path) if word)
        print_table(("measured", "found"), rows_of(report.whole), title=f"{name} ({report.whole.kind})")
    if report.layers:
        print_table(SUMMARY_COLUMNS, [summary_row(each) for each in report.layers], title=f"layers of {report.target}")
    for line in report.skipped:
        say(f"not measured: {line}")
