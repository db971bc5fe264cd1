"""`params <= 30M` and `macs in [3.5G, 4.5G]` as text go in; bounds on the exact cost of a network come out."""

import re
from dataclasses import dataclass, field, fields
from fractions import Fraction
from math import ceil, floor

from archspec.costs import Cost
from archspec.errors import Location, Problem, SpecError, nearest
from archspec.schema.problems import shortened

QUANTITIES = tuple(entry.name for entry in fields(Cost))
SUFFIXES = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
BYTE_SUFFIXES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
COMPARISONS = ("<=", "<", ">=", ">", "==")

_TOKEN = re.compile(r"\s*(?:(?P<number>[0-9.]\w*(?:\.\w*)?)|(?P<word>[A-Za-z_]\w*)|(?P<sign>[<>=!]=?|[\[\],]|\S))")
_NUMBER = re.compile(r"(?P<digits>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?P<suffix>[A-Za-z]*)")
MAXIMUM_LENGTH = 200


@dataclass(frozen=True)
class Constraint:
    """A quantity of the cost, and the closed interval of whole numbers in which it must lie; None: no bound."""

    text: str
    quantity: str
    low: int | None
    high: int | None
    location: Location | None = field(default=None, compare=False)

    def value(self, cost: Cost) -> int:
        """The quantity that is bounded."""
        value: int = getattr(cost, self.quantity)
        return value

    def violation(self, cost: Cost) -> float:
        """How far outside, as a share of the bound: 0.1 is ten per cent too much; 0 or less is feasible."""
        value = self.value(cost)
        above = -1.0 if self.high is None else (value - self.high) / max(1, self.high)
        below = -1.0 if self.low is None else (self.low - value) / max(1, self.low)
        return max(above, below)

    def __str__(self) -> str:
        return self.text


def parse_constraint(text: str, location: Location | None = None, path: str = "constraints") -> Constraint:
    """The constraint that is written. Raises SpecError with the place of the word at fault."""
    return _Parser(text, location, path).constraint()


class _Parser:
    """Reads `quantity op number` or `quantity in [low, high]`, a token at a time."""

    def __init__(self, text: str, location: Location | None, path: str) -> None:
        self.text, self.location, self.path = text, location, path
        if len(text) > MAXIMUM_LENGTH:
            raise self.refused(f"a constraint has at most {MAXIMUM_LENGTH} characters", shortened(text), 0)
        found = list(_TOKEN.finditer(text.rstrip()))
        self.tokens = [(match.group().strip(), match.end() - len(match.group().strip())) for match in found]
        self.next = 0

    def constraint(self) -> Constraint:
        quantity, at = self.take()
        if quantity not in QUANTITIES:
            near = nearest(quantity, QUANTITIES) or QUANTITIES
            raise self.refused("a constraint starts with a quantity of the cost", quantity, at, near)
        sign, at = self.take()
        low: int | None
        high: int | None
        if sign == "in":
            low, high = self.interval(quantity)
        elif sign in COMPARISONS:
            low, high = _bounds(sign, self.number(quantity))
        else:
            rule = "after the quantity comes a comparison with a number, or `in [low, high]`"
            raise self.refused(rule, sign, at, (*COMPARISONS, "in"))
        rest, at = self.take()
        if rest:
            raise self.refused("a constraint is one comparison; write a second one on a line of its own", rest, at)
        if low is not None and high is not None and low > high:
            raise self.refused("low is at most high", self.text, 0)
        return Constraint(self.text, quantity, low, high, self.location)

    def interval(self, quantity: str) -> tuple[int, int]:
        self.expect("[")
        low = self.number(quantity)
        self.expect(",")
        high = self.number(quantity)
        self.expect("]")
        return ceil(low), floor(high)

    def number(self, quantity: str) -> Fraction:
        word, at = self.take()
        match = _NUMBER.fullmatch(word)
        if match is None:
            raise self.refused("a bound is a number, such as 30M, 4.5G or 512KiB", word, at)
        suffixes = SUFFIXES | (BYTE_SUFFIXES if quantity.endswith("bytes") else {})
        suffix = match["suffix"]
        if suffix and suffix not in suffixes:
            rule = f"a number of {quantity} ends with {', '.join(suffixes)} or nothing"
            raise self.refused(rule, word, at, nearest(suffix.upper(), suffixes))
        return Fraction(match["digits"]) * suffixes.get(suffix, 1)

    def expect(self, sign: str) -> None:
        found, at = self.take()
        if found != sign:
            raise self.refused("an interval is written [low, high]", found, at, (sign,))

    def take(self) -> tuple[str, int]:
        if self.next == len(self.tokens):
            return "", len(self.text)
        self.next += 1
        return self.tokens[self.next - 1]

    def refused(self, rule: str, found: str, at: int, near: tuple[str, ...] = ()) -> SpecError:
        place = self.location and Location(self.location.file, self.location.line, self.location.column + at)
        return SpecError([Problem(rule, found or "nothing", self.path, place, near)])


def _bounds(sign: str, number: Fraction) -> tuple[int | None, int | None]:
    """The whole numbers that compare so: `< 10` is at most 9."""
    if sign in ("<=", "<"):
        return None, floor(number) if sign == "<=" else ceil(number) - 1
    if sign in (">=", ">"):
        return (ceil(number) if sign == ">=" else floor(number) + 1), None
    return ceil(number), floor(number)
