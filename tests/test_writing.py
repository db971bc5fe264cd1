"""Writing YAML: what is written reads back as the same data, in the shape that people write."""

import math
import textwrap

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from archspec.errors import SpecError
from archspec.schema.composer import MAXIMUM_DEPTH
from archspec.schema.source import read_text
from archspec.schema.writing import WIDTH, dump_yaml, one_line

TROUBLESOME = (
    "no",
    "<<",
    "=",
    "---",
    "...",
    "1e3",
    "0x1",
    "null",
    ".inf",
    "~",
    "1_000",
    "1:30",
    "a: b",
    "a #b",
    "-",
)
TEXT = (
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.text(" \n\t:-#?,[]{}&*!|>'\"%@`ab01.e+~<=\x85\u2028\ufeffé\x7f\r\ufffe")
    | st.text("ab \n", min_size=90, max_size=300)
    | st.sampled_from(TROUBLESOME)
)
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(1 - 10**18, 10**18 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
DATA = st.dictionaries(
    TEXT,
    st.recursive(SCALAR, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20),
    max_size=6,
)


def with_types(value: object) -> object:
    """The value with everything in it that `==` does not see: types, order of keys, the sign of zero."""
    if isinstance(value, dict):
        return [(key, with_types(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [with_types(item) for item in value]
    return type(value), repr(value)


@settings(max_examples=120, deadline=None)
@given(DATA)
@example({"a": -0.0, "b": 5e-324, "c": 1e22, "d": 1.0, "e": 1, "f": True})
@example({"a": [[], {}, [[]], {"b": {}}]})
@example({"k" * 2000: {"l" * 2000: "text"}})
def test_what_is_written_reads_back(data: dict[str, object]) -> None:
    assert with_types(read_text(dump_yaml(data))) == with_types(data)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(TROUBLESOME), st.sampled_from(TROUBLESOME) | st.floats(1e-300, 1e300)))
def test_a_yaml_1_1_reader_understands_the_same(data: dict[str, object]) -> None:
    assert yaml.safe_load(dump_yaml(data)) == data


def test_the_shape_is_that_of_files_written_by_hand() -> None:
    text = textwrap.dedent(
        """\
        archspec: 1
        name: dw_conv_tiny
        source: "arXiv:2106.04263, Table 7"
        description: |
          Two lines,
            one indented.
        input: {size: 224, channels: 3}
        rate: 1.0e-06
        stages:
          - {width: 96, depth: 2, block: dw}
          - {width: 192, depth: 2, block: [dw, dw]}
        nothing: {}
        blocks:
          dw:
            - residual:
                - linear: {bias: false}
                - norm: batch
                - connect:
                    connectivity: {space: {sliding: 7}, channels: separate}
                    sharing: {positions: offsets}
                    weights: static
                - scale: {init: 0.01}
            - residual:
                - norm: batch
                - mlp: {ratio: 4, act: gelu}
        """
    )
    assert dump_yaml(read_text(text)) == text


def test_tuples_are_written_as_lists() -> None:
    assert dump_yaml({"size": (7, 7)}) == "size: [7, 7]\n"


def test_lines_stay_short_where_they_can() -> None:
    data = {"layers": [{f"key_{i}": i * 1000 for i in range(n)} for n in range(2, 30)]}
    assert max(map(len, dump_yaml(data).splitlines())) <= WIDTH + 4
    assert read_text(dump_yaml(data)) == data


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (math.nan, "finite"),
        (-math.inf, "finite"),
        (10**18, "18 digits"),
        ("\ud800", "surrogates"),
        (b"bytes", "YAML holds"),
        ({1: 2}, "a key is text"),
        ({1, 2}, "YAML holds"),
    ],
)
def test_what_the_language_lacks_is_refused_with_its_path(value: object, rule: str) -> None:
    with pytest.raises(SpecError, match=rule) as caught:
        dump_yaml({"a": [0, {"b": value}]})
    assert caught.value.problems[0].path == "a.1.b"


def test_all_of_it_is_refused_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        dump_yaml({"a": math.nan, "b": [object()]})
    assert [problem.path for problem in caught.value.problems] == ["a", "b.0"]


def test_data_too_deep_or_endless_is_refused() -> None:
    deep: list[object] = []
    for _ in range(MAXIMUM_DEPTH - 2):
        deep = [deep]
    assert read_text(dump_yaml({"a": deep})) == {"a": deep}
    with pytest.raises(SpecError, match="deep"):
        dump_yaml({"a": [deep]})
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(SpecError, match="deep"):
        dump_yaml({"a": endless})


def test_one_line_shows_anything() -> None:
    assert one_line({"size": 7, "stride": (2, 2), "on": None}) == '{size: 7, stride: [2, 2], "on": null}'
    assert one_line([math.nan, math.inf, "7", 7, True]) == '[.nan, .inf, "7", 7, true]'
    assert one_line({1: object}) == "{1: <class 'object'>}"
