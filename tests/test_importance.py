"""Importance against textbook formulas, leaving out by hand, and designs whose answer is known."""

import numpy as np
import pytest

from archspec.results.importance import MOST_VALUES, Importance, Share, importance
from archspec.results.records import Gene

AXES = {"space": "connectivity", "sharing": "sharing", "width": "size"}
Points = list[tuple[dict[str, Gene], float]]


def random_points(count: int, seed: int = 0, effect: float = 1.0) -> Points:
    generator = np.random.default_rng(seed)
    gains = {"window": -effect, "sliding": effect, "full": 0.0}
    points: Points = []
    for _ in range(count):
        space = str(generator.choice(list(gains)))
        genes: dict[str, Gene] = {"space": space, "sharing": bool(generator.integers(2))}
        points.append((genes, gains[space] + float(generator.normal())))
    return points


def share_of(found: Importance, gene: str) -> Share:
    return next(share for share in found.genes if share.name == gene)


def epsilon_squared(labels: list[str], values: np.ndarray) -> float:
    """Kelley 1935, written from the sums of squares."""
    groups = [values[[label == name for label in labels]] for name in set(labels)]
    total = float(np.sum((values - values.mean()) ** 2))
    within = sum(float(np.sum((group - group.mean()) ** 2)) for group in groups)
    mean_within = within / (len(values) - len(groups))
    return (total - within - (len(groups) - 1) * mean_within) / total


def test_one_gene_is_kelleys_epsilon_squared() -> None:
    points = random_points(40)
    expected = epsilon_squared([str(genes["space"]) for genes, _ in points], np.array([value for _, value in points]))
    assert share_of(importance(points, AXES), "space").share == pytest.approx(expected, abs=1e-12)


def test_the_interval_is_the_jackknifes() -> None:
    points = random_points(25, seed=3)
    points[4][0]["space"] = "alone"  # a level with one trial: leaving it out takes the level away
    found = share_of(importance(points, AXES), "space")
    estimates = np.array(
        [share_of(importance(points[:place] + points[place + 1 :], AXES), "space").share for place in range(25)]
    )
    error = float(np.sqrt(24 / 25 * np.sum((estimates - estimates.mean()) ** 2)))
    assert found.share is not None
    assert found.low == pytest.approx(found.share - 1.96 * error, abs=1e-9)
    assert found.high == pytest.approx(found.share + 1.96 * error, abs=1e-9)


def test_the_gene_that_matters_is_found_and_the_other_is_not() -> None:
    found = importance(random_points(120), AXES)
    assert [share.name for share in found.genes] == ["space", "sharing"]
    assert share_of(found, "space").is_beyond_chance
    assert not share_of(found, "sharing").is_beyond_chance
    # variance 2/3 of the effects against 1 of the noise
    assert share_of(found, "space").share == pytest.approx(0.4, abs=0.1)
    levels = share_of(found, "space").levels
    assert [level.name for level in levels] == ["sliding", "full", "window"]
    assert sum(level.count for level in levels) == 120


def test_no_effect_averages_to_nothing_and_passes_chance_rarely() -> None:
    shares = [share_of(importance(random_points(30, seed, 0.0), AXES), "space") for seed in range(60)]
    assert abs(np.mean([share.share for share in shares])) < 0.03
    assert sum(share.is_beyond_chance for share in shares) <= 8  # 5 % expected: 3; 8 or fewer in 99.5 %


def test_an_axis_adds_up_its_genes() -> None:
    generator = np.random.default_rng(1)
    points: Points = []
    for _ in range(200):
        first, second = bool(generator.integers(2)), bool(generator.integers(2))
        points.append(({"a": first, "b": second}, first + second + float(generator.normal(0, 0.1))))
    found = importance(points, {"a": "connectivity", "b": "connectivity"})
    assert [axis.name for axis in found.axes] == ["connectivity"]
    axis = found.axes[0].share
    assert axis is not None
    assert axis > 0.97
    assert axis == pytest.approx(sum(share.share or 0.0 for share in found.genes), abs=0.05)


def test_axes_come_in_their_order_and_unknown_genes_are_other() -> None:
    genes: dict[str, Gene] = {"width": 1, "space": 2, "sharing": 3, "mystery": 4}
    found = importance([(genes, 1.0)] * 9, AXES)
    assert [axis.name for axis in found.axes] == ["connectivity", "sharing", "size", "other"]


def test_a_conditional_gene_is_absent_elsewhere() -> None:
    points: Points = [({"space": "window", "size": 4 + i % 2}, float(i % 2)) for i in range(10)]
    points += [({"space": "point"}, 0.5) for _ in range(10)]
    found = share_of(importance(points, AXES), "size")
    assert {level.name for level in found.levels} == {"4", "5", "absent"}
    assert found.share == pytest.approx(1.0)


def test_a_number_with_many_values_is_cut_into_bins_of_equal_count() -> None:
    points: Points = [({"width": 8 * place}, float(place)) for place in range(30)]
    found = share_of(importance(points, AXES), "width")
    assert [level.count for level in found.levels] == [10, 10, 10]
    assert len(found.levels) < MOST_VALUES
    assert found.is_beyond_chance


@pytest.mark.parametrize(
    "points",
    [
        [],
        [({"space": "window"}, 0.5)],
        [({"space": "window"}, 0.1 * place) for place in range(20)],  # never varied
        [({"space": str(place)}, 0.1 * place) for place in range(20)],  # nothing left for the error
        [({"space": str(place % 2)}, 0.5) for place in range(20)],  # all values equal
        [({}, 0.1 * place) for place in range(20)],
    ],
)
def test_nothing_to_compare_is_none_not_a_number(points: Points) -> None:
    found = importance(points, AXES)
    assert found.trials == len(points)
    assert all(share.share is None and not share.is_beyond_chance for share in (*found.genes, *found.axes))


def test_equal_seeds_give_equal_answers() -> None:
    points = random_points(40)
    assert importance(points, AXES, seed=5) == importance(points, AXES, seed=5)
    assert importance(points, AXES, seed=5) != importance(points, AXES, seed=6)
