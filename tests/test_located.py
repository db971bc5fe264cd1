"""Located data: the place of every key and value to the column, kept by copies and by trees put together."""

import copy
import pickle

import pytest

from archspec.errors import Location
from archspec.schema.located import LocatedDict, LocatedList, locate, locate_key, mark
from archspec.schema.source import read_text


def test_every_key_and_value_knows_its_line_and_column() -> None:
    stages = "  - {width: 96, block: [a, bb]}\n  - width: 192\n    block: a\n"
    text = f"name: dw\nstages:\n{stages}last: 'é' # x\nend: 1\n"
    data = read_text(text, "net.yaml")
    expected_values = {
        (): (1, 1),
        ("name",): (1, 7),
        ("stages",): (3, 3),
        ("stages", 0): (3, 5),
        ("stages", 0, "width"): (3, 13),
        ("stages", 0, "block", 1): (3, 28),
        ("stages", 1): (4, 5),
        ("stages", 1, "block"): (5, 12),
        ("end",): (7, 6),
    }
    for path, (line, column) in expected_values.items():
        assert locate(data, path) == Location("net.yaml", line, column), path
    for path, (line, column) in {
        ("stages",): (2, 1),
        ("stages", 0, "block"): (3, 17),
        ("end",): (7, 1),
    }.items():
        assert locate_key(data, path) == Location("net.yaml", line, column), path


def test_a_path_that_leaves_the_data_gets_the_deepest_place_there_is() -> None:
    data = read_text("a:\n  b: [1, 2]\n", "f")
    assert locate(data, ("a", "b", 7, "c")) == Location("f", 2, 6)
    assert locate(data, ("a", "x")) == Location("f", 2, 3)
    assert locate_key(data, ("a", "b", 0)) == Location("f", 2, 7)
    assert locate_key(data, ("a", "x", "y")) == Location("f", 2, 3)
    assert locate({"a": [1]}, ("a", 0)) is None


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, lambda data: pickle.loads(pickle.dumps(data))])
def test_copies_keep_their_marks(duplicate) -> None:
    data = read_text("a: {b: [1, {c: 2}]}\n", "f")
    copied = duplicate(data)
    assert copied == data
    assert locate(copied, ("a", "b", 1, "c")) == Location("f", 1, 16)
    assert locate_key(copied, ("a", "b", 1, "c")) == Location("f", 1, 13)
    copied.put("a", 5, Location("g", 9, 9))
    assert locate(data, ("a",)) == Location("f", 1, 4)
    assert locate(copied, ("a",)) == Location("g", 9, 9)
    assert locate_key(copied, ("a",)) == Location("g", 9, 9)


def test_deepcopy_shares_nothing() -> None:
    data = read_text("a: {b: [1]}\n")
    copied = copy.deepcopy(data)
    copied["a"]["b"].append(2)
    assert data == {"a": {"b": [1]}}


def test_trees_from_several_files_keep_the_places_of_each() -> None:
    base, space = (
        read_text("stages: [{width: 1}]\n", "base.yaml"),
        read_text("hole:\n  window: 7\n", "space.yaml"),
    )
    base["stages"][0].put("block", space["hole"], locate(space, ("hole",)))
    base["stages"].add({"width": 2})
    assert locate(base, ("stages", 0, "block", "window")) == Location("space.yaml", 2, 11)
    assert locate(base, ("stages", 0, "width")) == Location("base.yaml", 1, 18)
    assert locate(base, ("stages", 1, "width")) == Location("base.yaml", 1, 9)


def test_mark_gives_plain_data_a_place_and_leaves_the_places_there_are() -> None:
    here = Location("sample", 1, 1)
    marked = mark({"plain": [1, {"x": 2}], "read": read_text("a: 1", "f")}, here)
    assert isinstance(marked, LocatedDict)
    assert isinstance(marked["plain"], LocatedList)
    assert locate(marked, ("plain", 1, "x")) == here == locate_key(marked, ("plain", 1, "x"))
    assert locate(marked, ("read", "a")) == Location("f", 1, 4)
