"""Rungs and fronts against examples worked out by hand."""

import math
import random
from collections import Counter

import pytest

from archspec.search.pruning import ladder
from archspec.search.recipe import Recipe
from archspec.search.rungs import Brackets, Ladder, crowding, fronts_of, rungs, standing
from archspec.search.study import Pruner


@pytest.mark.parametrize(
    ("lowest", "epochs", "reduction", "levels"),
    [(1, 9, 3, (1, 3)), (1, 10, 3, (1, 3, 9)), (2, 6, 3, (2,)), (0, 4, 2, (1, 2)), (6, 6, 3, ()), (1, 1, 2, ())],
)
def test_levels(lowest: int, epochs: int, reduction: int, levels: tuple[int, ...]) -> None:
    assert rungs(lowest, epochs, reduction) == levels


def halving(levels: tuple[int, ...], reduction: int, startup: int = 0) -> Ladder:
    return Ladder(Brackets((levels,), (1,)), reduction, startup)


def test_one_in_three_goes_on_and_nobody_waits() -> None:
    """Seven trials at the rung of epoch 1, reduction 3. Places: 1 1 1 1 1 2 2.

    The first is alone and goes on; 0.4 is second; 0.6 is the best of three; 0.55 and 0.58 come after it; 0.1 is the
    last of six; 0.59 is second of seven, and two go on.
    """
    steps = halving((1, 3), 3)
    values = [0.5, 0.4, 0.6, 0.55, 0.58, 0.1, 0.59]
    found = [steps.goes_on(trial, 1, (value,)) for trial, value in enumerate(values)]
    assert found == [True, False, True, False, False, False, True]
    assert steps.goes_on(0, 2, (0.0,))  # no rung
    assert steps.goes_on(0, 3, (0.7,))  # the first to come here
    assert not steps.goes_on(2, 3, (0.6,))
    assert steps.goes_on(2, 3, (0.8,))  # reported again: it is one trial, not two


def test_nobody_is_stopped_before_enough_have_come() -> None:
    steps = halving((1,), 2, startup=3)
    assert [steps.goes_on(trial, 1, (-float(trial),)) for trial in range(4)] == [True, True, False, False]


def test_brackets_are_those_of_the_paper() -> None:
    """Li et al. 2018, table 1: R = 81, reduction 3, brackets of 81, 34, 15, 8 and 5 trials."""
    found = Brackets.of(rungs(1, 81, 3), 3)
    assert found.shares == (81, 34, 15, 8, 5)
    assert found.levels == ((1, 3, 9, 27), (3, 9, 27), (9, 27), (27,), ())
    whole_round = [found.bracket(trial) for trial in range(143)]
    assert tuple(Counter(whole_round)[bracket] for bracket in range(5)) == found.shares
    assert whole_round == [found.bracket(trial) for trial in range(143, 286)]
    for share, count in zip(found.shares, (Counter(whole_round[:72])[each] for each in range(5)), strict=True):
        assert abs(count - share * 72 / 143) <= 1  # half a round has half of each


def test_trials_of_a_bracket_are_compared_with_each_other_only() -> None:
    """R = 9, reduction 3: rounds of 9, 5 and 3 trials."""
    steps = Ladder(Brackets.of(rungs(1, 9, 3), 3), 3)
    assert steps.brackets.shares == (9, 5, 3)
    by_bracket = {bracket: [t for t in range(17) if steps.brackets.bracket(t) == bracket] for bracket in range(3)}
    assert all(steps.goes_on(trial, 1, (0.0,)) for trial in by_bracket[1] + by_bracket[2])
    assert all(steps.goes_on(trial, 3, (0.0,)) for trial in by_bracket[2])
    assert steps.goes_on(by_bracket[0][0], 3, (0.9,))
    assert steps.goes_on(by_bracket[1][0], 3, (0.1,))  # the best of its bracket
    assert not steps.goes_on(by_bracket[0][1], 3, (0.8,))


def test_equal_trials_are_not_ahead_of_each_other() -> None:
    assert [standing([(1.0,), (1.0,), (2.0,)], number) for number in range(3)] == [1, 1, 0]


def test_with_two_objectives_who_is_dominated_stops() -> None:
    """Accuracy and minus the cost; one in two goes on."""
    steps = halving((1,), 2)
    assert steps.goes_on(0, 1, (0.5, -10.0))
    assert steps.goes_on(1, 1, (0.3, -5.0))  # worse and cheaper: nobody is ahead of it, both are ends of the front
    assert not steps.goes_on(2, 1, (0.2, -6.0))  # dominated by the second
    assert steps.goes_on(3, 1, (0.9, -4.0))  # dominates all
    assert not steps.goes_on(4, 1, (0.4, -9.0))  # on the second front with two others, which are its ends


@pytest.mark.parametrize(
    ("pruner", "recipe", "levels"),
    [
        (Pruner(), Recipe(epochs=9), ((),)),
        (Pruner(name="median", warmup=2), Recipe(epochs=6), ((3, 4, 5),)),
        (Pruner(name="successive_halving"), Recipe(epochs=9), ((1, 3),)),
        (Pruner(name="successive_halving"), Recipe(epochs=9, rungs=({"epochs": 2}, {"epochs": 5})), ((2, 5),)),
        (Pruner(name="hyperband"), Recipe(epochs=9), ((1, 3), (3,), ())),
    ],
)
def test_a_pruner_has_its_rungs(pruner: Pruner, recipe: Recipe, levels: tuple[tuple[int, ...], ...]) -> None:
    assert ladder(pruner, recipe).brackets.levels == levels


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
