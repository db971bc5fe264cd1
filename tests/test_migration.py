"""The space of a study that was run is edited: a plan is printed, trials stay where they are points, and it goes on."""

from contextlib import closing
from pathlib import Path

import pytest

from archspec.errors import StudyError
from archspec.results.leases import Leases
from archspec.results.records import EvaluationRecord
from archspec.results.status import StudyStatus
from archspec.search.heartbeat import Heartbeat
from archspec.search.optuna_study import optuna_name
from archspec.search.processes import ForkServer
from archspec.search.proposals import Proposals
from archspec.search.runner import open_store, prepare, search, urls_of
from archspec.search.study import Study
from studies import SPACE, Recorder, cloned, optuna_trials, trials_of, write_study

QUICK = ("recipe.epochs=1", "data.train=32", "data.val=16", "sampler.name=random")


def run(folder: Path, server: ForkServer, trials: int, space: str = SPACE) -> tuple[Study, str]:
    """Run a study with a space; the study, and what was said."""
    study = write_study(folder, *QUICK, f"budget.trials={trials}", space=space)
    said: list[str] = []
    search(study, Recorder(), server=server, say=said.append)
    return study, "\n".join(said)


def check_migrated(study: Study, before: list[EvaluationRecord], kept: set[int]) -> None:
    """No trial has lost anything, each has its number in the sampler's book, which learns from the kept ones only."""
    after = trials_of(study)
    for old, new in zip(before, after, strict=False):
        assert (old.trial, old.uuid, old.values, old.curve, old.state) == (
            new.trial, new.uuid, new.values, new.curve, new.state,
        )  # fmt: skip
    told = {trial.number: trial for trial in optuna_trials(study)}
    assert set(told) == {record.trial for record in after}
    for record in after:
        trial = told[record.trial or 0]
        if (record.trial or 0) in kept or (record.trial or 0) >= len(before):
            assert trial.state.name == "COMPLETE"
            assert trial.values == [record.measure("accuracy"), record.measure("macs")]
            assert trial.params == record.params
        else:
            assert trial.state.name == "FAIL"
            assert not trial.params


def test_a_choice_that_is_added_keeps_every_trial(tmp_path: Path, server: ForkServer) -> None:
    study, said = run(tmp_path, server, 5)
    assert said == ""
    before = trials_of(study)
    edited = SPACE.replace("[8, 12, 16]", "[8, 10, 12, 16]").replace("[1, 3, 5]", "[1, 3, 5, 7]")
    study, said = run(tmp_path, server, 9, edited)
    assert "choices added: stages.0.width: 10" in said
    assert "sliding: 7" in said
    assert "5 of 5 trials are points of the new space and are kept" in said
    check_migrated(study, before, set(range(5)))
    assert len(trials_of(study)) == 9
    assert len({record.digest for record in trials_of(study)}) == 9
    with open_store(study) as store:
        assert store.get_study(study.name).generation == 1
        assert store.get_study(study.name).space == edited
    study, said = run(tmp_path, server, 10, edited)
    assert said == "", "the plan is printed once"


def test_a_choice_that_is_removed_leaves_its_trials_in_our_tables_only(tmp_path: Path, server: ForkServer) -> None:
    study, _ = run(tmp_path, server, 8)
    before = trials_of(study)
    widths = [record.params["stages.0.width"] for record in before]
    assert 16 in widths
    assert set(widths) != {16}
    edited = SPACE.replace("[8, 12, 16]", "[8, 12]").replace("{range: [1, 2]}", "{range: [1, 3]}")
    study, said = run(tmp_path, server, 11, edited)
    kept = {number for number, width in enumerate(widths) if width != 16}
    assert "choices removed: stages.0.width: 16" in said
    assert "range changed: stages.0.depth: 1 to 2, now 1 to 3" in said
    assert f"{len(kept)} of 8 trials are points of the new space" in said
    assert f"{8 - len(kept)} are no points of it" in said
    check_migrated(study, before, kept)
    assert all(record.params["stages.0.width"] != 16 for record in trials_of(study)[8:])


def test_trials_are_expressed_in_the_genes_of_the_new_space(tmp_path: Path, server: ForkServer) -> None:
    study, _ = run(tmp_path, server, 5)
    before = trials_of(study)
    edited = SPACE.replace("{choose: [1, 3, 5]}", "{choose: [1, 3, 5], name: kernel}")
    study, said = run(tmp_path, server, 7, edited)
    assert "added: kernel: 1, 3, 5" in said
    assert "removed: blocks.dw.sliding" in said
    check_migrated(study, before, set(range(5)))
    for old, new in zip(before, trials_of(study), strict=False):
        assert new.params["kernel"] == old.params["blocks.dw.sliding"]


def test_trials_that_break_a_new_constraint_are_said(tmp_path: Path, server: ForkServer) -> None:
    study, _ = run(tmp_path, server, 6)
    before = trials_of(study)
    limit = sorted(record.cost["params"] for record in before)[3]
    study, said = run(tmp_path, server, 8, SPACE.replace("params <= 3K", f"params <= {limit}"))
    kept = {record.trial or 0 for record in before if record.cost["params"] <= limit}
    assert f"{6 - len(kept)} break its constraints" in said
    check_migrated(study, before, kept)


def test_an_interrupted_trial_is_resumed_after_the_edit(tmp_path: Path, server: ForkServer) -> None:
    class Stopper(Recorder):
        def epoch_ended(self, name: str, epoch: int, accuracy: float | None) -> None:
            super().epoch_ended(name, epoch, accuracy)
            if name == "trial 2":
                raise KeyboardInterrupt

    study = write_study(tmp_path, *QUICK, "budget.trials=4", "recipe.epochs=3")
    with pytest.raises(KeyboardInterrupt):
        search(study, Stopper(), server=server)
    assert not trials_of(study)[2].is_finished
    edited = SPACE.replace("[8, 12, 16]", "[8, 12, 16, 20]")
    study = write_study(tmp_path, *QUICK, "budget.trials=4", "recipe.epochs=3", space=edited)
    search(study, Recorder(), server=server)
    assert [record.state for record in trials_of(study)] == ["complete"] * 4
    assert {trial.state.name for trial in optuna_trials(study)} == {"COMPLETE"}


def test_a_worker_of_the_space_before_stops(tmp_path: Path, server: ForkServer) -> None:
    edited = SPACE.replace("[8, 12, 16]", "[8, 12, 16, 20]")

    class Editor(Recorder):
        def evaluation_ended(self, record: EvaluationRecord) -> None:
            super().evaluation_ended(record)
            if record.trial == 1:
                other = tmp_path / "edited"
                other.mkdir()
                changes = (*QUICK, f"output={tmp_path / 'results'}", "budget.trials=3")
                with cloned(server) as own:
                    search(write_study(other, *changes, space=edited), Recorder(), server=own)

    study = write_study(tmp_path, *QUICK, "budget.trials=9")
    with pytest.raises(StudyError, match="was edited meanwhile"):
        search(study, Editor(), server=server)
    assert len(trials_of(study)) == 3


def test_what_is_no_point_of_the_edited_space_teaches_nobody(tmp_path: Path, server: ForkServer) -> None:
    """The genes stay and the network around them changes: the old curves say nothing of the new points."""
    guided = ("recipe.epochs=1", "data.train=32", "data.val=16", "sampler={name: tpe, startup: 2}")
    search(write_study(tmp_path, *guided, "budget.trials=5"), Recorder(), server=server)
    edited = SPACE.replace("{ratio: 2, act: gelu}", "{ratio: 2, act: relu}")
    said: list[str] = []
    search(write_study(tmp_path, *guided, "budget.trials=7", space=edited), Recorder(), server=server, say=said.append)
    study = write_study(tmp_path, *guided, "budget.trials=8", space=edited)
    assert "0 of 5 trials are points of the new space" in said[0]
    prepared = prepare(study, server, 1, said.append)
    with open_store(study) as store, Heartbeat(Leases(store, "me", "here", 60.0)) as heartbeat:
        proposals = Proposals(
            study, prepared.spaces, StudyStatus(store, study.name), Leases(store, "me", "here", 60.0), heartbeat,
            prepared.requester, urls_of(study).optuna, optuna_name(store.get_study(study.name)), frozenset(),
        )  # fmt: skip
        with closing(proposals), proposals.turn() as mine:
            assert mine
            proposals.next()
            assert proposals.guide is not None
            seen = [dict(each.cost) for each in proposals.guide.seen]
        assert seen == [dict(record.cost) for record in trials_of(study)[5:7]], "the trials since the edit"
