"""A kernel goes in; whether it is the op it claims to be comes out: the suite that any new kernel must pass.

    roster                connections that cover every legal combination of axis values, all sizes different
    step_roster           the ops around connections, and each of their options
    strategies            random legal layers for Hypothesis (needs the `test` extra, so import it by itself)
    check_kernel          values and all gradients against the oracle, in training and evaluation
    check_memory          no tensor as large as x unfolded, forward or backward

A new kernel is tested by `for case in roster(): check_kernel(kernel, case.op, dtype)`, over the cases that
its rule accepts; a new axis value adds its spellings to the roster and its meaning to archspec.reference.
"""

from archspec.testing.conformance import TOLERANCES, ConformanceError, Kernel, check_kernel, compare, outcome
from archspec.testing.layers import Layer, resolve_steps
from archspec.testing.memory import check_memory
from archspec.testing.roster import Case, memory_roster, roster
from archspec.testing.samples import BATCH, Sample, draw
from archspec.testing.steps import step_roster

__all__ = [
    "BATCH",
    "TOLERANCES",
    "Case",
    "ConformanceError",
    "Kernel",
    "Layer",
    "Sample",
    "check_kernel",
    "check_memory",
    "compare",
    "draw",
    "memory_roster",
    "outcome",
    "resolve_steps",
    "roster",
    "step_roster",
]
