"""Commands about this machine: bench, doctor."""

from typing import Annotated

import typer

from archspec.cli.output import print_json, print_table
from archspec.cli.specs import Json


def bench(
    names: Annotated[list[str], typer.Argument(metavar="NAME_OR_FILE...", help="Networks; the first is the measure.")],
    batch: Annotated[int, typer.Option(help="Images at once.", min=1)] = 4,
    rounds: Annotated[int, typer.Option(help="Times that every network is run, in turns.", min=1)] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Json = False,
) -> None:
    """Measure forward and forward+backward speed of networks beside each other, in turns, in one run.

    Example: archspec bench swin_tiny dw_conv_tiny --rounds 5
    """
    from archspec.throughput import measure

    rows = measure(names, batch=batch, rounds=rounds, device=device)
    if as_json:
        print_json([vars(row) for row in rows])
        return
    columns = ("name", "forward", "training", "forward_ratio", "training_ratio")
    headings = ("name", "forward img/s", "forward+backward img/s", "ratio", "ratio")
    print_table(headings, [[getattr(row, column) for column in columns] for row in rows])
    print(f"ratios are to {rows[0].name}, medians over rounds; trust ratios, not single times")


def doctor(as_json: Json = False) -> None:
    """Say what this environment can do: versions, devices, data, storage, and whether names clash.

    Example: archspec doctor
    """
    from archspec.cli.diagnosis import diagnose

    rows = diagnose()
    if as_json:
        print_json([vars(row) for row in rows])
    else:
        print_table(("what", "state", "found"), [[row.what, row.state, row.found] for row in rows])
    if any(row.state == "broken" for row in rows):
        raise typer.Exit(1)
