"""What must have been chosen goes in as a small formula over genes; whether it holds, for given choices, comes out.

A formula is True, False or one of the classes below. `every`, `some` and `negated` build it and simplify it, so that
the same condition, reached along several ways, stays small.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

Label = str | int | float | bool
"""What a gene takes: the value itself where the option is a single value, a short name of it elsewhere."""

Read = Callable[[str], Label]
"""The value of a gene by its name."""


@dataclass(frozen=True)
class Chosen:
    """The gene takes one of the labels. Stands only beside the condition under which the gene is active at all."""

    gene: str
    labels: frozenset[Label]
    of: int
    """How many choices the gene has: with all of them the formula is True."""

    @cached_property
    def genes(self) -> frozenset[str]:
        return frozenset((self.gene,))

    @cached_property
    def text(self) -> str:
        return f"{self.gene} is {' or '.join(sorted(map(str, self.labels)))}"

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Every:
    """All parts hold."""

    parts: tuple["Part", ...]

    @cached_property
    def conjuncts(self) -> frozenset["Part"]:
        return frozenset(self.parts)

    @cached_property
    def genes(self) -> frozenset[str]:
        return frozenset().union(*(part.genes for part in self.parts))

    @cached_property
    def text(self) -> str:
        return " and ".join(f"({part})" if isinstance(part, Some) else str(part) for part in self.parts)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Some:
    """At least one part holds."""

    parts: tuple["Part", ...]

    @cached_property
    def genes(self) -> frozenset[str]:
        return frozenset().union(*(part.genes for part in self.parts))

    @cached_property
    def text(self) -> str:
        return " or ".join(f"({part})" if isinstance(part, Every) else str(part) for part in self.parts)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Negated:
    """The part does not hold."""

    part: "Part"

    @cached_property
    def genes(self) -> frozenset[str]:
        return self.part.genes

    def __str__(self) -> str:
        return f"not ({self.part})"


@dataclass(frozen=True)
class Reference:
    """A mention of another hole, until every gene is known: its value is one of `wanted`, or its choice number `index`.

    `names` are the genes it may mean, the nearest first; `hole` is the number of the hole that mentions it.
    """

    names: tuple[str, ...]
    wanted: tuple[Label, ...]
    index: int | None
    hole: int

    @property
    def genes(self) -> frozenset[str]:
        return frozenset()


Part = Chosen | Every | Some | Negated | Reference
Condition = bool | Part


def every(*conditions: Condition) -> Condition:
    """All of the conditions."""
    parts: set[Part] = set()
    for condition in conditions:
        if condition is False:
            return False
        if isinstance(condition, Every):
            parts.update(condition.parts)
        elif not isinstance(condition, bool):
            parts.add(condition)
    return _joined_choices(parts)


def _joined_choices(parts: set[Part]) -> Condition:
    """Parts that all hold; two sets of choices of one gene become their intersection."""
    choices: dict[str, Chosen] = {}
    others: set[Part] = set()
    for part in parts:
        if not isinstance(part, Chosen):
            others.add(part)
            continue
        known = choices.get(part.gene)
        labels = part.labels & known.labels if known else part.labels
        if not labels:
            return False
        choices[part.gene] = Chosen(part.gene, labels, part.of)
    others |= set(choices.values())
    if not others:
        return True
    return next(iter(others)) if len(others) == 1 else Every(_ordered(others))


def _ordered(parts: Iterable[Part]) -> tuple[Part, ...]:
    # Always in one order: what is drawn and found must not depend on how Python orders a set of text today.
    return tuple(sorted(parts, key=str))


def some(*conditions: Condition) -> Condition:
    """At least one of the conditions."""
    parts: list[Part] = []
    for condition in conditions:
        if condition is True:
            return True
        if isinstance(condition, Some):
            parts += condition.parts
        elif not isinstance(condition, bool):
            parts.append(condition)
    kept: list[Part] = []
    for part in _ordered(parts):
        merged = _with(kept, part)
        if merged is None:
            return True
        kept = merged
    if not kept:
        return False
    return kept[0] if len(kept) == 1 else Some(_ordered(kept))


def _with(kept: list[Part], new: Part) -> list[Part] | None:
    """The alternatives with one more; those that another implies, or that differ in one gene only, become one.

    None where one of them comes out always true.
    """
    for index, part in enumerate(kept):
        if _implies(new, part):
            return kept
        if _implies(part, new):
            return _with([*kept[:index], *kept[index + 1 :]], new)
        united = _united(part, new)
        if united is True:
            return None
        if united is not None and united is not False:
            return _with([*kept[:index], *kept[index + 1 :]], united)
    return [*kept, new]


def _conjuncts(part: Part) -> frozenset[Part]:
    return part.conjuncts if isinstance(part, Every) else frozenset((part,))


def _implies(strong: Part, weak: Part) -> bool:
    return all(any(have == need or _is_subset(have, need) for have in _conjuncts(strong)) for need in _conjuncts(weak))


def _is_subset(have: Part, need: Part) -> bool:
    if isinstance(have, Chosen) and isinstance(need, Chosen):
        return have.gene == need.gene and have.labels <= need.labels
    return False


def _united(first: Part, second: Part) -> Condition | None:
    """`a is 1 and r` or `a is 2 and r` as `a is 1 or 2 and r`; None where they differ in more than that."""
    shared = _conjuncts(first) & _conjuncts(second)
    left, right = _conjuncts(first) - shared, _conjuncts(second) - shared
    if len(left) != 1 or len(right) != 1:
        return None
    one, other = next(iter(left)), next(iter(right))
    if not (isinstance(one, Chosen) and isinstance(other, Chosen)) or one.gene != other.gene:
        return None
    labels = one.labels | other.labels
    return every(*shared, len(labels) == one.of or Chosen(one.gene, labels, one.of))


def negated(condition: Condition) -> Condition:
    """The opposite."""
    if isinstance(condition, bool):
        return not condition
    return condition.part if isinstance(condition, Negated) else Negated(condition)


def holds(condition: Condition, read: Read) -> bool:
    """Whether the condition holds for the values that `read` gives."""
    if isinstance(condition, bool):
        return condition
    if isinstance(condition, Chosen):
        return read(condition.gene) in condition.labels
    if isinstance(condition, Every):
        return all(holds(part, read) for part in condition.parts)
    if isinstance(condition, Some):
        return any(holds(part, read) for part in condition.parts)
    return isinstance(condition, Negated) and not holds(condition.part, read)


def given(condition: Condition, gene: str, label: Label | None) -> Condition:
    """What is left of the condition once the gene takes the label; None: the gene is not active."""
    if isinstance(condition, bool) or gene not in condition.genes:
        return condition
    if isinstance(condition, Chosen):
        return label is not None and label in condition.labels
    if isinstance(condition, Negated):
        return negated(given(condition.part, gene, label))
    if isinstance(condition, Reference):
        return condition
    combine = every if isinstance(condition, Every) else some
    return combine(*(given(part, gene, label) for part in condition.parts))


def genes_of(condition: Condition) -> frozenset[str]:
    """The genes that a condition reads."""
    return frozenset() if isinstance(condition, bool) else condition.genes


def choices_in(condition: Condition, gene: str) -> Iterable[frozenset[Label]]:
    """The sets of labels that a condition tells apart of one gene."""
    if isinstance(condition, Chosen):
        if condition.gene == gene:
            yield condition.labels
    elif isinstance(condition, Every | Some):
        for part in condition.parts:
            yield from choices_in(part, gene)
    elif isinstance(condition, Negated):
        yield from choices_in(condition.part, gene)
