"""The named networks come out as signatures and forms, in milliseconds: read from `named.json`, not resolved.

`named.json` is made by `python -m archspec.relations.index` from the files in `zoo/` and holds the digest of each. A
network whose file is not the one that it was made from (new, or changed) is resolved on the spot: what is read
here is never out of date with a file, and tests/test_explain.py holds the whole of it against the code.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from archspec import ir
from archspec.relations.form import Form
from archspec.relations.reading import forms
from archspec.relations.signature import Group, Pattern, Signature, Stage, Step, group, signature, step
from archspec.resolve import resolve
from archspec.schema.load import load, names, spec_path

FILE = Path(__file__).with_name("named.json")


@dataclass(frozen=True)
class Named:
    """A named network: its signature, and how often each form stands in it."""

    signature: Signature
    forms: Mapping[Form, int]


def named_of(program: ir.Program) -> Named:
    """What is known of a named network, of any."""
    return Named(signature(program), forms(program))


@cache
def named() -> Mapping[str, Named]:
    """Every named network by its name."""
    read = _read(json.loads(FILE.read_text())) if FILE.exists() else {}
    found: dict[str, Named] = {}
    for name in names():
        digest, known = read.get(name, ("", None))
        fresh = known is not None and digest == _digest(name)
        found[name] = known if known is not None and fresh else named_of(resolve(load(name)))
    return found


def _digest(name: str) -> str:
    return hashlib.sha256(spec_path(name).read_bytes()).hexdigest()[:16]


def index_text() -> str:
    """The text of `named.json` as the files and the code of now make it: a line for each step, chain and network."""
    writer = _Writer()
    networks = {name: writer.network(_digest(name), named_of(resolve(load(name)))) for name in names()}
    tables = {"steps": map(json.dumps, writer.steps.values()), "chains": map(json.dumps, writer.chains.values())}
    parts = [f'"{key}": [\n{_lines(rows)}\n]' for key, rows in tables.items()]
    rows = (f"{json.dumps(name)}: {json.dumps(network)}" for name, network in networks.items())
    return "{\n" + ",\n".join([*parts, f'"networks": {{\n{_lines(rows)}\n}}']) + "\n}\n"


def _lines(rows: Iterable[str]) -> str:
    return ",\n".join(rows)


class _Writer:
    """Numbers steps and chains in the order in which they are first met; a chain refers to what is before it."""

    def __init__(self) -> None:
        self.steps: dict[Step, Any] = {}
        self.step_numbers: dict[Step, int] = {}
        self.chains: dict[Pattern, Any] = {}
        self.chain_numbers: dict[Pattern, int] = {}

    def chain(self, pattern: Pattern) -> int:
        if pattern not in self.chain_numbers:
            items = [self.item(item) for item in pattern]
            self.chain_numbers[pattern] = len(self.chains)
            self.chains[pattern] = items
        return self.chain_numbers[pattern]

    def item(self, item: Step | Group) -> Any:
        """A number is a step, a list a group: its kind and its chains."""
        if isinstance(item, Group):
            return [item.kind, *(self.chain(chain) for chain in item.chains)]
        if item not in self.steps:
            self.step_numbers[item] = len(self.steps)
            self.steps[item] = [item.kind, dict(item.axes)]
        return self.step_numbers[item]

    def network(self, file: str, known: Named) -> Any:
        whole = known.signature
        stages = [
            [
                stage.map,
                stage.widths,
                self.chain(stage.entry),
                [self.chain(block) for block in stage.blocks],
                stage.order,
            ]
            for stage in whole.stages
        ]
        return {
            "file": file,
            "digest": whole.digest,
            "image": whole.image,
            "classes": whole.classes,
            "drop_path": whole.drop_path,
            "stem": self.chain(whole.stem),
            "stages": stages,
            "head": self.chain(whole.head),
            "forms": [
                [form.space, form.channels, sorted(form.low_rank), form.weights, form.index, count]
                for form, count in known.forms.items()
            ],
        }


def _read(data: Mapping[str, Any]) -> dict[str, tuple[str, Named]]:
    """Of each network the digest of the file that it was made from, and what is known."""
    steps = [step(kind, tuple(axes.items())) for kind, axes in data["steps"]]
    chains: list[Pattern] = []
    for items in data["chains"]:
        chains.append(
            tuple(
                steps[item] if isinstance(item, int) else group(item[0], tuple(chains[number] for number in item[1:]))
                for item in items
            )
        )
    return {name: (row["file"], _network(name, row, chains)) for name, row in data["networks"].items()}


def _network(name: str, row: Mapping[str, Any], chains: list[Pattern]) -> Named:
    stages = tuple(
        Stage(shape, tuple(widths), chains[entry], tuple(chains[block] for block in blocks), tuple(order))
        for shape, widths, entry, blocks, order in row["stages"]
    )
    stem, head = chains[row["stem"]], chains[row["head"]]
    found = Counter[Form]()
    for space, channels, low_rank, weights, index, count in row["forms"]:
        found[Form(space, channels, frozenset(low_rank), weights, index)] = count
    facts = row["digest"], row["image"], row["classes"], row["drop_path"]
    return Named(Signature(name, *facts, stem, stages, head), found)


if __name__ == "__main__":
    FILE.write_text(index_text())
    print(f"wrote {FILE}")
