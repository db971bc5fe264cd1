"""Rungs and fronts against examples worked out by hand."""

import math
import random

import pytest

from archspec.search.rungs import Ladder, crowding, fronts_of, rungs, standing


@pytest.mark.parametrize(
    ("lowest", "epochs", "reduction", "levels"),
    [(1, 9, 3, (1, 3)), (1, 10, 3, (1, 3, 9)), (2, 6, 3, (2,)), (0, 4, 2, (1, 2)), (6, 6, 3, ()), (1, 1, 2, ())],
)
def test_levels(lowest: int, epochs: int, reduction: int, levels: tuple[int, ...]) -> None:
    assert rungs(lowest, epochs, reduction) == levels


def test_one_in_three_goes_on_and_nobody_waits() -> None:
    """Six trials at the rung of epoch 1, reduction 3. Places: 1 1 1 2 2 2."""
    ladder = Ladder((1, 3), 3)
    values = [0.5, 0.4, 0.6, 0.55, 0.58, 0.1]
    #         first  2nd of 2  best  2nd of 4, third of 4?  2nd of 5  last
    assert [ladder.goes_on(1, (value,)) for value in values] == [True, False, True, True, True, False]
    assert ladder.goes_on(2, (0.0,))  # no rung
    assert ladder.goes_on(3, (0.0,))  # the first to come here
    assert not ladder.goes_on(3, (-1.0,))


def test_equal_trials_are_not_ahead_of_each_other() -> None:
    assert [standing([(1.0,), (1.0,), (2.0,)], number) for number in range(3)] == [1, 1, 0]


def test_with_two_objectives_who_is_beaten_stops() -> None:
    ladder = Ladder((1,), 2)
    assert ladder.goes_on(1, (0.5, -10.0))
    assert ladder.goes_on(1, (0.3, -5.0))  # worse and cheaper: both are on the front, and its ends
    assert not ladder.goes_on(1, (0.2, -6.0))  # beaten by the second: third of three, two places
    assert ladder.goes_on(1, (0.9, -4.0))  # beats all


def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_fronts_are_what_is_left_when_those_before_are_taken_out(objectives: int) -> None:
    rng = random.Random(objectives)
    for _ in range(20):
        seen = [tuple(float(rng.randrange(5)) for _ in range(objectives)) for _ in range(15)]
        expected, left, front = [-1] * len(seen), set(range(len(seen))), 0
        while left:
            best = {i for i in left if not any(beats(seen[j], seen[i]) for j in left)}
            for each in best:
                expected[each] = front
            left, front = left - best, front + 1
        assert fronts_of(seen) == expected


def test_crowding_of_an_even_front_and_of_equal_points() -> None:
    even = [(0.0, 3.0), (1.0, 2.0), (2.0, 1.0), (3.0, 0.0)]
    ends, middle = crowding(even)[0], crowding(even)[1]
    assert ends == math.inf
    assert middle == pytest.approx(4 / 3)
    assert crowding([(1.0, 1.0)] * 3)[1] == 0.0
