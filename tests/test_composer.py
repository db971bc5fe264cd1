"""Hostile YAML: bounds on size and depth hold in little time, and nothing but SpecError is ever raised."""

import sys
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from archspec.errors import Problem, SpecError
from archspec.schema.composer import MAXIMUM_DEPTH, MAXIMUM_NODES
from archspec.schema.located import LocatedDict
from archspec.schema.source import read_file, read_text

# What YAML readers choke on: indicators, indents, breaks of every kind, escapes, directives.
FRAGMENTS = (
    *("a", "b: ", "- ", "? ", ": ", "[", "]", "{", "}", ",", "&a ", "*a", "<<: ", "!x ", "!!int "),
    *("|", ">-\n", "\n", "\n  ", "\n ", "\t", "'", '"', "\\", "\\x4", "\\UFFFFFFFF", "#", " #"),
    *("%YAML 1.1", "---", "...", "1e999", "0x", ".nan", "~", "9" * 30, "`", "@", "é", "😀"),
    *("\x00", "\x85", "\u2028", "\ufeff", "\ud800"),
)
YAML_SOUP = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)


def refusal(text: str) -> Problem:
    """The one problem of a text."""
    with pytest.raises(SpecError) as caught:
        read_text(text, "x.yaml")
    (problem,) = caught.value.problems
    return problem


def place(problem: Problem) -> tuple[int, int]:
    assert problem.location is not None
    assert problem.location.file == "x.yaml"
    return problem.location.line, problem.location.column


def test_a_billion_laughs_are_refused_before_they_are_built() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    problem = refusal("\n".join(lines))
    assert f"{MAXIMUM_NODES:,}" in problem.rule
    assert place(problem)[0] == 5  # 10 + 111 * 10 ... passes 100,000 in the fifth line


def test_a_long_chain_of_doublings_is_refused() -> None:
    lines = ["a0: &a0 []", *(f"a{n + 1}: &a{n + 1} {{l: *a{n}, r: *a{n}}}" for n in range(5000))]
    assert "at most" in refusal("\n".join(lines)).rule


@pytest.mark.parametrize("unit", ["[", "{a: ", "- ", "? ", "[[], ", "{? "])
def test_deep_nesting_is_refused_without_recursion(unit: str) -> None:
    limit = sys.getrecursionlimit()
    problem = refusal(unit * 100_000)
    assert f"at most {MAXIMUM_DEPTH} deep" in problem.rule
    assert sys.getrecursionlimit() == limit


def test_depth_counts_through_aliases() -> None:
    half = MAXIMUM_DEPTH // 2
    fits = f"a: &a {'[' * (half - 1)}{']' * (half - 1)}\nb: {'[' * half}*a{']' * half}\n"
    assert read_text(fits)["b"]
    assert "deep" in refusal(fits.replace("b: [", "b: [[").replace("*a]", "*a]]")).rule


def test_the_deepest_legal_file_is_read() -> None:
    inner = MAXIMUM_DEPTH - 1
    assert read_text(f"a: {'[' * inner}{']' * inner}")
    assert "deep" in refusal(f"a: {'[' * (inner + 1)}{']' * (inner + 1)}").rule


def test_values_are_counted_with_aliases_written_out() -> None:
    # The root, two keys, a list and its 999 items, the second list, 98 copies of the first in it.
    text = f"a: &a [{', '.join('1' * 999)}]\nb: [{', '.join(['*a'] * 98)}"
    room = MAXIMUM_NODES - (1 + 2 + 1000 + 1 + 98 * 1000)
    assert len(read_text(f"{text}{', 1' * room}]")["b"]) == 98 + room
    problem = refusal(f"{text}{', 1' * (room + 1)}]")
    assert "100,000" in problem.rule
    assert place(problem)[0] == 2


@settings(max_examples=300, deadline=None)
@given(st.text() | YAML_SOUP)
@example("a: !<tag:yaml.org,2002:int> x")
@example("%YAML " + "9" * 5000 + ".1\n---\na: 1")
@example("a: ! ")
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(SpecError):
        assert type(read_text(text)) is LocatedDict


@settings(max_examples=100, deadline=None)
@given(content=st.binary() | YAML_SOUP.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    with suppress(SpecError):
        assert type(read_file(path)) is LocatedDict
