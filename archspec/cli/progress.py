"""What a search reports goes in; live bars, one for each running trial, and a line per evaluation appear."""

from collections.abc import Collection
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from archspec.results.records import EvaluationRecord
from archspec.schema.network import Network
from archspec.search.study import Study


class SearchProgress:
    """Draws a study: trials done, epochs of the running one, the best so far, the time left."""

    def __init__(self, study: Study, finished: Collection[tuple[int | None, str | None]]) -> None:
        """`finished`: the trials by number and references by name that have their outcome."""
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._trials, self._epochs = study.budget.trials, study.recipe.epochs
        self._done = sum(trial is not None for trial, _ in finished)
        self._best: tuple[float, str] | None = None
        self._all: TaskID = self._progress.add_task(
            "epochs of the study",
            total=(self._trials + len(study.references)) * self._epochs,
            completed=len(finished) * self._epochs,
        )
        self._now: dict[str, TaskID] = {}
        self._epoch: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def evaluation_started(self, name: str, epochs: int, network: Network) -> None:
        if name not in self._now:  # an attempt after one that failed
            self._now[name] = self._progress.add_task(name, total=epochs)

    def epoch_ended(self, name: str, epoch: int, accuracy: float | None) -> None:
        if name in self._now:
            shown = "" if accuracy is None else f" {100 * accuracy:.1f} %"
            self._progress.update(self._now[name], completed=epoch, description=f"{name}{shown}")
        # A trial that is resumed tells its earlier epochs again.
        self._progress.advance(self._all, max(0, epoch - self._epoch.get(name, 0)))
        self._epoch[name] = max(epoch, self._epoch.get(name, 0))

    def evaluation_ended(self, record: EvaluationRecord) -> None:
        task = self._now.pop(record.name, None)
        if task is not None:
            self._progress.remove_task(task)
        # One that stopped early, or that was known before, is as done as any other.
        self._progress.advance(self._all, self._epochs - self._epoch.pop(record.name, 0))
        accuracy = record.measure("accuracy")
        if accuracy is not None and (self._best is None or accuracy > self._best[0]):
            self._best = (accuracy, record.name)
        self._done += record.trial is not None
        self.say(self._line(record, accuracy))

    def _line(self, record: EvaluationRecord, accuracy: float | None) -> str:
        outcome = f"{100 * accuracy:5.1f} %" if accuracy is not None else f"{record.cause}: {record.message}"
        cached = " (known before)" if record.cached_from else f" in {record.seconds or 0:.0f} s"
        best = f"   best {100 * self._best[0]:.1f} % ({self._best[1]})" if self._best else ""
        cost = record.cost
        size = f"{cost['params'] / 1e6:.2f} M params {cost['macs'] / 1e6:.1f} M macs"
        state = "" if record.state == "complete" else f" [{record.state}]"
        return f"{self._done:4d}/{self._trials}  {record.name:<16} {outcome}{state}  {size}{cached}{best}"
