"""What share of a search space is feasible, exactly or with an error, and what stands in the way where none is."""

from typing import Any

from small_space import HEAD

from archspec.search.space import count, feasible_share, nearest_to_feasible, point, points


def test_the_share_of_a_small_space_is_exact(space_of: Any) -> None:
    space = space_of(
        HEAD
        + """
network:
  stages: [{width: {range: [16, 64], step: 16}, depth: {range: [1, 2]}, block: dw}]
constraints: [params <= 20K, macs >= 1K]
"""
    )
    seen = feasible_share(space)
    by_hand = [point(space, values).cost for values in points(space)]
    assert seen.exact
    assert seen.points == len(by_hand) == 8
    assert seen.feasible == sum(cost.params <= 20_000 for cost in by_hand)
    assert 0 < seen.feasible < 8
    assert seen.interval == (seen.share, seen.share)
    assert seen.standard_error == 0
    assert seen.tightest == "params <= 20K"
    assert seen.costs["params"][0] == min(cost.params for cost in by_hand)
    assert seen.costs["params"][-1] == max(cost.params for cost in by_hand)


def test_the_share_of_a_large_space_has_an_error_that_covers_the_truth(space_of: Any) -> None:
    text = HEAD + "network:\n  stages:\n"
    for _ in range(2):
        text += "    - {width: {range: [8, 48], step: 8}, depth: {range: [1, 3]}, block: dw}\n"
    space = space_of(text + "constraints: [params <= 20K]\n")
    assert count(space) == 18**2
    truth = feasible_share(space).share
    assert truth == sum(point(space, values).cost.params <= 20_000 for values in points(space)) / 18**2
    seen = feasible_share(space, samples=300, seed=2, exact_up_to=100)
    assert not seen.exact
    assert seen.points == 300
    assert 0 < seen.standard_error < 0.03
    assert seen.interval[0] < truth < seen.interval[1]
    assert feasible_share(space, samples=300, seed=2, exact_up_to=100) == seen


def test_a_space_without_feasible_points_says_what_is_tightest(space_of: Any) -> None:
    space = space_of(HEAD + "constraints: [params <= 1K, macs <= 100G]\n")
    seen = feasible_share(space)
    assert (count(space), seen.share, seen.tightest) == (1, 0.0, "params <= 1K")
    nearest = nearest_to_feasible(space)
    assert not nearest.is_feasible
    assert str(nearest).startswith("params <= 1K; the nearest point found has ")


def test_a_feasible_point_is_found_at_the_far_end_of_wide_ranges(space_of: Any) -> None:
    wide = "{width: {range: [4, 2048], step: 4}, depth: 1, block: dw}"
    stages = f"network: {{stages: [{wide}, {wide}, {wide}]}}\n"
    space = space_of(HEAD + stages + "constraints: [params <= 4K]\n")
    assert feasible_share(space, samples=200).share == 0
    found = nearest_to_feasible(space, samples=20)
    assert found.is_feasible
    assert point(space, found.assignment or {}).cost.params <= 4000
