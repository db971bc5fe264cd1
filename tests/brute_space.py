"""A network with named holes, and values for all genes, go in; the active genes come out, straight from the language.

This says a second time, in the plainest way, what holes mean: no formulas, no tree of decisions. Tests compare the two.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

Values = Mapping[str, Any]
LEVELS = {"network": 0, "stage": 1, "block": 2}


class Brute:
    """Every hole has a name, or follows one; options that are mappings hold one key."""

    def __init__(self, network: Mapping[str, Any], genes: Mapping[str, tuple[Any, ...]]) -> None:
        self.network, self.genes = network, genes

    def assignments(self) -> Iterator[dict[str, Any]]:
        for labels in itertools.product(*self.genes.values()):
            yield dict(zip(self.genes, labels, strict=True))

    def points(self) -> set[frozenset[tuple[str, Any]]]:
        return {frozenset((gene, values[gene]) for gene in self.active(values)) for values in self.assignments()}

    def active(self, values: Values) -> frozenset[str]:
        """Look again until nothing changes: `when` asks whether another gene is active."""
        known: frozenset[str] = frozenset()
        for _ in range(len(self.genes) + 2):
            seen, _ = self.filled(values, known)
            if seen == known:
                return known
            known = seen
        raise AssertionError("conditions go in a circle")

    def filled(self, values: Values, known: frozenset[str]) -> tuple[frozenset[str], list[list[Any]]]:
        """The genes that were read, and for each stage its width and the contents of its blocks."""
        self.values, self.known, self.seen = values, known, set[str]()
        stages = []
        for number, stage in enumerate(self.network["stages"]):
            scope = (f"stages.{number}.",)
            width, depth = self.fill(stage["width"], scope), self.fill(stage["depth"], scope)
            names = self.fill(stage["block"], scope)
            names = names if isinstance(names, list) else [names]
            blocks = []
            for place in range(depth):
                inner = (*scope, f"stages.{number}.blocks.{place}.")
                blocks.append(self.fill(self.network["blocks"][names[place % len(names)]], inner))
            stages.append([width, *blocks])
        return frozenset(self.seen), stages

    def fill(self, node: Any, scope: tuple[str, ...]) -> Any:
        if isinstance(node, dict) and "choose" in node:
            return self.hole(node, scope)
        if isinstance(node, dict):
            return {key: self.fill(value, scope) for key, value in node.items()}
        return [self.fill(item, scope) for item in node] if isinstance(node, list) else node

    def hole(self, hole: Mapping[str, Any], scope: tuple[str, ...]) -> Any:
        level = LEVELS[hole.get("per", "block" if "follow" in hole else "network")]
        prefixes = ("", *scope)[: level + 1]
        if any(self.mentioned(word, prefixes) not in wanted for word, wanted in hole.get("when", {}).items()):
            return hole["else"]
        if "follow" in hole:
            gene = self.meant(hole["follow"], prefixes)
            label = self.values[gene] if gene in self.known else self.genes[gene][0]
        else:
            gene = prefixes[-1] + hole["name"]
            self.seen.add(gene)
            label = self.values[gene]
        return self.fill(hole["choose"][self.genes[gene].index(label)], scope)

    def mentioned(self, word: str, prefixes: tuple[str, ...]) -> Any:
        gene = self.meant(word, prefixes)
        return self.values[gene] if gene in self.known else None

    def meant(self, word: str, prefixes: tuple[str, ...]) -> str:
        return next(prefix + word for prefix in reversed(prefixes) if prefix + word in self.genes)
