"""Commands about how networks relate: explain, diff, graph. Torch is imported for a study's points only."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archspec.cli.output import cell, print_json, print_table, say
from archspec.cli.specs import Json, Spec

if TYPE_CHECKING:
    from archspec.relations.data import Edit, Graph, Placement
    from archspec.relations.explanation import Block, Explanation


def explain(spec: Spec, as_json: Json = False) -> None:
    """Say in words what a network is: its blocks, stages and costs, and which named networks it equals or is near.

    Example: archspec explain swin_tiny
    """
    from archspec.relations.explanation import explain as explained
    from archspec.relations.index import named
    from archspec.schema.load import load

    found = explained(load(spec), named())
    print_json(_plain(asdict(found))) if as_json else _print_explanation(found)


def _print_explanation(found: "Explanation") -> None:
    print(f"{found.name}: {found.image} → {found.classes} classes, digest {found.digest[:16]}")
    if found.description:
        print(f"{found.description} ({found.source})" if found.source else found.description)
    said: set[tuple[str, ...]] = set()
    for block in found.blocks:
        print()
        for text in _block_lines(block, said):
            print(text)
    print()
    rows = [[s.name, s.map, s.depth, s.params, s.macs, s.activation_bytes] for s in found.stages]
    total = found.cost
    rows.append(["in all", "", sum(s.depth for s in found.stages), total.params, total.macs, total.activation_bytes])
    print_table(("", "map", "blocks", "params", "macs", "activation_bytes"), rows)
    print("\nIn the relation graph (arXiv 2106.04263, Figures 2 and 4):")
    for placement in found.placements:
        print(f"  {placement_words(placement)}")
    print(f"\nSame normal form: {', '.join(found.equals) or 'no named network'}")
    print("Nearest named networks, by axis edits and other edits:")
    for each in found.nearest:
        print(f"  {each.near.name}: {each.near.axis_edits} and {each.near.other_edits}")
        for line in _edit_lines(each.edits, limit=6):
            print(f"      {line}")


def _block_lines(block: "Block", said: set[tuple[str, ...]]) -> Iterator[str]:
    """A block; the axes of a connection are written where they are not `said` yet."""
    yield f"{block.name}, {block.where}" if block.where else block.name
    for line in block.lines:
        indent = "  " * (line.depth + 1)
        row = f"  [{line.row}]" if line.row and line.axes else ""
        yield f"{indent}{line.text}{row}"
        if line.axes not in said:
            yield from (f"{indent}    {axis}" for axis in line.axes)
            said.add(line.axes)


def placement_words(placement: "Placement") -> str:
    """Where something stands, and how far from there."""
    share = "" if placement.share == 1 else f"{100 * placement.share:.0f} % of the spatial layers: "
    if placement.distance == 0:
        return f"{share}{placement.nodes[0]}"
    ways = zip(placement.nodes, placement.edits, strict=True)
    return share + "; or ".join(f"nearest {node}, with {', '.join(map(str, edits))}" for node, edits in ways)


def _edit_lines(edits: "tuple[Edit, ...]", limit: int | None = None) -> Iterator[str]:
    """A line for each place and axis, with every change there and its stages."""
    merged: dict[tuple[str, str, bool], list[Edit]] = {}
    for edit in edits:
        merged.setdefault((edit.place, edit.axis, edit.of_axes), []).append(edit)
    lines = [
        f"{'*' if of_axes else ' '} {place}: {axis}: {'; '.join(map(_change_words, own))}"
        for (place, axis, of_axes), own in merged.items()
    ]
    yield from lines[:limit]
    if limit is not None and len(lines) > limit:
        yield f"  … and {len(lines) - limit} more: archspec diff shows all"


def _change_words(edit: "Edit") -> str:
    stages = [stage.removeprefix("stage ") for stage in edit.stages if stage.startswith("stage ")]
    where = f" (stage{'s' if len(stages) > 1 else ''} {', '.join(stages)})" if stages else ""
    return f"{edit.before or 'none'} → {edit.after or 'none'}{where}"


def diff(
    before: Spec,
    after: Annotated[str, typer.Argument(metavar="NAME_OR_FILE", help="Another network.")],
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 if they differ, as git does.")] = False,
    as_json: Json = False,
) -> None:
    """Show in which axes two networks differ, and what that does to parameters, multiply-adds and memory.

    Edits of axes (marked *) are those of connections: connectivity, sharing, weights. The same edit at the same place
    in several stages counts once.

    Example: archspec diff swin_tiny dw_conv_tiny
    """
    from archspec.relations.difference import difference
    from archspec.resolve import resolve
    from archspec.schema.load import load

    found = difference(resolve(load(before)), resolve(load(after)))
    if as_json:
        counts = {"axis_edits": found.axis_edits, "other_edits": found.other_edits}
        print_json({**counts, **_plain(asdict(found))})
    elif found.equal:
        print(f"{found.before} and {found.after} are one network: they have the same normal form")
    else:
        print(f"{found.before} → {found.after}: {_count(found.axis_edits, 'axis edit')}, {found.other_edits} others\n")
        for line in _edit_lines(found.edits):
            print(line)
        print()
        _print_costs(found)
    if exit_code and not found.equal:
        raise typer.Exit(1)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _print_costs(found: Any) -> None:
    """Costs of aligned regions side by side."""
    measures = ("params", "macs", "activation_bytes")
    rows = []
    for pair in found.stages:
        name = " / ".join(dict.fromkeys(side.name for side in (pair.before, pair.after) if side))
        rows.append([name, *(text for m in measures for text in _change(pair.before, pair.after, m))])
    totals = (found.cost_before, found.cost_after)
    rows.append(["in all", *(text for m in measures for text in _change(*totals, m))])
    columns = [column for measure in measures for column in (measure, "→", "change")]
    print_table(("", *columns), rows)


def _change(before: Any, after: Any, measure: str) -> tuple[str, str, str]:
    old, new = (getattr(side, measure) if side is not None else None for side in (before, after))
    change = "" if not old or new is None else f"{100 * (new - old) / old:+.1f} %"
    return cell(old), cell(new), change


def graph(
    specs: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME_OR_FILE...]", help="Networks to place in the graph.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Place the best points of this study.", metavar="STUDY")] = None,
    best: Annotated[int, typer.Option(help="How many points of the study.", min=1)] = 3,
    every: Annotated[
        bool, typer.Option("--every", help="Every form of the named networks, not the paper's alone.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Draw the graph to this file, which opens offline.")] = None,
    as_json: Json = False,
) -> None:
    """Compute how forms of layers are related, from the named networks: nodes are normal forms, edges one axis edit.

    Example: archspec graph swin_nano my_network.yaml --html graph.html
    """
    from archspec.relations.graph import with_placed
    from archspec.relations.index import named
    from archspec.relations.nodes import paper_graph, place_network, whole_graph
    from archspec.relations.reading import forms
    from archspec.resolve import resolve
    from archspec.schema.load import load

    networks = [load(spec) for spec in specs or ()]
    networks += _best_of(study, best) if study else []
    found = (whole_graph if every else paper_graph)(named())
    placements = [at for network in networks for at in place_network(network.name, forms(resolve(network)), found)]
    found = with_placed(found, placements)
    if html is not None:
        from archspec.draw.page import write_page
        from archspec.draw.pictures import graph_page

        write_page(graph_page(found, placements), html)
        say(f"wrote {html}")
    if as_json:
        print_json(_plain({**asdict(found), "placements": [asdict(placement) for placement in placements]}))
    elif html is None:
        _print_graph(found, placements)


def _best_of(name: str, count: int) -> list[Any]:
    """The networks of a study's best trials, named after study and trial."""
    from archspec.errors import StudyError
    from archspec.results.summary import best_trials
    from archspec.schema.load import network_from
    from archspec.schema.source import read_text
    from archspec.search.runner import open_store
    from archspec.search.study import load_study

    study = load_study(name)
    with open_store(study) as store:
        records = best_trials(store.get_study(study.name), store.evaluations(study.name), count)
    if not records:
        raise StudyError(f"study {study.name!r} has no completed trial to place")
    networks = [network_from(read_text(record.spec, f"{study.name}, {record.name}")) for record in records]
    return [
        network.model_copy(update={"name": f"{study.name}, {record.name}"})
        for network, record in zip(networks, records, strict=True)
    ]


def _print_graph(found: "Graph", placements: "list[Placement]") -> None:
    for node in found.nodes:
        print(f"{node.name}: {node.form}")
        if node.systems:
            print(f"    named networks: {', '.join(node.systems)}")
        if node.placed:
            print(f"    placed here: {', '.join(node.placed)}")
    print()
    rows = [
        [edge.source, "⇢" if edge.dashed else "→", edge.target, edge.label, "; ".join(map(str, edge.edits))]
        for edge in found.edges
    ]
    print_table(("from", "", "to", "label", "axis edit"), rows)
    print(f"{len(found.nodes)} nodes, {len(found.edges)} edges; ⇢ no named network is built of it")
    if placements:
        print()
    for placement in placements:
        print(f"{placement.name}: {placement_words(placement)}")


def _plain(data: Any) -> Any:
    """Sets as lists, so that JSON takes them."""
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    if isinstance(data, frozenset | set):
        return sorted(data)
    return [_plain(value) for value in data] if isinstance(data, list | tuple) else data
