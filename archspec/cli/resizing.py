"""The resize command: a network, its weights and another input size go in; both at that size are written."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archspec.cli.output import print_json, say
from archspec.cli.specs import Json, Spec

if TYPE_CHECKING:
    from archspec.schema.network import Network

EXAMPLES = ("384", "480x640")


def resize(
    spec: Spec,
    size: Annotated[str, typer.Option(help="Height and width of the images: 384 or 480x640.")],
    window: Annotated[
        str | None, typer.Option(help="Size of the largest windows and depth-wise kernels: 12 or 12x16.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights of the network (safetensors) to resize with it.", exists=True)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the network here, and weights beside it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Convert a network, and its weights, to another input size (Table 5 of arXiv 2106.04263).

    Example: archspec resize swin_tiny --size 384 --window 12 -o swin_tiny_384.yaml
    """
    from archspec.resizing.networks import resized
    from archspec.schema.load import load, network_yaml

    if weights is not None and output is None:
        raise typer.BadParameter("weights are written beside the network: say where with -o")
    if output is not None and output.suffix == ".safetensors":
        raise typer.BadParameter("-o names the network, a YAML file; its weights are written beside it")
    if output is not None and weights is not None and output.with_suffix(".safetensors").resolve() == weights.resolve():
        raise typer.BadParameter(f"{weights} would be written over: name the network another way with -o")
    network = load(spec)
    sides = None if window is None else pair_of(window, "--window")
    made = resized(network, pair_of(size, "--size"), sides, name=output.stem if output else None)
    text = network_yaml(made)
    if output is None:
        print_json(made.model_dump(mode="json", exclude_unset=True)) if as_json else print(text, end="")
        return
    written = {"network": str(output)}
    output.parent.mkdir(parents=True, exist_ok=True)
    if weights is not None:
        beside = output.with_suffix(".safetensors")
        _write_weights(spec, weights, made, beside)
        written["weights"] = str(beside)
    output.write_text(text)
    print_json(written) if as_json else say("wrote " + " and ".join(written.values()))


def _write_weights(spec: str, weights: Path, made: "Network", output: Path) -> None:
    from archspec.api import compile as compile_spec
    from archspec.api import program_of
    from archspec.artifacts import load_weights, save_weights
    from archspec.resizing.weights import resized_weights

    old, new = program_of(spec), program_of(made)
    module = compile_spec(old)
    load_weights(module, weights, old.digest)
    target = compile_spec(new)
    target.load_state_dict(resized_weights(module.state_dict(), old, new))
    save_weights(target, output, {"name": new.name, "digest": new.digest, "resized_from": old.digest})


def pair_of(text: str, option: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) not in (1, 2) or not all(side.isascii() and side.isdigit() and int(side) for side in sides):
        raise typer.BadParameter(f"{option} takes a number or HEIGHTxWIDTH ({' or '.join(EXAMPLES)}), found {text!r}")
    return int(sides[0]), int(sides[-1])
