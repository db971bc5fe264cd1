"""The draw command: one network or two go in; a page of pictures is written, and PNG files on request."""

from pathlib import Path
from typing import Annotated

import typer

from archspec.cli.output import print_json, say
from archspec.cli.resizing import pair_of
from archspec.cli.specs import Json, Seed


def draw(
    specs: Annotated[
        list[str],
        typer.Argument(metavar="NAME_OR_FILE [NAME_OR_FILE]", help="A network; or two, to see them compared."),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The page to write: NAME.html if left out.")
    ] = None,
    connection: Annotated[
        list[str] | None, typer.Option(help="Path of a connection to draw, as `archspec show --stage ir` prints it.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Input size to draw at: 56 or 56x112. Left out: small enough to be legible.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="Draw the values that this image gives.", exists=True)] = None,
    weights: Annotated[
        Path | None, typer.Option(help="The network's weights (safetensors); left out: initial ones.", exists=True)
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="Also write each figure as PNG (kaleido and a Chrome).")] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Draw a network: connection matrices, footprints, growth of the receptive field. Or compare two.

    Example: archspec draw swin_tiny --png; archspec draw swin_tiny dw_conv_tiny
    """
    from archspec.draw.page import write_page, write_pictures
    from archspec.draw.pictures import Wanted, comparison_page, network_page
    from archspec.schema.load import load

    if len(specs) > 2:
        raise typer.BadParameter(f"one network, or two to compare; found {len(specs)}: {', '.join(specs)}")
    networks = [load(spec) for spec in specs]
    sides = None if size is None else pair_of(size, "--size")
    wanted = Wanted(tuple(connection or ()), sides, image, weights, seed)
    if len(networks) == 2:
        if connection or size or image or weights:
            raise typer.BadParameter("--connection, --size, --image and --weights are for a single network")
        page = comparison_page(*networks)
    else:
        page = network_page(networks[0], wanted)
    path = output or Path("-".join(dict.fromkeys(network.name for network in networks)) + ".html")
    written = [write_page(page, path), *(write_pictures(page, path) if png else [])]
    if as_json:
        print_json({"files": [str(file) for file in written], "figures": [s.name for s in page.sections]})
    else:
        say("wrote " + ", ".join(map(str, written)))
