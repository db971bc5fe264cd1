"""Commands that train: train, search, report, promote."""

from pathlib import Path
from typing import Annotated, Any

import typer

from archspec.cli.output import print_json, resumable, say
from archspec.cli.specs import Json, Seed, Spec

StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="A name in studies/ or the path of a study.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="Replace a value of the file, as in budget.trials=3."),
]


def search(
    study: StudyArgument,
    workers: Annotated[int | None, typer.Option(help="Processes; left out: as the study says.", min=1, max=256)] = None,
    changes: Set = None,
    as_json: Json = False,
) -> None:
    """Run a study, or resume it: the same command goes on until the budget is spent, then writes the report.

    The same command in another terminal helps: trials are shared, and none is run twice.

    Example: archspec search studies/quickstart.yaml --workers 4 --set budget.trials=20
    """
    from archspec.search.files import check_named
    from archspec.search.study import load_study

    loaded = load_study(study, tuple(changes or ()))
    check_named(loaded)  # before a sampler, a database and torch are imported, which takes seconds

    from archspec.cli.findings import data, headline, render
    from archspec.cli.progress import SearchProgress
    from archspec.search.runner import finished
    from archspec.search.runner import search as run
    from archspec.search.suggest import SpaceExhausted

    with resumable(), SearchProgress(loaded, finished(loaded)) as progress:
        try:
            run(loaded, progress, workers=workers, say=progress.say)
        except SpaceExhausted as error:
            if not finished(loaded):
                raise
            progress.say(f"{error}: the study is over before its budget of {loaded.budget.trials} trials is spent")
    page = render(loaded)
    if as_json:
        print_json(data(loaded))
        return
    print(headline(loaded))
    print(f"report: {page}")


def report(
    study: StudyArgument,
    changes: Set = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The HTML file to write.")] = None,
    as_json: Json = False,
) -> None:
    """Write what a study found as one HTML file that opens offline.

    Example: archspec report studies/quickstart.yaml -o quickstart.html
    """
    from archspec.cli.findings import data, render
    from archspec.search.study import load_study

    loaded = load_study(study, tuple(changes or ()))
    if as_json:
        print_json(data(loaded))
        return
    print(f"report: {render(loaded, output)}")


def promote(
    study: StudyArgument,
    trial: Annotated[int, typer.Argument(help="Number of the trial.", min=0)],
    epochs: Annotated[int | None, typer.Option(help="Epochs of the longer training; left out: 3 times.", min=1)] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the results.")] = None,
    changes: Set = None,
    as_json: Json = False,
) -> None:
    """Write the spec of a trial as YAML and train it longer, with the study's data and recipe.

    Example: archspec promote studies/quickstart.yaml 7 --epochs 30
    """
    from archspec.search.longer import promoted, train_longer
    from archspec.search.study import load_study

    loaded = load_study(study, tuple(changes or ()))
    network, recipe, folder = promoted(loaded, trial, epochs, output)
    with resumable():
        found = train_longer(network, loaded.data, recipe, loaded.seed, folder, loaded.device, say)
    _print_training(found, as_json)


def train(
    spec: Spec,
    data: Annotated[str, typer.Option(help="fractal, relation, imagenette, or a folder or tar of images.")] = "fractal",
    epochs: Annotated[int | None, typer.Option(help="Epochs; left out: the recipe's default.", min=1)] = None,
    size: Annotated[int | None, typer.Option(help="Pixels; left out: the network's own.", min=8)] = None,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the results.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A value of the recipe or data, as in recipe.lr=1e-3."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a network; run again to resume. Its classes and input size follow the data.

    Example: archspec train dw_conv_nano --data fractal --epochs 3
    """
    from archspec.schema.load import load
    from archspec.search.longer import train_longer, training_of

    network = load(spec)
    config, recipe = training_of(network, data, epochs, size, seed, tuple(changes or ()))
    folder = output or Path("results") / "train" / network.name
    with resumable():
        found = train_longer(network, config, recipe, seed, folder, device, say)
    _print_training(found, as_json)


def _print_training(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print(f"{found['name']}: accuracy {100 * found['accuracy']:.1f} % after {found['epochs']} epochs")
    print(f"spec: {found['spec']}\nweights: {found['weights']}")
