"""Commands about tables: tabulate, attribute."""

from pathlib import Path
from typing import Annotated, Any

import typer

from archspec.cli.output import print_json, print_table, resumable, say
from archspec.cli.specs import Json, Seed

Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A value of the recipe or data, as in recipe.lr=1e-3."),
]


def tabulate(
    space: Annotated[str, typer.Argument(help="A name in search_spaces/ or the path of a search space.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The Parquet file to write.")],
    study: Annotated[str | None, typer.Option(help="A study whose data and recipe are taken.")] = None,
    data: Annotated[str, typer.Option(help="fractal, relation, imagenette, or a folder or tar of images.")] = "fractal",
    epochs: Annotated[int | None, typer.Option(help="Epochs; left out: the recipe's.", min=1)] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each point, with seeds 0, 1, ...", min=1)] = 3,
    sample: Annotated[int | None, typer.Option(help="So many points, spread; left out: all.", min=1)] = None,
    seed: Seed = 0,
    workers: Annotated[int, typer.Option(help="Processes that train, one CPU thread each.", min=1)] = 1,
    hours: Annotated[float | None, typer.Option(help="Begin no training after so many hours.", min=0)] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """Train every feasible point of a small space with several seeds, and write one table; run again, it goes on.

    Example: archspec tabulate table_nano --study studies/table_nano.yaml --seeds 3 --out table_nano.parquet
    """
    import time

    from archspec.search.space import load_space

    file = load_space(space).path
    config, recipe = protocol(space, study, data, epochs, tuple(changes or ()))

    from archspec.search.tabulate import Tabulation  # imports torch, which takes seconds
    from archspec.search.tabulate import tabulate as run

    deadline = time.time() + hours * 3600 if hours is not None else None
    asked = Tabulation(file, config, recipe, seeds, out, sample, seed, device, deadline)
    with resumable():
        path, found, wanted = run(asked, workers, say)
    if as_json:
        print_json({"table": str(path), "evaluations": found, "wanted": wanted})
        return
    left = "" if found == wanted else "; the same command goes on"
    print(f"table: {path}, {found} of {wanted} evaluations{left}")


def protocol(space: str, study: str | None, data: str, epochs: int | None, changes: tuple[str, ...]) -> Any:
    """Data and recipe: of a study, or as they are written here."""
    from archspec.schema.located import LocatedDict
    from archspec.schema.validation import validate
    from archspec.search.data.config import DataConfig
    from archspec.search.recipe import Recipe
    from archspec.search.study import load_study, with_values

    if study is not None:
        longer = () if epochs is None else (f"recipe.epochs={epochs}",)
        loaded = load_study(study, (*longer, *changes))
        return loaded.data, loaded.recipe
    named = {"name": "imagefolder", "root": data} if Path(data).exists() else {"name": data}
    words = LocatedDict({"data": LocatedDict(named), "recipe": LocatedDict()})
    if epochs is not None:
        words["recipe"]["epochs"] = epochs
    words = with_values(words, changes)
    return validate(DataConfig, words["data"]), validate(Recipe, words["recipe"])


def attribute(
    study_or_table: Annotated[str, typer.Argument(metavar="STUDY_OR_TABLE", help="A study, or a .parquet table.")],
    seed: Seed = 0,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Replace a value of the study.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Which axis bought the accuracy: connectivity, sharing and weights of each stage and what they do together.

    Example: archspec attribute table_nano.parquet
    """
    from dataclasses import asdict

    from archspec.cli.attributions import of_study, of_table, print_attribution

    if study_or_table.endswith(".parquet"):
        found = of_table(study_or_table, seed)
    else:
        found = of_study(study_or_table, tuple(changes or ()), seed)
    print_json(asdict(found)) if as_json else print_attribution(found, print_table, print)
