"""The command `audit`: which proxies of a network's worth can be trusted on a study, a table or a space."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archspec.cli.output import print_json, print_table, resumable, say
from archspec.cli.specs import Json, Seed

if TYPE_CHECKING:
    from archspec.results.audit import Audit, Row
    from archspec.search.auditing import Findings, Pool, Scorer


def audit(
    subject: Annotated[str, typer.Argument(metavar="STUDY_OR_SPACE", help="A study, a space, or a .parquet table.")],
    proxies: Annotated[list[str] | None, typer.Option("--proxy", help="Only this one; may be repeated.")] = None,
    points: Annotated[int, typer.Option(help="Of a space: so many points are trained.", min=2)] = 24,
    seeds: Annotated[int, typer.Option(help="Of a space: trainings of each point.", min=1)] = 2,
    data: Annotated[str, typer.Option(help="Of a space: fractal, relation, or a folder or tar of images.")] = "fractal",
    epochs: Annotated[int | None, typer.Option(help="Of a space: the longer training.", min=2)] = None,
    workers: Annotated[int, typer.Option(help="Of a space: processes that train.", min=1)] = 1,
    images: Annotated[int, typer.Option(help="Images in a batch that scores look at.", min=2)] = 32,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The HTML file to write.")] = None,
    seed: Seed = 0,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Replace a value of study or recipe.")
    ] = None,
    as_json: Json = False,
) -> None:
    """How far each proxy agrees with longer training, and which of them not to trust; again: nothing is scored twice.

    Example: archspec audit studies/quickstart.yaml
    """
    from archspec.results.audit_page import write_page
    from archspec.search.auditing import Scorer, audited, chosen, facts

    wanted = chosen(proxies or ())
    with resumable():
        pool, folder = _pool(subject, points, seeds, data, epochs, workers, seed, tuple(changes or ()))
        scores = _scored(Scorer(pool, wanted, folder / "audit-scores.json", seed, images))
        found = audited(pool, scores, seed)
    audits = [each for each in (found.training, found.imagenet) if each is not None]
    page = write_page(pool.source, pool.notes, audits, output or folder / "audit.html")
    if as_json:
        print_json(facts(found))
        return
    _print(found)
    print(f"report: {page}")


def _pool(
    subject: str,
    points: int,
    seeds: int,
    data: str,
    epochs: int | None,
    workers: int,
    seed: int,
    words: tuple[str, ...],
) -> "tuple[Pool, Path]":
    """Of a study or a table what is there; of a space, points are trained first."""
    from archspec.schema.source import read_file
    from archspec.search.auditing import of_study, of_table
    from archspec.search.space.source import space_path

    if subject.endswith(".parquet"):
        return of_table(subject)
    file = Path(subject)
    written = file if file.suffix in (".yaml", ".yml") else Path("studies") / f"{subject}.yaml"
    if written.exists() and "study" in read_file(written):
        return of_study(str(written), words)
    return of_table(str(_tabulated(space_path(subject), points, seeds, data, epochs, workers, seed, words)))


def _tabulated(
    space: Path, points: int, seeds: int, data: str, epochs: int | None, workers: int, seed: int, words: tuple[str, ...]
) -> Path:
    """The table of a sample of a space's points, trained as far as it is not there yet."""
    from archspec.cli.tables import protocol
    from archspec.search.space import load_space
    from archspec.search.study import protocol_digest
    from archspec.search.tabulate import Tabulation, tabulate

    config, recipe = protocol(str(space), None, data, epochs, words)
    # A table for each space and way of training: other epochs are another audit, and leave the one before as it is.
    facts = {"space": load_space(space).digest, "data": config.protocol(), "recipe": recipe.fingerprint}
    digest = protocol_digest(facts)
    out = Path("results") / "audit" / f"{space.stem}-{digest[:8]}.parquet"
    tabulate(Tabulation(space, config, recipe, seeds, out, points, seed), workers, say)
    return out


def _scored(scorer: "Scorer") -> dict[str, list[float]]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("scoring", total=None)

        def on_network(done: int, total: int, name: str) -> None:
            progress.update(task, completed=done, total=total, description=f"scoring {name}")

        return scorer.run(on_network)


def _print(found: "Findings") -> None:
    from archspec.results.audit import RULE

    pool = found.pool
    print(f"{pool.source}: {len(pool.networks)} networks")
    for note in pool.notes:
        print(f"note: {note}")
    for each in (found.training, found.imagenet):
        if each is not None:
            _print_audit(each)
    if found.imagenet is None:
        print("ImageNet: fewer than three networks of the paper are references of this study")
    print(RULE)


def _print_audit(found: "Audit") -> None:
    print(f"\nagainst {found.truth}; {found.networks} networks, intervals of 95 %")
    columns = ("proxy", "n", "Kendall tau", "Spearman rho", "tau of the top quarter", f"regret of its {found.k}")
    print_table((*columns, "tau beyond the baselines", "verdict"), map(_row, found.rows))
    for row in found.rows:
        for remark, count in row.asked.remarks.items():
            print(f"{row.asked.name}: {count} networks: {remark}")


def _row(row: "Row") -> tuple[object, ...]:
    from archspec.results.audit import estimate_text

    numbers = map(estimate_text, (row.tau, row.rho, row.top, row.regret, row.ahead))
    return (row.asked.name, row.n, *numbers, row.verdict)
