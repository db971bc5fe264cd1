"""Failures by cause, real ones: each has its policy and retries, and a circuit breaker stops a hopeless study."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from archspec.errors import SpecError, StudyError
from archspec.resolve import resolve
from archspec.results.leases import Leases
from archspec.results.records import EndedTrial, EvaluationRequest
from archspec.results.status import StudyStatus
from archspec.schema.load import network_from
from archspec.schema.network import Network
from archspec.schema.source import read_text
from archspec.search.heartbeat import Heartbeat
from archspec.search.job import Job
from archspec.search.machine import is_gone, kernel_kills, process_place
from archspec.search.policies import Failures, Policy
from archspec.search.processes import ForkServer
from archspec.search.proposals import Proposals
from archspec.search.recipe import Recipe
from archspec.search.runner import open_store, prepare, search, urls_of
from archspec.search.study import Study, load_study
from studies import Recorder, check_invariants, cloned, trials_of, write_study


class Saboteur(Recorder):
    """Does something to the process of a trial when an epoch of its first attempts has ended."""

    def __init__(self, act: Callable[[str], None], attempts: int = 1, epoch: int = 1) -> None:
        super().__init__()
        self.act, self.attempts, self.epoch = act, attempts, epoch

    def epoch_ended(self, name: str, epoch: int, accuracy: float | None) -> None:
        super().epoch_ended(name, epoch, accuracy)
        if epoch == self.epoch and self.started.count(name) <= self.attempts:
            self.act(name)


def trial_of(server: ForkServer) -> int:
    """The process of the trial that runs now."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    # Clones of the server are its children too, until whoever asked for them is gone.
    return next(int(child) for child in children if Path(f"/proc/{child}/comm").read_text().strip() == "archspec-trial")


def exits_of(study: Study, trial: int = 0) -> list[str | None]:
    with open_store(study) as store:
        return [each.exit for each in store.attempts(trials_of(study)[trial].uuid)]


def test_a_trial_that_is_killed_is_resumed_from_its_checkpoint(tmp_path: Path, server: ForkServer) -> None:
    study = write_study(tmp_path, "budget.trials=2", "recipe.epochs=4")
    watched = Saboteur(lambda name: os.kill(trial_of(server), signal.SIGKILL), epoch=2)
    search(study, watched, server=server)
    check_invariants(study, 2)
    assert exits_of(study) == ["killed", "ok"]
    assert watched.epochs[:6] == [("trial 0", epoch) for epoch in (1, 2, 1, 2, 3, 4)]
    alone = write_study(tmp_path, "budget.trials=1", "recipe.epochs=4", f"output={tmp_path / 'alone'}")
    search(alone, Recorder(), server=server)
    curves = [[epoch.val_loss for epoch in trials_of(each)[0].curve] for each in (study, alone)]
    assert curves[0] == curves[1], "bit for bit as if it had not been killed"


def test_a_trial_that_is_killed_too_often_is_recorded_and_the_study_goes_on(tmp_path: Path, server: ForkServer) -> None:
    study = write_study(tmp_path, "budget.trials=2", "failures.killed={retries: 1}")
    killer = Saboteur(lambda name: name == "trial 0" and os.kill(trial_of(server), signal.SIGSEGV), attempts=9)
    search(study, killer, server=server)
    check_invariants(study, 2)
    assert exits_of(study) == ["killed", "killed"]
    first, second = trials_of(study)
    assert (first.state, first.cause, second.state) == ("failed", "killed", "complete")
    assert "SIGSEGV" in first.message


def test_a_trial_that_hangs_is_ended_and_the_study_goes_on(tmp_path: Path, server: ForkServer) -> None:
    limits = "failures.timeout={silent_minutes: 0.2, minutes: null}"
    study = write_study(tmp_path, "budget.trials=2", limits)
    search(study, Saboteur(lambda name: name == "trial 0" and stop(server)), server=server)
    check_invariants(study, 2)
    assert [record.cause for record in trials_of(study)] == ["timeout", "ok"]
    assert "no step of training in 0.2 minutes" in trials_of(study)[0].message


def stop(server: ForkServer) -> None:
    os.kill(trial_of(server), signal.SIGSTOP)


def test_a_trial_that_takes_too_long_is_ended(tmp_path: Path, server: ForkServer) -> None:
    study = write_study(tmp_path, "budget.trials=1", "recipe.epochs=100000", "failures.timeout={minutes: 0.03}")
    search(study, Recorder(), server=server)
    assert [(record.cause, record.message) for record in trials_of(study)] == [
        ("timeout", "it took longer than 0.03 minutes")
    ]
    check_invariants(study, 1)


def test_out_of_memory_is_retried_once_at_half_the_micro_batch(
    tmp_path: Path, server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process of a trial has so little address space that a batch does not fit: RLIMIT_AS, the real error."""
    large = ("data.train=2048", "recipe.batch=2048", "recipe.epochs=2")
    study = write_study(tmp_path, "budget.trials=1", *large)
    with cloned(server) as own:
        seen = Saboteur(lambda name: None)

        def squeeze(name: str, epochs: int, network: Network) -> None:
            Recorder.evaluation_started(seen, name, epochs, network)
            limit = resource.RLIM_INFINITY if seen.started.count(name) > 1 else mapped(own) + 40 * 2**20
            resource.prlimit(own.pid or 0, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))

        monkeypatch.setattr(seen, "evaluation_started", squeeze)
        search(study, seen, server=own)
    check_invariants(study, 1)
    assert exits_of(study) == ["out_of_memory", "ok"]
    assert "1024 images at a time" in trials_of(study)[0].message


def mapped(server: ForkServer) -> int:
    """Bytes of address space of the warm parent."""
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def test_a_data_error_stops_the_study_and_leaves_the_trial_to_be_resumed(
    tmp_path: Path, server: ForkServer, cache: Path
) -> None:
    from PIL import Image

    for split in ("train", "val"):
        for label in ("a", "b"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for number in range(16):
                Image.new("RGB", (20, 20), (number * 15, 0, 100)).save(folder / f"{number}.png")
    data = f"data={{name: imagefolder, root: {tmp_path / 'images'}, size: 16}}"
    study = write_study(tmp_path, "budget.trials=3", "recipe.epochs=2", "recipe.batch=4", data)
    with cloned(server) as own:
        hidden = tmp_path / "hidden"

        class Thief(Recorder):
            def evaluation_started(self, name: str, epochs: int, network: Network) -> None:
                super().evaluation_started(name, epochs, network)
                if name == "trial 0":  # before the processes of trials have opened them
                    (tmp_path / "images").rename(hidden)
                    for file in cache.rglob("*"):
                        if file.is_file():
                            file.unlink()

        with pytest.raises(StudyError, match=r"trial 0 failed, and `failures.data` says to stop"):
            search(study, Thief(), server=own)
        assert exits_of(study) == ["data"]
        assert not trials_of(study)[0].is_finished
        hidden.rename(tmp_path / "images")
        search(study, Recorder(), server=own)
    check_invariants(study, 3)


# --- the policies as data


def ended(*causes: str) -> list[EndedTrial]:
    return [EndedTrial(number, cause, f"message {number}") for number, cause in enumerate(causes)]


def test_the_circuit_breaker_counts_in_a_row_and_by_share() -> None:
    failures = Failures(killed=Policy(consecutive=3, share=0.25), diverged="record")
    assert failures.circuit_breaker(ended("killed", "killed", "ok", "killed", "killed")) is None
    assert "last 3 trials failed; the last one: killed: message 4" in (
        failures.circuit_breaker(ended("ok", "ok", "killed", "killed", "killed")) or ""
    )
    assert failures.circuit_breaker(ended("killed", "killed", "diverged", "killed", "killed")) is None, (
        "one cause at a time"
    )
    few = ["killed", "ok", "ok"] * 6
    assert failures.circuit_breaker(ended(*few)) is None, "too few to speak of a share"
    assert "7 of 20 trials failed for one cause; the last one: killed: message 18" in (
        failures.circuit_breaker(ended(*few, "killed", "ok")) or ""
    )


def test_out_of_memory_stops_no_study_that_finds_something() -> None:
    failures = Failures()
    assert failures.circuit_breaker(ended(*["out_of_memory"] * 30, "ok", *["out_of_memory"] * 30)) is None
    assert "out_of_memory" in (failures.circuit_breaker(ended(*["out_of_memory"] * 40)) or "")


def test_policies_are_written_short_or_long(tmp_path: Path) -> None:
    written = "failures={shape: stop, killed: retry, diverged: {retries: 2, then: stop}, timeout: {minutes: 5}}"
    failures = write_study(tmp_path, written).failures
    assert failures.policy("shape") == Policy(then="stop")
    assert failures.policy("killed") == Policy(retries=1)
    assert failures.policy("diverged") == Policy(retries=2, then="stop")
    assert failures.timeout.minutes == 5
    assert failures.policy("data").then == "stop"
    assert str(failures.policy("diverged")).startswith("2 retries, then the study stops; 8 in a row stop the study")
    assert failures.described()["out_of_memory"].startswith("1 retry at half the micro-batch, then ")
    # A word changes what becomes of a trial, not when the study is stopped.
    assert write_study(tmp_path, "failures={diverged: retry}").failures.policy("diverged") == Policy(
        retries=1, share=0.5
    )
    with pytest.raises(SpecError, match=r"failures"):
        load_study(tmp_path / "study.yaml", ("failures.diverged=ignore",))


def test_a_process_that_is_gone_is_known_to_be() -> None:
    code = "from archspec.search.machine import process_place; print(process_place())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert is_gone(child.stdout.strip())
    assert not is_gone(process_place())
    assert not is_gone("elsewhere, 0-0, process 1, 1"), "of another host nothing is known"
    assert not is_gone("nonsense")
    assert kernel_kills() >= 0


def test_a_micro_batch_takes_the_same_steps(tmp_path: Path) -> None:
    """Without batch norm the gradients of the parts add up to those of the batch."""
    import numpy as np
    import torch

    from archspec.search.data.config import DataConfig
    from archspec.search.data.load import open_data
    from archspec.search.train import train

    data = open_data(DataConfig(name="fractal", size=16, train=48, val=16, classes=4, seed=1))
    curves = []
    for micro_batch in (None, 8, 5):
        torch.manual_seed(0)
        layers = torch.nn.Flatten(), torch.nn.Linear(768, 16), torch.nn.GELU(), torch.nn.Linear(16, 4)
        recipe = Recipe(epochs=3, batch=16, clip_grad=1.0, label_smoothing=0.1, mixup=0.2)
        found = train(torch.nn.Sequential(*layers), data, recipe, seed=0, micro_batch=micro_batch)
        curves.append([epoch.train_loss for epoch in found.history])
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5)
    np.testing.assert_allclose(curves[2], curves[0], rtol=1e-5)


def test_a_network_that_is_too_large_to_be_built_is_out_of_memory(server: ForkServer) -> None:
    """A matrix of 17 GB in a process that may have 8 GB: the allocator refuses it before any training."""
    spec = """
archspec: 1
name: huge
input: {size: 8, channels: 3}
classes: 4
stages: [{width: 3, depth: 1, block: wide}]
head: {pool: mean}
blocks: {wide: [linear: {width: 65536}, linear: {width: 65536}, linear: {width: 3}]}
"""
    job = Job("train", {}, "cpu", spec=spec, digest=resolve(network_from(read_text(spec))).digest)
    with cloned(server) as own:
        resource.prlimit(own.pid or 0, resource.RLIMIT_AS, (8 * 2**30, resource.RLIM_INFINITY))
        said = own.result(job)
    assert (said["kind"], said["cause"]) == ("ended", "out_of_memory"), said


def test_the_circuit_breaker_looks_at_this_run_only(tmp_path: Path, server: ForkServer) -> None:
    """What the store answers ended long ago: it does not push failures of an earlier run among those of this one."""
    study = write_study(tmp_path, "failures.error={consecutive: 2}")
    prepared = prepare(study, server, 1, str)
    request = EvaluationRequest(study.name, "d", prepared.requester.protocol, study.seed, "", trial=0)
    with open_store(study) as store, Heartbeat(Leases(store, "me", "here", 60.0)) as heartbeat:
        store.save_study(replace(store.get_study(study.name), name="before"))
        for number in (2, 3):
            one = replace(request, study="before", digest=f"d{number}", trial=number)
            store.finish_evaluation(store.start_evaluation(one).uuid, "ok", values={"accuracy": 0.5})
        for number in range(4):
            one = replace(request, digest=f"d{number}", trial=number)
            store.finish_evaluation(store.start_evaluation(one).uuid, "error")
        proposals = Proposals(
            study, prepared.spaces, StudyStatus(store, study.name), Leases(store, "me", "here", 60.0), heartbeat,
            prepared.requester, urls_of(study).optuna, study.name, frozenset({0, 1}),
        )  # fmt: skip
        proposals._check()  # does not stop the study
        proposals.ended_before = frozenset()
        with pytest.raises(StudyError, match="the last 2 trials failed"):
            proposals._check()
