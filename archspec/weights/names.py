"""A family's table and a state dict go in; the names of their tensors in the order of our table of parameters come out.

A family says for each part of a network (`stem`, `stages.0.downsample`, `stages.1.blocks.3`, `head`) which of their
modules belong to it, in the order in which our parameters stand (`archspec.ir.parameter_table`). A part is one or more
lines of names:

    conv1 bn1                        two modules: weight, bias, running mean, running variance, as far as they have them
    layer{stage+1}.{block}: conv1    a prefix; {stage} and {block} are ours, {number} counts blocks through all stages
    branches.*.*: conv1 bn1          the prefix's numbers in turn, 0.0, 0.1, ..., 1.0, ...
    fuse_layers                      a module whose children have numbers stands for all that is below, in their order
    downsample.0?                    taken where it is there
    attn.q+attn.kv                   joined on the first axis: first all rows of q, then those of kv
    .                                the prefix itself;  /pos_embed  a name without the prefix
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

LEAVES = ("weight", "bias", "running_mean", "running_var")

Row = tuple[str, ...]
"""The tensors that one of our parameters is made of: one, or several that are joined on their first axis."""


@dataclass(frozen=True)
class Family:
    """Names of one family. `marker`: a name that only its state dicts have; `ignored`: names that are no parameters.

    `parts`: by pattern of our part's name (`stages.*.blocks.0`), the first that fits, its line or lines of names.
    """

    marker: str
    parts: Mapping[str, str | tuple[str, ...]]
    ignored: str = "$^"

    def lines(self, part: str) -> tuple[str, ...]:
        """The lines of one of our parts; none where the table has no such part."""
        for pattern, lines in self.parts.items():
            if fnmatchcase(part, pattern):
                return (lines,) if isinstance(lines, str) else lines
        return ()


def rows(family: Family, part: str, number: int, names: Collection[str]) -> list[Row]:
    """Their tensors of one of our parts, row by row. A name that must be there and is not stands as it is written.

    `number`: how many blocks come before this one; `names`: all of their tensors.
    """
    tree = _tree(names)
    return [row for line in family.lines(part) for row in _line(_numbered(line, part, number), tree)]


def _numbered(line: str, part: str, number: int) -> str:
    """The line with {stage}, {block} and {number} filled in."""
    places = part.split(".")
    values = {"stage": places[1] if len(places) > 1 else "0", "block": places[-1], "number": str(number)}

    def fill(found: re.Match[str]) -> str:
        return str(int(values[found[1]]) + int(found[2] or 0))

    return re.sub(r"\{(stage|block|number)(?:\+(\d+))?\}", fill, line)


Tree = Mapping[str, "Tree"]


def _tree(names: Iterable[str]) -> Tree:
    """Names split at their dots; a tensor is a leaf."""
    below: dict[str, list[str]] = {}
    for name in names:
        first, _, rest = name.partition(".")
        below.setdefault(first, []).extend([rest] if rest else [])
    return {first: _tree(rest) for first, rest in below.items()}


def _line(line: str, tree: Tree) -> Iterator[Row]:
    prefix, _, listed = line.rpartition(":")
    for start in _prefixes(prefix.strip(), tree):
        for word in listed.split():
            optional = word.endswith("?")
            columns = [_tensors(_joined(start, name), tree) for name in word.rstrip("?").split("+")]
            if all(columns) and len({len(tensors) for tensors in columns}) == 1:
                yield from zip(*columns, strict=True)
            elif not optional:
                yield tuple(_joined(start, name) for name in word.split("+"))


def _joined(prefix: str, name: str) -> str:
    if name.startswith("/"):
        return name[1:]
    return prefix if name == "." else f"{prefix}.{name}" if prefix else name


def _prefixes(prefix: str, tree: Tree) -> list[str]:
    """The prefix with each `*` replaced by the numbers that are there, in order."""
    before, star, after = prefix.partition("*")
    if not star:
        return [prefix]
    numbers = sorted(int(piece) for piece in _below(before.rstrip("."), tree) if piece.isdigit())
    return [found for number in numbers for found in _prefixes(f"{before}{number}{after}", tree)]


def _below(name: str, tree: Tree) -> Tree:
    for piece in name.split(".") if name else ():
        tree = tree.get(piece, {})
    return tree


def _tensors(name: str, tree: Tree) -> Row:
    """A tensor by its name; the tensors of a module; all of a numbered list of modules. Empty where there is none."""
    below = _below(name, tree)
    if not below:
        parent, _, last = name.rpartition(".")
        return (name,) if last in _below(parent, tree) else ()
    own = [f"{name}.{leaf}" for leaf in LEAVES if leaf in below]
    numbers = sorted(int(piece) for piece in below if piece.isdigit())
    return (*own, *(tensor for number in numbers for tensor in _tensors(f"{name}.{number}", tree)))
