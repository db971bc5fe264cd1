"""Reading YAML: the language that is accepted, and every refusal with its rule, place and what was found."""

import os
from pathlib import Path

import pytest

from archspec.errors import Location, Problem, SpecError
from archspec.schema.located import locate
from archspec.schema.problems import MAXIMUM_PROBLEMS
from archspec.schema.source import MAXIMUM_BYTES, read_file, read_text


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


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *(
            ("1e-6", 1e-6),
            ("1.0e-6", 1e-6),
            ("1E5", 1e5),
            ("5e3", 5000.0),
            (".5", 0.5),
            ("2.", 2.0),
            ("-1.5", -1.5),
        ),
        *(("7", 7), ("+7", 7), ("-7", -7), ("010", 10), ("0o10", 8), ("0xff", 255), ("9" * 18, 10**18 - 1)),
        *(("true", True), ("False", False), ("null", None), ("~", None), ("", None)),
        *((word, word) for word in ("no", "yes", "on", "off", "y", "nothing", "=", "1:30", "1_000", "0b1", "0o9")),
        *((word, word) for word in ("2020-01-01", "2020-01-01 10:00:00", "1e", "e5", "0x", "nan", "1.2.3", "-")),
        *((f'"{word}"', word) for word in ("7", "true", "null", "<<", "1e5")),
        ("arXiv:2106.04263, Table 7", "arXiv:2106.04263, Table 7"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_scalars_follow_the_core_schema(written: str, value: object) -> None:
    if written == "-":
        written = "'-'"
    read = read_text(f"key: {written}")["key"]
    assert read == value
    assert type(read) is type(value)


def test_anchors_aliases_and_merge_keys() -> None:
    text = "base: &base {a: 1, b: {c: 2}}\nuse: *base\nmore:\n  <<: *base\n  a: 3\n"
    text += "list: {<<: [{z: 1}, *base, {z: 2}]}\n"
    data = read_text(text, "f")
    assert data["use"] == {"a": 1, "b": {"c": 2}}
    assert data["more"] == {"a": 3, "b": {"c": 2}}
    assert data["list"] == {"z": 1, "a": 1, "b": {"c": 2}}
    assert data["use"] is not data["base"]
    assert data["more"]["b"] is not data["base"]["b"]
    assert locate(data, ("more", "a")) == Location("f", 5, 6)
    assert locate(data, ("more", "b", "c")) == Location("f", 1, 27)


@pytest.mark.parametrize(
    ("text", "where", "rule", "found"),
    [
        ("", (1, 1), "one mapping", "an empty file"),
        ("# only this\n", (2, 1), "one mapping", "an empty file"),
        ("---\n", (2, 1), "one mapping", "nothing"),
        ("- a\n", (1, 1), "one mapping", "a list"),
        ("text\n", (1, 1), "one mapping", "text"),
        ("a: 1\n---\nb: 2\n", (2, 1), "one document", "---"),
        ("a: [1, 2\nb: 3\n", (2, 2), "valid YAML", "b: 3"),
        ("a: b: c\n", (1, 5), "quote the text", "a: b: c"),
        ("a:\n\tb: 1\n", (2, 1), "not with tabs", "b: 1"),
        ('a: "\\UFFFFFFFF"\n', (1, 7), "out of range", "UFFFFFFFF"),
        ("a: 1\nb: 2\n a: 3\n", (3, 3), "valid YAML", ""),
        ("a: 1\nb: \x07\n", (2, 4), "printable", "U+0007"),
        ('a: "\\ud800"\n', (1, 4), "surrogates", "\\ud800"),
        ("width: 1\nb: 2\nwidth: 3\n", (3, 1), "`width` is already on line 1", "width"),
        ("<<: {}\n<<: {}\n", (2, 1), "`<<` is already on line 1", "<<"),
        ("a: *x\n", (1, 4), "an anchor written before it", "*x"),
        ("a: &x 1\nb: &x 2\n", (2, 4), "`&x` is already on line 1", "&x"),
        ("a: &x [1, {b: *x}]\n", (1, 15), "cannot contain itself", "*x"),
        ("a: !!python/object/apply:os.system [ls]\n", (1, 4), "tags", "!!python/object/apply:os.system"),
        ("a: !foo 5\n", (1, 4), "tags", "!foo"),
        ("a: !!int five\n", (1, 4), "tags", "!!int"),
        ("a: ! 5\n", (1, 4), "tags", "!"),
        ("1: a\n", (1, 1), "a key that reads as int is written in quotes", "1"),
        ("a: {true: a}\n", (1, 5), "reads as bool", "true"),
        ("~: a\n", (1, 1), "reads as null", "~"),
        ("[a]: b\n", (1, 1), "a key is text", "a list"),
        ("? {a: 1}\n: b\n", (1, 3), "a key is text", "a mapping"),
        ("a: .nan\n", (1, 4), "finite", ".nan"),
        ("a: [1, -.inf]\n", (1, 8), "finite", "-.inf"),
        ("a: 1e999\n", (1, 4), "finite", "1e999"),
        (f"a: {10**18}\n", (1, 4), "18 digits", "1000000000000000000"),
        (f"a: {'9' * 5000}\n", (1, 4), "18 digits", "9999"),
        ("a: 0xffffffffffffffff\n", (1, 4), "18 digits", "0xffff"),
        ("<<: 4\n", (1, 5), "`<<` merges", "4"),
        ("<<: [{}, 5]\n", (1, 10), "`<<` merges", "5"),
    ],
)
def test_refusals_name_rule_place_and_what_was_found(text: str, where: tuple[int, int], rule: str, found: str) -> None:
    problem = refusal(text)
    assert place(problem) == where
    assert rule in problem.rule
    assert found in problem.found
    assert len(str(problem)) < 500


def test_an_unknown_alias_names_the_nearest_anchor() -> None:
    assert refusal("a: &window 1\nb: *windw\n").nearest == ("window",)


def test_all_problems_of_a_file_are_reported_at_once_in_order() -> None:
    with pytest.raises(SpecError) as caught:
        read_text("a: .nan\nb: {c: 1, c: 2}\n3: x\nd: !t [1e999]\ne: *x\n", "x.yaml")
    assert [place(problem) for problem in caught.value.problems] == [
        (1, 4),
        (2, 11),
        (3, 1),
        (4, 4),
        (4, 8),
        (5, 4),
    ]
    assert [problem.path for problem in caught.value.problems] == ["a", "b.c", "", "", "d.0", ""]


def test_a_mistake_in_an_anchor_is_one_problem_however_often_it_is_used() -> None:
    assert place(refusal("a: &x {b: .inf}\nc: *x\nd: [*x, *x]\n")) == (1, 11)


def test_thousands_of_problems_are_counted_not_printed() -> None:
    with pytest.raises(SpecError) as caught:
        read_text("a: 1\n" * 3000)
    assert len(caught.value.problems) == MAXIMUM_PROBLEMS + 1
    assert "2,899 more problems" in caught.value.problems[-1].rule


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_bytes("\ufeffname: é\nwidth: 96\n".encode())
    data = read_file(path)
    assert data == {"name": "é", "width": 96}
    assert locate(data, ("name",)) == Location(str(path), 1, 7)
    path.write_bytes(b"name: dw\r\nwidth: 96\r\n")
    assert locate(read_file(path), ("width",)) == Location(str(path), 2, 8)


@pytest.mark.parametrize(
    ("content", "where", "rule"),
    [
        (b"a: 1\nb\xc3\xa9: \xff\n", (2, 5), "UTF-8"),
        (b"\xef\xbb\xbfa: \xff\n", (1, 4), "UTF-8"),
        ("a: 1".encode("utf-16"), (1, 1), "UTF-8"),
        (b"a: \x00\n", (1, 4), "printable"),
    ],
)
def test_contents_that_are_not_text(tmp_path: Path, content: bytes, where: tuple[int, int], rule: str) -> None:
    path = tmp_path / "net.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=rule) as caught:
        read_file(path)
    assert caught.value.problems[0].location == Location(str(path), *where)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "swin_tiny.yaml").write_text("a: 1\n")
    with pytest.raises(SpecError, match="No such file") as caught:
        read_file(tmp_path / "swin_tny.yaml")
    assert caught.value.problems[0].nearest == (str(tmp_path / "swin_tiny.yaml"),)
    with pytest.raises(SpecError, match="a directory"):
        read_file(tmp_path)
    with pytest.raises(SpecError, match="null"):
        read_file(Path("a\0b"))
    with pytest.raises(SpecError, match="exist"):
        read_file(tmp_path / "swin_tiny.yaml" / "below.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(SpecError, match="not a regular file"):
        read_file(tmp_path / "pipe.yaml")


def test_files_over_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"a: 1 #" + b"x" * (MAXIMUM_BYTES - 6))
    assert read_file(path) == {"a": 1}
    path.write_bytes(b"a: 1 #" + b"x" * (MAXIMUM_BYTES - 5))
    with pytest.raises(SpecError, match="1,000,000 bytes"):
        read_file(path)
    with pytest.raises(SpecError, match="1,000,000 bytes"):
        read_text("é" * (MAXIMUM_BYTES // 2 + 1))
