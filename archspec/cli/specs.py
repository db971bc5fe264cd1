"""Commands about specs: list, show, check, space, schema, compile, verify."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from archspec.cli.output import cell, print_json, print_table, say

Spec = Annotated[str, typer.Argument(metavar="NAME_OR_FILE", help="A named network or the path of a YAML file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]


class Stage(StrEnum):
    """The stations on the way from a spec to a network."""

    spec = "spec"
    ir = "ir"
    plan = "plan"
    cost = "cost"


def list_networks(as_json: Json = False) -> None:
    """List the named networks with their exact cost.

    Example: archspec list
    """
    from archspec.costs import cost
    from archspec.resolve import resolve
    from archspec.schema.load import load, names

    networks = [load(name) for name in names()]
    rows: list[dict[str, Any]] = []
    for network in networks:
        found = vars(cost(resolve(network)))
        about = {"description": network.description, "source": network.source}
        rows.append({"name": network.name, **found, **about})
    if as_json:
        print_json(rows)
        return
    columns = ("name", "params", "macs", "paper_flops", "description")
    print_table(columns, [[row[column] for column in columns] for row in rows])


def show(
    spec: Spec,
    stage: Annotated[Stage, typer.Option(help="spec: shorthands written out; ir; plan: kernels; cost.")] = Stage.spec,
    as_json: Json = False,
) -> None:
    """Show a network at one station of the way from YAML to kernels.

    Example: archspec show swin_tiny --stage plan
    """
    from archspec.resolve import resolve
    from archspec.schema.expand import expand
    from archspec.schema.load import load, network_yaml

    network = load(spec)
    if stage is Stage.spec:
        expanded = expand(network)
        if as_json:
            print_json(expanded.model_dump(mode="json", exclude_unset=True))
        else:
            print(network_yaml(expanded), end="")
        return
    program = resolve(network)
    if stage is Stage.ir:
        print_json({"digest": program.digest, "ir": str(program).splitlines()}) if as_json else print(program)
    elif stage is Stage.plan:
        _show_plan(program, as_json)
    else:
        _show_cost(program, as_json)


def _show_plan(program: Any, as_json: bool) -> None:
    from archspec.lower import plan

    found = plan(program)
    print_json(str(found).splitlines()) if as_json else print(found)


def _show_cost(program: Any, as_json: bool) -> None:
    from archspec.costs import cost, op_costs

    total = cost(program)
    if as_json:
        print_json({"total": vars(total), "ops": [vars(row) for row in op_costs(program)]})
        return
    rows = [row for row in op_costs(program) if row.params or row.macs]
    columns = ("path", "kind", "params", "macs", "paper_flops")
    print_table(columns, [[getattr(row, column) for column in columns] for row in rows])
    print()
    print_table(("cost of one image", "value"), [[name, cell(value)] for name, value in vars(total).items()])


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Networks, search spaces or studies.")],
    as_json: Json = False,
) -> None:
    """Check files and report every mistake with its line; files may be networks, search spaces or studies.

    Example: archspec check my_network.yaml search_spaces/*.yaml
    """
    from archspec.errors import SpecError
    from archspec.search.files import check_file

    failures: dict[str, SpecError] = {}
    kinds: dict[str, str] = {}
    for file in files:
        try:
            kinds[str(file)] = check_file(file)
        except SpecError as error:
            failures[str(file)] = error
    if as_json:
        problems = {name: [str(problem) for problem in failed.problems] for name, failed in failures.items()}
        print_json({"valid": kinds, "problems": problems})
    else:
        for name, kind in kinds.items():
            print(f"{name}: a valid {kind}")
        for failed in failures.values():
            say(str(failed))
    if failures:
        raise typer.Exit(1)


def space(
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="A search space; left out: all axes.")] = None,
    match: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Scale every network to a budget: macs=5M, by=depth, tolerance=0.05."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Points drawn to estimate the feasible share.", min=1)] = 1000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Count a search space; without a file, print every combination of axis values with legal or why not.

    Example: archspec space search_spaces/connectivity_nano.yaml --match macs=5M
    """
    if file is None:
        _show_combinations(as_json)
        return
    from archspec.cli.spaces import print_summary, summary

    found = summary(file, samples, seed, tuple(match or ()))
    print_json(found) if as_json else print_summary(found)


def _show_combinations(as_json: bool) -> None:
    from archspec.schema.legality import Combination, all_combinations, broken_rules, nearest_legal

    rows = []
    for combination in all_combinations():
        broken = broken_rules(combination)
        verdict = "; ".join(rule.name for rule in broken) or "legal"
        nearest = " ".join(nearest_legal(combination)) if broken else ""
        rows.append([*combination, verdict, nearest])
    columns = (*Combination._fields, "verdict", "nearest legal")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    print_table(columns, rows)
    print(f"{sum(row[5] == 'legal' for row in rows)} of {len(rows)} combinations are legal")


class Language(StrEnum):
    """The three kinds of file."""

    network = "network"
    space = "space"
    study = "study"


def schema(
    language: Annotated[Language, typer.Argument(help="network, space or study.")] = Language.network,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to this file.")] = None,
) -> None:
    """Write the JSON Schema with which editors complete and check the files.

    Example: archspec schema network -o archspec.schema.json
    """
    import json

    from archspec.search.files import json_schema

    text = json.dumps(json_schema(language.value), indent=2)
    if output is None:
        print(text)
        return
    output.write_text(text + "\n")
    say(f"wrote {output}")


def compile_network(
    spec: Spec,
    output: Annotated[Path, typer.Option("-o", "--output", help="Weights as safetensors.")],
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compile a network and write its initial weights.

    Example: archspec compile swin_tiny -o swin_tiny.safetensors
    """
    from archspec.api import compile as compile_spec
    from archspec.api import program_of
    from archspec.artifacts import save_weights

    program = program_of(spec)
    module = compile_spec(program, seed=seed)
    save_weights(module, output, {"name": program.name, "digest": program.digest, "seed": str(seed)})
    count = sum(parameter.numel() for parameter in module.parameters())
    if as_json:
        print_json({"file": str(output), "parameters": count, "digest": program.digest})
    else:
        print(f"wrote {output}: {count:,} parameters, digest {program.digest[:16]}")


def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Named networks.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every network that timm has too.")] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Load timm's weights into ours, run both on one input, and print how far they differ.

    Example: archspec verify swin_tiny
    """
    from archspec.weights import LARGEST_DIFFERENCE, TIMM_MODELS, verify_against_timm

    chosen = sorted(TIMM_MODELS) if every else names or []
    if not chosen:
        raise typer.BadParameter("name at least one network, or --all")
    found = []
    for number, name in enumerate(chosen, 1):
        say(f"{number} of {len(chosen)}: {name} beside {TIMM_MODELS.get(name, 'nothing')}")
        found.append(verify_against_timm(name, seed=seed))
    if as_json:
        print_json([vars(row) for row in found])
    else:
        columns = ("name", "timm_model", "parameters", "output_difference", "gradient_difference", "gradient_precision")
        print_table((*columns, "equal"), [[*(getattr(r, c) for c in columns), r.equal] for r in found])
        print(f"differences are relative to the largest magnitude; equal means <= {LARGEST_DIFFERENCE:g}")
    if not all(row.equal for row in found):
        raise typer.Exit(1)
