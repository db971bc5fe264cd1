"""Attribution: effects that were planted are found, those that were not are not, and too little data is refused."""

import itertools
import random
from pathlib import Path

import pytest
from synthetic_table import synthetic_table

from archspec.cli.attributions import of_table, print_attribution
from archspec.errors import StudyError
from archspec.resolve import resolve
from archspec.results import attribution
from archspec.results.attribution import Attribution, Observation, attribute
from archspec.results.layers import stage_axes
from archspec.schema.load import load
from archspec.search.space import load_space
from archspec.search.table import write_table

LEVELS = {"space": ("full", "sliding", "window"), "sharing": ("all", "none"), "weights": ("local", "static")}
SPACE = {"full": 0.1, "sliding": 0.0, "window": -0.1}
SHARING = {"all": 0.05, "none": -0.05}


@pytest.fixture(autouse=True)
def _fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "BOOTSTRAPS", 200)


def planted(count: int, noise: float, seed: int, together: float = 0.0, seeds: int = 1) -> list[Observation]:
    """Points with an effect of space and of sharing, of both together, none of weights."""
    rng, made = random.Random(seed), []
    for _ in range(count):
        factors = {name: rng.choice(levels) for name, levels in LEVELS.items()}
        value = 0.5 + SPACE[factors["space"]] + SHARING[factors["sharing"]]
        value += together * (1 if (factors["space"] == "full") == (factors["sharing"] == "all") else -1)
        made.append(Observation(factors, tuple(value + rng.gauss(0, noise) for _ in range(seeds))))
    return made


def shares(found: Attribution) -> dict[str, float | None]:
    return {effect.name: effect.share for effect in (*found.factors, *found.pairs)}


def test_without_noise_effects_are_exact() -> None:
    every = [dict(zip(LEVELS, chosen, strict=True)) for chosen in itertools.product(*LEVELS.values())]
    made = [Observation(each, (SPACE[each["space"]] + SHARING[each["sharing"]],)) for each in every * 2]
    found = attribute(made, [("space", "sharing")])
    effects = {(e.name, level.name): level.effect for e in found.factors for level in e.levels}
    for name, planted_effects in (("space", SPACE), ("sharing", SHARING)):
        for level, effect in planted_effects.items():
            assert effects[name, level] == pytest.approx(effect, abs=1e-9)
    variance = {"space": 2 * 0.1**2 / 3, "sharing": 0.05**2}
    total = sum(variance.values())
    for name, part in variance.items():
        assert shares(found)[name] == pytest.approx(part / total)
    assert shares(found)["weights"] == pytest.approx(0, abs=1e-9)
    assert shares(found)["space x sharing"] == pytest.approx(0, abs=1e-9)
    assert found.explained == pytest.approx(1)


def test_planted_effects_lie_in_their_intervals_and_nothing_is_found_where_nothing_is() -> None:
    inside, total, false_alarms = 0, 0, 0
    for seed in range(12):
        found = attribute(planted(80, 0.05, seed), seed=seed)
        for effect in found.factors:
            truth = {"space": SPACE, "sharing": SHARING}.get(effect.name, dict.fromkeys(LEVELS["weights"], 0.0))
            for level in effect.levels:
                assert level.low is not None
                assert level.high is not None
                inside += level.low <= truth[level.name] <= level.high
                total += 1
            false_alarms += effect.name == "weights" and (effect.low or 0.0) > 0
    assert inside / total > 0.85
    assert false_alarms <= 1


def test_an_interaction_is_told_from_none() -> None:
    found = attribute(planted(120, 0.03, 0, together=0.06), [("space", "sharing"), ("sharing", "weights")])
    real, none = found.pairs
    assert real.low is not None
    assert real.low > 0.05
    assert none.low is not None
    assert none.low < 0.01


def test_seeds_of_a_point_are_one_observation_and_tell_the_noise() -> None:
    found = attribute(planted(60, 0.05, 1, seeds=3))
    assert (found.points, found.evaluations) == (60, 180)
    assert found.noise == pytest.approx(0.05, rel=0.2)
    assert attribute(planted(60, 0.05, 1)).noise is None


def test_too_few_points_are_refused_with_how_many_it_takes() -> None:
    with pytest.raises(StudyError, match=r"need at least 15 .*\n.*found: 14"):
        attribute(planted(14, 0.05, 0))
    attribute(planted(15, 0.05, 0))
    with pytest.raises(StudyError, match="no factor varies"):
        attribute([Observation({"space": "full"}, (0.1,))] * 40)


def test_a_pair_that_needs_more_points_says_so_and_the_rest_stands() -> None:
    every = [dict(zip(LEVELS, chosen, strict=True)) for chosen in itertools.product(*LEVELS.values())]
    rng = random.Random(0)
    found = attribute([Observation(each, (rng.random(),)) for each in [*every, *every[:4]]], [("space", "weights")])
    assert found.pairs[0].share is None
    assert "needs at least 17 points, found 16" in found.pairs[0].reason
    assert found.factors[0].share is not None


def test_a_factor_that_another_decides_is_left_out_and_named() -> None:
    made = [
        Observation(each.factors | {"taps": each.factors["space"][:1]}, each.values) for each in planted(60, 0.05, 0)
    ]
    found = attribute(made)
    assert found.follows == {"taps": "space"}
    assert [effect.name for effect in found.factors] == ["space", "sharing", "weights"]


def test_what_cannot_be_told_apart_is_not_guessed() -> None:
    """c is a and b together modulo 2, and so is d: each needs the other two."""
    rng, made = random.Random(0), []
    for _ in range(40):
        a = rng.randrange(3)
        b = rng.randrange(2) if a else 0
        c = {(0, 0): 0, (1, 0): 0, (1, 1): 1, (2, 0): 1, (2, 1): 2}[a, b]
        made.append(Observation({"a": str(a), "b": str(b), "c": str(c)}, (rng.random(),)))
    found = attribute(made)
    unclear = [effect for effect in found.factors if effect.reason]
    assert unclear
    assert all("cannot be told apart from" in effect.reason and effect.share is None for effect in unclear)


def test_axes_are_read_from_the_network() -> None:
    found = stage_axes(resolve(load("d_dw_conv_nano")))
    assert list(found) == ["stage 0", "stage 1", "stage 2"]
    assert found["stage 0"]["weights"] == "pooled"
    assert found["stage 0"]["connectivity"].startswith("sliding(")
    assert found["stage 0"]["position sharing"] == "offsets"
    shifted = stage_axes(resolve(load("swin_nano")))["stage 1"]
    assert shifted["connectivity"] == "window(4) + window(4) shifted"
    assert shifted["weights"] == "attention"
    assert stage_axes(resolve(load("mixer_nano")))["stage 0"]["connectivity"] == "full"


def test_a_table_is_attributed_stage_by_stage(tmp_path: Path) -> None:
    table = synthetic_table(load_space("table_nano"), seeds=2, single=0.8, pair=0.0)
    some = set(random.Random(0).sample(sorted(table.by_digest), 120))
    entries = [entry for entry in table.entries if entry.digest in some]
    found = of_table(str(write_table(tmp_path / "t.parquet", table.facts, entries)), 0)
    names = [effect.name for effect in found.factors]
    axes = ("connectivity", "channel sharing", "weights")
    assert set(names) == {f"stage {s}: {axis}" for s in (0, 1) for axis in axes}
    assert found.follows["stage 0: position sharing"] == "stage 0: weights"
    assert found.explained > 0.8
    assert all(pair.share is not None and pair.share < 0.05 for pair in found.pairs)
    said: list[str] = []
    print_attribution(found, lambda heads, rows: said.extend(" ".join(row) for row in rows), said.append)
    assert any("stage 1: weights" in line and "n " in line for line in said)
