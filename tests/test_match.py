"""Networks scaled to one budget: exact costs, whole steps, nearly one factor, and what cannot be reached."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from archspec.costs import cost
from archspec.errors import SpecError, StudyError
from archspec.resolve import resolve
from archspec.schema.load import load, network_from, network_yaml
from archspec.schema.source import read_text
from archspec.search.runner import open_store, search
from archspec.search.space import load_space, point, sample
from archspec.search.space.match import Match, Matching, scaled
from archspec.search.space.numbers import Part, depths, widths, with_widths
from archspec.search.spaces import spaces_of
from studies import Recorder, trials_of, write_study

PATTERNS = ("dw_conv_nano", "d_dw_conv_nano", "i_dynamic_nano", "mixer_nano", "swin_nano", "pvt_nano", "outlook_nano")


def brute_force(name: str, match: Match, largest: int) -> set[tuple[int, ...]]:
    """Every vector of widths (whole multiples) whose exact cost is inside the tolerance, looked at one by one."""
    network, found = load(name), set()
    parts = widths(network, match.multiple)
    ways = [range(part.step, largest * part.value // 2, part.step) for part in parts]
    for values in ((a, b, c) for a in ways[0] for b in ways[1] for c in ways[2]):
        reached = getattr(cost(resolve(with_widths(network, parts, values))), match.quantity)
        if abs(reached / match.target - 1) <= match.tolerance:
            found.add(values)
    return found


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("match", [Match(macs="6M", tolerance=0.04), Match(params="0.15M", tolerance=0.04)], ids=str)
def test_patterns_meet_one_budget(name: str, match: Match) -> None:
    made, program, scaling = scaled(load(name), Matching(match))
    assert getattr(cost(program), match.quantity) == scaling.reached
    assert abs(scaling.reached - match.target) <= match.tolerance * match.target
    assert scaling.before == getattr(cost(resolve(load(name))), match.quantity)
    assert resolve(network_from(read_text(network_yaml(made), "made"))).digest == program.digest
    assert all(after % match.multiple == 0 for _, after in scaling.numbers)


def test_the_search_finds_what_looking_at_everything_finds() -> None:
    match = Match(macs="4M", multiple=16, tolerance=0.03)
    everything = brute_force("swin_nano", match, largest=4)
    _, _, scaling = scaled(load("swin_nano"), Matching(match))
    assert tuple(after for _, after in scaling.numbers) in everything
    # A budget between what the lattice can reach: nothing is there, and nothing is found.
    narrow = Match(macs="4M", multiple=16, tolerance=0.0005)
    assert not brute_force("swin_nano", narrow, largest=4)
    with pytest.raises(SpecError, match="nearest found is width 32, 64, 128 to"):
        scaled(load("swin_nano"), Matching(narrow))


def test_heads_and_groups_keep_dividing() -> None:
    steps = {part.value: part.step for part in widths(load("swin_nano"), 1)}
    assert steps == {32: 16, 64: 16, 128: 16}  # 16 channels a head
    assert {part.step for part in widths(load("dw_conv_nano"), 1)} == {1}
    assert {part.step for part in widths(load("swin_nano"), 24)} == {48}  # the least common multiple


def test_a_network_at_the_budget_stays_as_it_is() -> None:
    network = load("dw_conv_nano")
    here = cost(resolve(network)).macs
    made, program, scaling = scaled(network, Matching(Match(macs=here)))
    assert (made, program.digest) == (network, resolve(network).digest)
    assert scaling.before == scaling.reached == here


def test_equal_numbers_stay_equal() -> None:
    # MobileNet's last layer and blocks write their widths out; what must agree agrees afterwards.
    _, program, scaling = scaled(load("mobilenet_v2"), Matching(Match(macs="150M", multiple=8)))
    assert len(scaling.numbers) == len({before for before, _ in scaling.numbers})
    assert abs(cost(program).macs / 150e6 - 1) <= 0.02


def test_depth_keeps_whole_turns() -> None:
    assert depths(load("swin_tiny")) == (Part(2, 2), Part(2, 2), Part(6, 2), Part(2, 2))
    made, program, _ = scaled(load("swin_tiny"), Matching(Match(macs="9G", by="depth", tolerance=0.05)))
    assert [stage.width for stage in made.stages] == [96, 192, 384, 768]
    assert all(stage.depth % 2 == 0 for stage in made.stages)
    assert abs(cost(program).macs / 9e9 - 1) <= 0.05


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("match.macs=5Q", "ends with K, M, G, T or nothing"),
        ("match={}", "one budget: either params or macs"),
        ("match={macs: 1M, params: 1M}", "one budget: either params or macs"),
        ("match={macs: 0.2}", "at least 1"),
        ("match={macs: 1M, by: resolution}", "by"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, written: str, rule: str) -> None:
    with pytest.raises(SpecError, match=rule):
        write_study(tmp_path, written)


def test_a_table_is_asked_as_it_was_made(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="has no `match`"):
        write_study(tmp_path, "match.macs=50K", "evaluate.table=a.parquet")


BUDGET = ("match.macs=36K", "match.tolerance=0.1", "match.multiple=1")


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "regularised_evolution"])
def test_every_trial_of_a_study_has_the_budget(tmp_path: Path, sampler: str) -> None:
    study = write_study(
        tmp_path, *BUDGET, f"sampler={{name: {sampler}, startup: 2, population: 2, tournament: 2}}", "recipe.epochs=1",
        "budget.trials=4", "references=[dw_conv_nano]",
    )  # fmt: skip
    search(study, Recorder(), workers=1)
    trials = trials_of(study)
    assert len({trial.digest for trial in trials}) == 4
    for trial in trials:
        done = trial.environment["match"]
        assert isinstance(done, dict)
        assert abs(trial.cost["macs"] - 36_000) <= 3_600
        assert done["reached"] == trial.cost["macs"]
        assert done["numbers"]
        assert "macs" in (load_from(trial.spec).description or "")
        assert resolve(load_from(trial.spec)).digest == trial.digest
    with open_store(study) as store:
        (named,) = (each for each in store.evaluations(study.name) if each.reference)
    assert abs(named.cost["macs"] - 36_000) <= 3_600


def load_from(text: str):
    return network_from(read_text(text, "spec"))


def test_the_budget_holds_at_the_size_that_the_space_writes(tmp_path: Path) -> None:
    from archspec.search.data.load import open_data

    study = write_study(tmp_path, *BUDGET, "data.size=32")  # the space writes 16
    spaces = spaces_of(study, open_data(study.data))
    rng = random.Random(0)
    for _ in range(5):
        assignment = sample(spaces.written, rng)
        written, trained = point(spaces.written, assignment), point(spaces.trained, assignment)
        assert abs(written.cost.macs - 36_000) <= 3_600
        assert trained.cost.macs > 3 * written.cost.macs
        assert [stage.width for stage in trained.network.stages] == [stage.width for stage in written.network.stages]
    assert spaces.written.digest != load_space(tmp_path / "space.yaml").digest


def test_a_budget_out_of_reach_says_so_at_once(tmp_path: Path) -> None:
    study = write_study(tmp_path, "match.macs=10")
    with pytest.raises(StudyError, match="a network is scaled to macs 10 by width"):
        search(study, Recorder(), workers=1)
    far = write_study(tmp_path, *BUDGET, "match.tolerance=0.0001", "references=[swin_nano]")
    with pytest.raises((SpecError, StudyError), match="a network is scaled to"):
        search(far, Recorder(), workers=1)


def test_points_of_a_space_cannot_be_told_apart_by_size(tmp_path: Path) -> None:
    """Widths 8, 12 and 16 of one pattern are one network after scaling."""
    write_study(tmp_path)
    space = load_space(tmp_path / "space.yaml")
    space = replace(space, matching=Matching(Match(macs="36K", tolerance=0.1, multiple=1)))
    rng = random.Random(1)
    digests: dict[object, set[str]] = {}
    for _ in range(40):
        found = point(space, sample(space, rng))
        pattern = tuple((k, v) for k, v in found.assignment.items() if k != "stages.0.width")
        digests.setdefault(pattern, set()).add(found.program.digest)
    assert max(map(len, digests.values())) <= 2
