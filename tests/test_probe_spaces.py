"""Which space positions that were read are: kernels, rings, larger maps, causal masks; and the holes in them."""

from collections.abc import Callable

import pytest

from archspec.probe.facts import Footprint, Hole, Map, Position
from archspec.probe.spaces import fit

Reads = Callable[[Position, Position], bool]


def fitted(reads: Reads, source: Position, target: Position | None = None) -> tuple[str, tuple[Hole, ...]]:
    outgoing = target or source
    read = [
        Footprint((r, c), tuple((a, b) for a in range(source[0]) for b in range(source[1]) if reads((r, c), (a, b))))
        for r in range(outgoing[0])
        for c in range(outgoing[1])
    ]
    found, holes = fit(read, Map(*source, 1), Map(*outgoing, 1))
    return str(found.space), holes


def along(test: Callable[[int, int], bool]) -> Reads:
    """The same relation over rows and over columns."""
    return lambda i, j: all(test(a, b) for a, b in zip(i, j, strict=True))


def near(i: Position, j: Position) -> bool:
    return all(abs(a - b) <= 1 for a, b in zip(i, j, strict=True))


SPACES: dict[str, tuple[Reads, Position, Position | None]] = {
    "sliding 3x3, around the border": (along(lambda a, b: (a - b + 1) % 9 <= 2), (9, 9), None),
    "sliding 1x1, beginning at offset (-1, -2), around the border": (
        lambda i, j: j == ((i[0] - 1) % 8, (i[1] - 2) % 8), (8, 8), None,
    ),
    "sliding 3x3, beginning at offset (0, 0)": (along(lambda a, b: 0 <= b - a <= 2), (10, 10), (8, 8)),
    "sliding 3x3, stride 2x2": (along(lambda a, b: 0 <= b - 2 * a <= 2), (8, 8), (3, 3)),
    "point, onto a map 2x2 times larger": (along(lambda a, b: b == a // 2), (6, 6), (12, 12)),
    "sliding 2x2, onto a map 2x2 times larger": (along(lambda a, b: a + 1 - 2 * b in range(4)), (6, 6), (12, 12)),
    "causal": (lambda i, j: j <= i, (4, 4), None),
    "sliding 3x3, without (0, 1)": (
        lambda i, j: near(i, j) and (j[0] - i[0], j[1] - i[1]) != (0, 1), (9, 9), None,
    ),
    "sliding 5x5, 13 of 25 offsets": (
        lambda i, j: sum(abs(a - b) for a, b in zip(i, j, strict=True)) <= 2, (11, 11), None,
    ),
    "sliding 2x3, beginning at offset (-1, -1), without (0, 0), (0, 1)": (
        lambda i, j: near(i, j) and j < i, (9, 9), None,
    ),
    "window 4x6": (lambda i, j: i[0] // 4 == j[0] // 4 and i[1] // 6 == j[1] // 6, (8, 12), None),
    "sliding 1x3": (near, (1, 16), None),
    "point": (lambda i, j: i == j, (1, 16), None),
}  # fmt: skip


@pytest.mark.parametrize("words", SPACES)
def test_a_space_without_holes_is_named(words: str) -> None:
    reads, source, target = SPACES[words]
    assert fitted(reads, source, target) == (words, ())


def test_a_causal_row_is_no_kernel_as_long_as_the_row() -> None:
    assert fitted(lambda i, j: j <= i, (1, 20)) == ("causal", ())


@pytest.mark.parametrize(
    ("edit", "hole"),
    [
        (lambda read, i, j: read or (i, j) == ((1, 1), (7, 8)), Hole("extra", (1, 1), (7, 8))),
        (lambda read, i, j: read and i != (4, 4), Hole("output", (4, 4))),
        (lambda read, i, j: read and j != (2, 3), Hole("input", input=(2, 3))),
        (lambda read, i, j: read and (i, j) != ((3, 3), (3, 4)), Hole("entry", (3, 3), (3, 4))),
    ],
    ids=["far edge", "output", "input", "entry"],
)
def test_a_single_hole_changes_no_space(edit: Callable[[bool, Position, Position], bool], hole: Hole) -> None:
    assert fitted(lambda i, j: edit(near(i, j), i, j), (9, 9)) == ("sliding 3x3", (hole,))


def test_a_few_scattered_entries_are_no_space() -> None:
    assert fitted(lambda i, j: (7 * i[0] + 11 * i[1] + 5 * j[0] + 3 * j[1]) % 13 == 0, (8, 8)) == ("irregular", ())
