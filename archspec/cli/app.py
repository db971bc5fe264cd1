"""The table of commands: every command of archspec is named here, in the order of use."""

from collections.abc import Callable

import typer

from archspec.cli import audits, drawings, exports, machines, probes, relations, resizing, specs, studies, tables

app = typer.Typer(
    name="archspec",
    help="Which connectivity pattern? Specs, compiler and studies for vision networks y = W x (arXiv 2106.04263).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

COMMANDS: dict[str, Callable[..., None]] = {
    "list": specs.list_networks,
    "show": specs.show,
    "check": specs.check,
    "space": specs.space,
    "schema": specs.schema,
    "draw": drawings.draw,
    "explain": relations.explain,
    "diff": relations.diff,
    "graph": relations.graph,
    "compile": specs.compile_network,
    "verify": specs.verify,
    "resize": resizing.resize,
    "export": exports.export,
    "probe": probes.probe,
    "train": studies.train,
    "search": studies.search,
    "report": studies.report,
    "promote": studies.promote,
    "tabulate": tables.tabulate,
    "attribute": tables.attribute,
    "audit": audits.audit,
    "bench": machines.bench,
    "doctor": machines.doctor,
}

for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
