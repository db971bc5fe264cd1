"""The command that takes a network out of archspec: export."""

from pathlib import Path
from typing import Annotated

import typer

from archspec.cli.output import print_json, say
from archspec.cli.specs import Json, Seed, Spec
from archspec.export.kinds import Format


def export(
    spec: Spec,
    to: Annotated[Format, typer.Option("--format", help="python: one readable file of plain PyTorch.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Left out: the network's name.")] = None,
    weights: Annotated[Path | None, typer.Option(help="A safetensors file; left out: drawn from the seed.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a network as a file that needs no archspec, with its checkpoint beside it.

    What was written is read again and run on random images; if its outputs are not the compiled network's, nothing
    appears.

    Example: archspec export swin_nano --format python
    """
    from archspec.export.formats import export as export_network
    from archspec.schema.load import load

    network = load(spec)
    say(f"exporting {network.name} as {to}")
    done = export_network(network, to, output, weights, seed)
    if as_json:
        print_json(vars(done))
        return
    opset = f", opset {done.opset}" if done.opset else ""
    drawn = f"weights drawn from seed {done.seed}" if done.seed is not None else f"weights of {weights}"
    print(f"wrote {done.file} ({done.format}{opset}) and {done.checkpoint}: digest {done.digest[:16]}, {drawn}")
    print(f"outputs differ from the compiled network's by {done.difference:.1e} of the largest (at most 1e-4)")
