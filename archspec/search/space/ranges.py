"""Low, high and step as written go in; the numbers of the range, or the rule that it breaks, come out."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

Number = int | float
Refusal = tuple[str, str, Any, tuple[str, ...]]
"""The key at fault, the rule, what was found, the nearest valid values."""


@dataclass(frozen=True)
class Range:
    """Evenly spaced numbers from `low` to `high`, both included; with `log`, tried on a logarithmic scale."""

    low: Number
    high: Number
    step: Number
    log: bool
    values: tuple[Number, ...]


def numbers(written: Any, step: Any, log: Any, maximum: int) -> Range | Refusal:
    """The range that is written, of at most `maximum` numbers."""
    if not isinstance(written, list | tuple) or len(written) != 2 or not all(map(_is_number, written)):
        return "range", "range is two numbers [low, high]", written, ()
    low, high = written
    if low >= high:
        return "range", "a range goes from low to a larger high", f"{low} to {high}", (f"[{high}, {low}]",)
    if not isinstance(log, bool):
        return "log", "log is true or false", log, ("true", "false")
    if step is None:
        if isinstance(low, float) or isinstance(high, float):
            return "range", "a range of fractions says its step", f"[{low}, {high}]", (f"step: {(high - low) / 10:g}",)
        step = 1
    elif log:
        return "log", "a range is logarithmic or goes in steps, not both", "step and log", ()
    if not _is_number(step) or step <= 0:
        return "step", "step is a number above zero", step, ()
    if log and low < 1:
        return "range", "a logarithmic range starts at 1 or above", low, ("1",)
    return _spaced(low, high, step, log, maximum)


def _spaced(low: Number, high: Number, step: Number, log: bool, maximum: int) -> Range | Refusal:
    # Decimal text, not binary fractions: 0.1 to 0.3 in steps of 0.1 is three numbers.
    first, last, gap = (Fraction(repr(number)) for number in (low, high, step))
    count = (last - first) / gap
    if count.denominator != 1:
        whole = int(count)
        near = tuple(f"{float(first + gap * steps):g}" for steps in (whole, whole + 1) if steps)
        return "range", "high is a whole number of steps above low", f"{low} to {high} in steps of {step}", near
    if count >= maximum:
        return "range", f"a range has at most {maximum:,} numbers", f"{int(count) + 1:,}", ("a larger step",)
    whole_numbers = all(isinstance(number, int) for number in (low, high, step))
    exact = (first + gap * index for index in range(int(count) + 1))
    values = tuple(int(value) if whole_numbers else float(value) for value in exact)
    return Range(values[0], values[-1], step, log, values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
