"""A study's pruner and what its trials measured go in; whether a trial stops now comes out."""

from collections.abc import Callable, Sequence

import optuna

from archspec.results.records import EvaluationRecord, Objective
from archspec.search.rungs import Ladder, Values, rungs
from archspec.search.study import MEASURED, Pruner


class EarlyStopping:
    """Asks Optuna's pruners whether a trial stops now, judged by accuracy, with one objective or several.

    Optuna refuses to prune with several objectives, so its pruners are asked about a study in memory that has one, the
    accuracy. It is filled from our own store, epoch by epoch, which gives every pruner the history it keeps.
    """

    def __init__(self, pruner: Pruner, name: str, epochs: int, finished: Sequence[EvaluationRecord]) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(study_name=name, direction="maximize", pruner=_pruner(pruner, epochs))
        self._trial: optuna.Trial | None = None
        for record in finished:
            self.start()
            for epoch in record.curve:
                self.report(epoch.epoch, epoch.val_accuracy)
            self.finish(record)

    def start(self) -> None:
        """A trial begins."""
        self._trial = self._study.ask()

    def report(self, epoch: int, accuracy: float | None) -> bool:
        """An epoch ended: whether to stop. A resumed trial reports its earlier epochs again first."""
        if self._trial is None or accuracy is None:
            return False
        self._trial.report(accuracy, epoch)
        return self._trial.should_prune()

    def finish(self, record: EvaluationRecord) -> None:
        """The trial has its outcome."""
        if self._trial is None:
            return
        last = record.curve[-1].val_accuracy if record.curve else None
        if record.state == "complete" and last is not None:
            self._study.tell(self._trial, last)
        else:
            state = optuna.trial.TrialState.PRUNED if record.state == "pruned" else optuna.trial.TrialState.FAIL
            self._study.tell(self._trial, state=state)
        self._trial = None


def _pruner(pruner: Pruner, epochs: int) -> optuna.pruners.BasePruner:
    lowest = max(1, pruner.warmup)
    if pruner.name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=pruner.startup, n_warmup_steps=pruner.warmup)
    if pruner.name == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=lowest, reduction_factor=pruner.reduction)
    if pruner.name == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=lowest, max_resource=epochs, reduction_factor=pruner.reduction
        )
    return optuna.pruners.NopPruner()


def ladder(pruner: Pruner, epochs: int) -> Ladder:
    """The rungs of a study whose pruner is `domination`."""
    return Ladder(rungs(pruner.warmup, epochs, pruner.reduction), pruner.reduction)


def values_at(
    objectives: Sequence[Objective], measured: Callable[[str], float | None], cost: Callable[[str], int]
) -> Values | None:
    """What a trial is worth in each objective, larger is better; None where a measure is missing."""
    values = []
    for objective in objectives:
        value = measured(objective.name) if objective.name in MEASURED else cost(objective.name)
        if value is None:
            return None
        values.append(float(value) if objective.direction == "maximise" else -float(value))
    return tuple(values)
