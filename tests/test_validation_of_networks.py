"""Validation of whole networks: misspelt specs say what and where; no data raises anything but SpecError."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archspec.errors import SpecError
from archspec.schema.located import Located, exists
from archspec.schema.network import Network
from archspec.schema.source import read_text
from archspec.schema.validation import validate

SPEC = """\
archspec: 1
name: dw
input: {size: 224, channels: 3}
classes: 1000
stem: {patch: 4, norm: layer}
downsample: {merge: 2, norm: layer}
stages:
  - {width: 96, depth: 2, block: dw}
  - {width: 192, depth: 2, block: [dw, dw]}
blocks:
  dw:
    - residual:
        - linear: {bias: false}
        - norm: {batch: {}}
        - act: relu
        - connect:
            connectivity: {space: {sliding: {size: 7}}, channels: separate}
            sharing: {positions: offsets}
            weights: {pooled: {reduction: 4}}
    - residual: [{norm: batch}, {mlp: {ratio: 4, act: gelu}}]
"""
JUNK = st.recursive(
    st.sampled_from([None, True, -1, 0, 1, 1.5, 10**15, "", "x", "full", "pooled", "dw", "stage", "batch"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["size", "sliding", "norm", "connect", "x"]), inner, max_size=3)
    ),
    max_leaves=4,
)
PYDANTIC_WORDS = ("function-", "constrained-", "Input should", "<", "validator")


def every_path(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(data, Located):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield (*path, key)
            yield from every_path(value, (*path, key))


PATHS = tuple(every_path(read_text(SPEC)))


def test_the_spec_is_legal() -> None:
    assert validate(Network, read_text(SPEC)).name == "dw"


def test_three_misspelt_things() -> None:
    text = SPEC.replace("width: 96", "widht: 96").replace("act: relu", "act: rleu").replace("sliding:", "slidng:")
    with pytest.raises(SpecError) as caught:
        validate(Network, read_text(text, "net.yaml"))
    assert [
        (str(problem.location), problem.path, problem.found, problem.nearest[0]) for problem in caught.value.problems
    ] == [
        ("net.yaml:8:6", "stages.0.widht", "widht", "width"),
        ("net.yaml:15:16", "blocks.dw.0.residual.2.act", "rleu", "relu"),
        ("net.yaml:17:36", "blocks.dw.0.residual.3.connect.connectivity.space.slidng", "slidng", "sliding"),
    ]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), JUNK), min_size=1, max_size=3))
def test_whatever_stands_anywhere_is_valid_or_refused_in_plain_words(
    changes: list[tuple[tuple[str | int, ...], Any]],
) -> None:
    broken = copy.deepcopy(read_text(SPEC, "net.yaml"))
    for path, junk in changes:
        parent: Any = broken
        for step in path[:-1]:
            parent = parent[step] if exists(parent, step) else None
        if exists(parent, path[-1]):
            parent[path[-1]] = junk
    try:
        validate(Network, broken)
        problems = ()
    except SpecError as error:
        problems = error.problems
    for problem in problems:
        assert problem.location is not None
        assert problem.location.file == "net.yaml"
        assert not any(word in f"{problem.path} {problem.rule}" for word in PYDANTIC_WORDS), problem


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["name", "blocks", "stages", "stem", "input", "x"]), JUNK))
def test_any_mapping_without_a_version_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="archspec"):
        validate(Network, data)
