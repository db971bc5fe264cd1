"""What a trial costs beside training and evaluation: sampling, checking, building, storing, telling.

    python benchmarks/framework.py

Runs a real study of 40 one-epoch trials on the nano space and subtracts the seconds that training and validation took.
The goal is at most 5 % of a 10-second trial.
"""

import tempfile
import time
from pathlib import Path

from archspec.results.records import EvaluationRecord
from archspec.schema.network import Network
from archspec.search.runner import open_store, search
from archspec.search.study import load_study

ROOT = Path(__file__).parent.parent
TRIALS, SECONDS_OF_A_TRIAL, SHARE = 40, 10.0, 0.05


class Silent:
    """Watches nothing."""

    def evaluation_started(self, name: str, epochs: int, network: Network) -> None: ...

    def epoch_ended(self, name: str, epoch: int, accuracy: float | None) -> None: ...

    def evaluation_ended(self, record: EvaluationRecord) -> None: ...


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        changes = (
            f"output={folder}", f"budget.trials={TRIALS}", "references=[]", "recipe.epochs=1",
            "data.train=64", "data.val=32", "threads=1",
        )  # fmt: skip
        study = load_study(ROOT / "studies" / "quickstart.yaml", changes)
        started = time.perf_counter()
        search(study, Silent())
        total = time.perf_counter() - started
        with open_store(study) as store:
            records = store.evaluations(study.name)
    trained = sum(epoch.seconds or 0.0 for record in records for epoch in record.curve)
    each = (total - trained) / TRIALS
    print(f"{TRIALS} trials in {total:.1f} s, of which training and validation {trained:.1f} s")
    share = each / SECONDS_OF_A_TRIAL
    print(f"framework: {each:.3f} s a trial (start of the study included), {100 * share:.1f} % of a 10-second trial")
    print(f"at most {100 * SHARE:.0f} %: {'met' if share <= SHARE else 'missed'}")


if __name__ == "__main__":
    main()
