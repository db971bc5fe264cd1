"""Racing: contenders told apart by new seeds; the test against scipy, its level by simulation, the whole in a study."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from results_records import STUDY, make_records
from scipy import stats

from archspec.cli.findings import data, render
from archspec.errors import SpecError
from archspec.results.race import Race, Racing, contenders, holm, race
from archspec.results.race_table import race_facts, race_section
from archspec.results.records import EvaluationRecord, Objective, StudyRecord, replicate_name
from archspec.results.samples import Sample
from archspec.search.runner import open_store, search
from archspec.search.worker import Worker
from studies import Recorder, write_study

ACCURACY = Objective("accuracy")
TEMPLATE = next(each for each in make_records(5) if each.state == "complete")


def trial(number: int, accuracy: float, macs: int = 100) -> EvaluationRecord:
    values = {"accuracy": accuracy}
    cost = {"macs": macs, "params": 10}
    named = {"trial": number, "digest": f"d{number}", "uuid": f"u{number}", "seed": 0}
    return replace(TEMPLATE, **named, values=values, cost=cost, reference=None, cached_from=None)


def again(one: EvaluationRecord, seed: int, accuracy: float, **changes: object) -> EvaluationRecord:
    name = replicate_name(one.name, seed)
    found = replace(one, trial=None, reference=name, seed=seed, values={"accuracy": accuracy}, uuid=name)
    return replace(found, **changes)  # type: ignore[arg-type]


def asked(objectives: Sequence[Objective] = (ACCURACY,), **racing: object) -> StudyRecord:
    written = ", ".join(f"{name}: {value}" for name, value in racing.items())
    return replace(STUDY, study=f"racing: {{{written}}}\n", objectives=tuple(objectives), seed=0)


def raced(study: StudyRecord, trials: Sequence[EvaluationRecord], values: Mapping[int, Sequence[float]]) -> Race:
    new = [again(trials[n], seed, value) for n, each in values.items() for seed, value in enumerate(each, 1)]
    found = race(study, [*trials, *new])
    assert found is not None
    return found


def test_the_contenders_are_the_front_and_then_the_front_behind_it() -> None:
    trials = [trial(0, 0.9, 100), trial(1, 0.8, 50), trial(2, 0.7, 60), trial(3, 0.85, 100), trial(4, 0.6, 200)]
    both = (ACCURACY, Objective("macs", "minimise"))
    assert [each.trial for each in contenders(both, trials, 2)] == [0, 1]
    assert [each.trial for each in contenders(both, trials, 4)] == [0, 1, 3, 2]
    assert [each.trial for each in contenders((ACCURACY,), trials, 3)] == [0, 3, 1]
    same = [*trials, replace(trials[0], trial=9)]
    assert [each.trial for each in contenders((ACCURACY,), same, 2)] == [0, 3]  # one network, not two


def test_pairs_are_compared_by_the_paired_t_test_on_new_seeds_alone() -> None:
    one, other = [0.90, 0.93, 0.91, 0.94, 0.92], [0.88, 0.90, 0.91, 0.90, 0.89]
    found = raced(asked(contenders=2, first=5, seeds=5), [trial(0, 0.1), trial(1, 0.99)], {0: one, 1: other})
    (pair,) = found.comparisons
    expected = stats.ttest_rel(one, other)
    sign = 1 if pair.first == "trial 0" else -1
    assert pair.p == pytest.approx(expected.pvalue)
    assert sign * pair.difference == pytest.approx(np.mean(one) - np.mean(other))
    interval = expected.confidence_interval(0.95)
    assert sorted(sign * bound for bound in pair.interval or ()) == pytest.approx([interval.low, interval.high])
    assert pair.decided == (expected.pvalue < 0.05)
    assert pair.n == 5
    # The accuracies that chose them (0.1 and 0.99) are shown, and in no sample.
    assert {each.record.name: each.samples["accuracy"].n for each in found.contenders} == {"trial 0": 5, "trial 1": 5}


def test_a_seed_that_failed_is_in_no_pair() -> None:
    trials = [trial(0, 0.9), trial(1, 0.8)]
    new = [again(t, seed, 0.5 + 0.1 * n + 0.01 * seed) for n, t in enumerate(trials) for seed in (1, 2, 3)]
    new[1] = replace(new[1], state="failed", cause="diverged", values={})
    found = race(asked(contenders=2), [*trials, *new])
    assert found is not None
    assert [pair.n for pair in found.comparisons] == [2]
    assert found.next_seeds == {"trial 0": (4,), "trial 1": (4,)}  # it is not asked for again


def test_equal_differences_are_judged_by_their_sign() -> None:
    study = asked(contenders=2, first=3, seeds=12, level=0.4)
    tied = raced(study, [trial(0, 0.9), trial(1, 0.8)], {0: [0.5] * 3, 1: [0.5] * 3})
    assert [(pair.p, pair.decided) for pair in tied.comparisons] == [(1.0, False)]
    apart = raced(study, [trial(0, 0.9), trial(1, 0.8)], {0: [0.75] * 6, 1: [0.5] * 6})
    assert [(pair.p, pair.decided) for pair in apart.comparisons] == [(2.0**-5, True)]


def test_holm() -> None:
    p = {0: 0.01, 1: 0.02, 2: 0.03, 3: 0.04}
    assert holm(p, 0.05, 4) == {0}  # 0.0125, 0.0167: the second stands, and so do all after it
    assert holm(p, 0.1, 4) == {0, 1, 2, 3}
    assert holm({0: 0.02, 1: 0.001}, 0.05, 2) == {0, 1}
    assert holm({0: 0.02}, 0.05, 4) == set()  # three of the family have no p yet


def test_the_first_round_has_all_contenders_then_only_those_that_are_ties() -> None:
    study = asked(contenders=3, first=3, seeds=5, level=0.1)
    trials = [trial(0, 0.9), trial(1, 0.8), trial(2, 0.7)]
    begun = raced(study, trials, {})
    assert begun.next_seeds == {f"trial {n}": (1, 2, 3) for n in range(3)}
    assert begun.state == "running"
    noise = np.array([0.0, 0.001, 0.0005])
    some = raced(study, trials, {0: 0.9 + noise, 1: 0.9 + noise[::-1], 2: 0.2 + 0.9 * noise})
    assert [each.decided for each in some.comparisons] == [False, True, True]
    assert some.next_seeds == {"trial 0": (4,), "trial 1": (4,)}


def test_a_race_ends_where_its_budget_does() -> None:
    trials = [trial(0, 0.9), trial(1, 0.8)]
    ties = {n: [0.5, 0.6, 0.7] for n in (0, 1)}
    ended = raced(asked(contenders=2, first=3, seeds=8, evaluations=7), trials, ties)
    assert (ended.state, ended.next_seeds, ended.evaluations) == ("undecided", {}, 6)  # a round of 2 would be 8
    assert raced(asked(contenders=2, first=3, seeds=3), trials, ties).state == "undecided"
    decided = raced(asked(contenders=2, level=0.4), trials, {0: [0.9, 0.91, 0.9], 1: [0.1, 0.12, 0.1]})
    assert (decided.state, decided.next_seeds) == ("decided", {})


def test_nothing_is_asked_while_seeds_are_trained() -> None:
    trials = [trial(0, 0.9), trial(1, 0.8)]
    running = again(trials[0], 1, 0.0, state="running", values={}, cause=None)
    found = race(asked(contenders=2), [*trials, running])
    assert found is not None
    assert (found.next_seeds, found.state) == ({}, "running")


def test_ties_are_called_different_as_rarely_as_the_level_says() -> None:
    """Five equal networks, looked at after 3, 4, 5 and 6 seeds: any pair called different is a mistake."""
    generator = np.random.default_rng(3)
    study = asked(contenders=5, first=3, seeds=6, level=0.2)
    trials = [trial(number, 0.9 - 0.01 * number) for number in range(5)]
    mistakes = 0
    for _ in range(300):
        common = generator.normal(0, 0.01, 6)
        values = {n: 0.8 + common + generator.normal(0, 0.002 * (1 + n), 6) for n in range(5)}
        mistakes += any(pair.decided for pair in raced(study, trials, values).comparisons)
    assert mistakes / 300 < 0.2
    values = {n: 0.8 - 0.05 * n + generator.normal(0, 0.002, 6) for n in range(5)}
    assert raced(study, trials, values).state == "decided"


def test_an_interval_is_students() -> None:
    values = [0.5, 0.6, 0.8, 0.7]
    low, high = Sample(dict(enumerate(values))).interval or (0, 0)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert Sample({1: 0.5}).interval is None


def test_mistakes_are_named(tmp_path: Path) -> None:
    for written, rule in (
        ("racing={first: 9}", "`first` is at most `seeds`"),
        ("racing={contenders: 5, first: 3, evaluations: 14}", "takes 15 evaluations"),
        ("racing={level: 0}", "level"),
    ):
        with pytest.raises(SpecError, match=rule):
            write_study(tmp_path, written)
    with pytest.raises(SpecError, match="a table has no new seeds"):
        write_study(tmp_path, "racing={}", "evaluate.table=a.parquet")


RACING = ("racing={contenders: 2, first: 2, seeds: 3, level: 0.01}", "recipe.epochs=1", "references=[dw_conv_nano]")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_study_races_its_front(tmp_path: Path, workers: int) -> None:
    study = write_study(tmp_path, *RACING, "budget.trials=3", "objectives=[{maximise: accuracy}]")
    search(study, Recorder(), workers=workers)
    with open_store(study) as store:
        records = store.evaluations(study.name)
        found = race(store.get_study(study.name), records)
    assert found is not None
    new = [record for record in records if record.is_replicate]
    assert found.state in ("decided", "undecided")
    assert found.evaluations == len(new) >= 4
    assert all(record.state == "complete" and record.seed in (1, 2, 3) for record in new)
    assert len({record.values["val_loss"] for record in new}) == len(new)  # trained, each with its seed
    assert len([record for record in records if record.trial is not None]) == 3
    # Once more: there is nothing left to do.
    search(study, again_seen := Recorder(), workers=1)
    assert again_seen.started == []
    shown = data(study)
    assert shown["trials"]["total"] == 3
    assert [point["name"] for point in shown["named_points"]] == ["dw_conv_nano"]
    assert shown["race"]["evaluations"] == len(new)
    page = render(study).read_text()
    assert "Told apart by new seeds" in page
    assert "n 1" in page


def test_the_table_says_n_and_interval_with_every_number() -> None:
    trials = [trial(0, 0.9), trial(1, 0.8)]
    found = raced(asked(contenders=2), trials, {0: [0.9, 0.91, 0.92], 1: [0.8, 0.83, 0.81]})
    page = race_section(found)
    page = page.replace("\u00a0", " ")
    assert "91.00 % (88.52 % to 93.48 %), n 3" in page
    assert "n 3" in page
    assert "90.00 %, n 1" in page
    assert race_section(None) == ""
    (facts, _) = race_facts(found)["contenders"]
    assert facts["samples"]["accuracy"]["n"] == 3
    assert facts["chosen_by"] == {"accuracy": 0.9}


def test_racing_defaults() -> None:
    assert (Racing().looks, Racing().most) == (6, 40)


def test_a_worker_stays_while_others_train_new_seeds() -> None:
    """Another worker has just asked for the round: there is nothing to ask for, and still something to do."""
    trials = [trial(0, 0.8), trial(1, 0.7)]
    running = again(trials[0], 1, 0.0, state="running", cause=None, values={})
    store = SimpleNamespace(get_study=lambda name: asked(contenders=2), evaluations=lambda name: [*trials, running])
    worker = SimpleNamespace(study=SimpleNamespace(racing=Racing(), name="s"), leases=SimpleNamespace(store=store))
    worker.proposals = SimpleNamespace(requester=None)
    assert Worker._race(worker)  # type: ignore[arg-type]
