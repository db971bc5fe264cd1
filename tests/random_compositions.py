"""A seed goes in; a random block of steps that branch comes out, as plain data: legal or not."""

import random
from typing import Any

_SIMPLE: tuple[Any, ...] = (
    {"linear": {}},
    {"linear": {"width": 4}},
    {"linear": {"width": 6}},
    {"linear": {"width": "stage"}},
    {"norm": "batch"},
    {"norm": "layer"},
    {"norm": {"batch": {"centring": True}}},
    {"act": "relu"},
    {"act": "gelu"},
    {"act": "relu6"},
    {"multiply": 0.5},
    {"shuffle": 2},
    {"pool": "mean"},
    {"pool": {"max": {"size": 3, "stride": 2}}},
    {"pool": {"mean": {"size": 2, "count_padding": False}}},
    {"resize": "nearest"},
    {"resize": "bilinear"},
    {"resize": {"scale": 2}},
    {"scale": {"init": 0.5}},
    {"block": "other"},
    {"mlp": {"ratio": 2}},
)


class Composer:
    """Draws steps, the fewer of them the deeper they stand."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def steps(self, depth: int, least: int = 0) -> list[Any]:
        count = max(least, self.rng.choice((0, 1, 1, 2, 3)))
        return [self.step(depth) for _ in range(count)]

    def step(self, depth: int) -> Any:
        if depth == 0 or self.rng.random() < 0.5:
            return self.rng.choice(_SIMPLE)
        kind = self.rng.choice(("residual", "shortcut", "gate", "parallel", "split", "exchange", "sequence"))
        return getattr(self, kind)(depth - 1)

    def residual(self, depth: int) -> Any:
        return {"residual": self.steps(depth, 1)}

    def shortcut(self, depth: int) -> Any:
        return {"residual": {"branch": self.steps(depth, 1), "shortcut": self.steps(depth)}}

    def sequence(self, depth: int) -> Any:
        return {"sequence": self.steps(depth, 1)}

    def gate(self, depth: int) -> Any:
        return {"gate": self.steps(depth, 1)}

    def parallel(self, depth: int) -> Any:
        branches = [self.steps(depth) for _ in range(self.rng.choice((1, 2, 2, 3)))]
        return {"parallel": {"branches": branches, "join": self.rng.choice(("sum", "product", "concat"))}}

    def split(self, depth: int) -> Any:
        branches = [self.steps(depth) for _ in range(self.rng.choice((1, 2, 2, 3)))]
        join = self.rng.choice(("sum", "product", "concat", "concat"))
        return {"split": {"branches": branches, "join": join, "cascade": self.rng.random() < 0.5}}

    def exchange(self, depth: int) -> Any:
        """From one map to two, through them, and to one again."""
        across = [[self.steps(depth), self.rng.choice((None, self.steps(depth)))] for _ in range(2)]
        return {
            "sequence": [
                {"exchange": [[self.steps(depth)], [self.steps(depth)]]},
                {"streams": [self.steps(depth), self.steps(depth)]},
                {"exchange": across},
                {"exchange": [[self.steps(depth), self.rng.choice((None, self.steps(depth)))]]},
            ]
        }


def network(seed: int) -> dict[str, Any]:
    """A network with one random block on a map of 5 x 6 positions and 6 channels."""
    return {
        "archspec": 1,
        "name": f"random{seed}",
        "input": {"size": [5, 6], "channels": 6},
        "classes": 3,
        "stages": [{"width": 6, "depth": 1, "block": "drawn"}],
        "blocks": {
            "drawn": [*Composer(seed).steps(3, 2), {"linear": {"width": "stage"}}],
            "other": [{"act": "tanh"}, {"linear": {}}],
        },
    }
