"""Small real studies for tests: a space of a few dozen points, a few dozen fractals, an epoch in a blink."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from archspec.results.leases import database_clock
from archspec.results.records import EvaluationRecord
from archspec.results.store import Store
from archspec.results.tables import AttemptRow, EpochRow, EvaluationRow, ProposerRow, TrialRow
from archspec.schema.network import Network
from archspec.search.optuna_study import optuna_name
from archspec.search.processes import ForkServer, environment_of_children
from archspec.search.runner import open_store, urls_of
from archspec.search.study import Study, load_study

SPACE = """
space: 1
name: tiny
network:
  archspec: 1
  input: {size: 16, channels: 3}
  classes: 4
  stem: {patch: 4, norm: layer}
  init: fan
  stages:
    - {width: {choose: [8, 12, 16]}, depth: {range: [1, 2]}, block: dw}
  head: {norm: layer, pool: mean}
  blocks:
    dw:
      - residual:
          - norm: layer
          - connect:
              connectivity: {space: {sliding: {choose: [1, 3, 5]}}, channels: separate}
              sharing: {positions: offsets, channels: {choose: [none, all]}}
              weights: static
          - linear: {}
      - residual: [{norm: layer}, {mlp: {ratio: 2, act: gelu}}]
constraints:
  - params <= 3K
"""

STUDY = """
study: 1
name: small
space: space.yaml
data: {name: fractal, size: 16, train: 64, val: 32, classes: 4, seed: 1}
recipe: {epochs: 3, batch: 16, lr: 1e-3}
objectives: [{maximise: accuracy}, {minimise: macs}]
sampler: {name: tpe, startup: 3}
budget: {trials: 6}
threads: 1
seed: 0
"""


def write_study(folder: Path, *changes: str, space: str = SPACE) -> Study:
    """A study in a folder of its own, with its space and results there too."""
    (folder / "space.yaml").write_text(space)
    (folder / "study.yaml").write_text(STUDY)
    return load_study(folder / "study.yaml", (f"output={folder / 'results'}", *changes))


def trials_of(study: Study) -> list[EvaluationRecord]:
    with open_store(study) as store:
        return [record for record in store.evaluations(study.name) if record.trial is not None]


class Recorder:
    """Watches a search and keeps what it saw."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.epochs: list[tuple[str, int]] = []
        self.ended: list[EvaluationRecord] = []

    def evaluation_started(self, name: str, epochs: int, network: Network) -> None:
        self.started.append(name)

    def epoch_ended(self, name: str, epoch: int, accuracy: float | None) -> None:
        self.epochs.append((name, epoch))

    def evaluation_ended(self, record: EvaluationRecord) -> None:
        self.ended.append(record)


@contextmanager
def cloned(server: ForkServer) -> Iterator[ForkServer]:
    """A fork server of a test's own, to be maltreated."""
    with ForkServer(clone=server.clone()) as own:
        yield own


class Terminal:
    """The command in a process of its own, see terminal.py."""

    def __init__(self, server: ForkServer, folder: Path, *changes: str, workers: int = 1) -> None:
        clone = server.clone()
        assert clone is not None
        words = ["search", str(folder / "study.yaml"), "--workers", str(workers)]
        for change in (f"output={folder / 'results'}", *changes):
            words += ["--set", change]
        command = [sys.executable, str(Path(__file__).with_name("terminal.py")), str(clone.channel), str(clone.log)]
        self.process = subprocess.Popen(
            [*command, *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=(clone.channel, clone.log),
            env=environment_of_children(),
        )  # fmt: skip
        clone.close()

    def end(self, seconds: float = 600) -> str:
        """What it said on standard error."""
        return self.process.communicate(timeout=seconds)[1]

    def children(self) -> list[int]:
        """The processes under it: workers, fork servers, trials."""
        return descendants(self.process.pid)


def descendants(process: int) -> list[int]:
    """The processes under one."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found: list[int] = []
    new = [process]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


def optuna_trials(study: Study) -> list[optuna.trial.FrozenTrial]:
    with open_store(study) as store:
        name = optuna_name(store.get_study(study.name))
    storage = optuna.storages.RDBStorage(urls_of(study).optuna)
    try:
        return optuna.load_study(study_name=name, storage=storage).get_trials()
    finally:
        storage.remove_session()
        storage.engine.dispose()


TOLD = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


def check_invariants(study: Study, trials: int, total: bool = True) -> None:
    """Every trial has exactly one outcome, each trained once to its end, and Optuna says the same as we.

    `total`: the study is done; otherwise trials may be running, and then under a live lease or waiting for a worker.
    """
    records = trials_of(study)
    assert [record.trial for record in records] == list(range(trials))
    assert len({record.digest for record in records}) == trials
    for record in records:
        assert record.is_finished or not total, record.name
        assert record.cached_from is None
        assert [epoch.epoch for epoch in record.curve] == list(range(1, len(record.curve) + 1))
        if record.state == "complete":
            assert len(record.curve) == study.recipe.epochs
    told = {trial.number: trial for trial in optuna_trials(study)}
    assert set(told) == set(range(trials))
    for record in records if total else ():
        trial = told[record.trial or 0]
        known = "PRUNED" if record.cause == "out_of_memory" else TOLD[record.state]
        assert trial.state.name == known, (record.name, record.cause)
        if record.state == "complete":
            assert trial.values == [record.measure(objective.name) for objective in study.objectives_in_order]
    with open_store(study) as store:
        check_tables(store)


def check_tables(store: Store) -> None:
    """What must hold in our tables whatever was killed when."""
    with Session(store.engine) as session:
        now = session.scalar(select(database_clock(session)))
        evaluations = {row.uuid: row for row in session.scalars(select(EvaluationRow))}
        attempts = list(session.scalars(select(AttemptRow)))
        owners = session.execute(
            select(TrialRow.evaluation, func.count()).where(TrialRow.owns).group_by(TrialRow.evaluation)
        )
        assert dict(list(map(tuple, owners))) == dict.fromkeys(evaluations, 1), "each evaluation has one owner"
        for row in evaluations.values():
            assert (row.state == "running") == (row.cause is None) == (row.finished is None), row.uuid
            own = sorted((each for each in attempts if each.evaluation == row.uuid), key=lambda each: each.token)
            assert [each.token for each in own] == list(range(1, row.starts + 1)), "a token was given twice"
            open_ = [each for each in own if each.exit is None]
            if row.state != "running":
                assert (row.owner, row.lease_until, open_) == (None, None, []), "a finished trial is nobody's"
                assert own[-1].exit == row.cause, "the last attempt is the one that was recorded"
                assert [each.exit for each in own].count("ok") <= 1
            elif row.owner is not None:
                assert [(each.owner, each.token) for each in open_] == [(row.owner, row.starts)]
        epochs = session.execute(select(EpochRow.evaluation, EpochRow.epoch))
        assert all(evaluation in evaluations for evaluation, _ in epochs)
        assert now is not None
        assert all(
            row.lease_until is None or row.lease_until < now + 86_400 for row in session.scalars(select(ProposerRow))
        )
