"""A search space in, points out: how many there are, which are feasible, and one of them as YAML."""

import random
from pathlib import Path

from archspec.search.space import count, feasible_share, load_space, named_points, point, sample, yaml

space = load_space(Path(__file__).parent.parent / "search_spaces" / "connectivity_nano.yaml")
seen = feasible_share(space, samples=100, seed=0)
print(f"{space.name}: {count(space):,} points, {100 * seen.share:.0f} % feasible of {seen.points} drawn")
print(f"named networks inside: {', '.join(named_points(space))}")

assignment = sample(space, random.Random(7))
drawn = point(space, assignment)
print(f"one point: {drawn.cost.params:,} parameters, {drawn.cost.macs:,} macs\n")
print(yaml(space, assignment))
