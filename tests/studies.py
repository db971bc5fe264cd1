"""Small real studies for tests: a space of a few dozen points, a few dozen fractals, an epoch in a blink."""

from pathlib import Path

from archspec.results.records import EvaluationRecord
from archspec.schema.network import Network
from archspec.search.runner import open_store
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
