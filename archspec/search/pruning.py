"""A study's pruner and what its trials measured go in; whether a trial goes on after an epoch comes out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from archspec.results.records import TIMED, EpochRecord, EvaluationRecord, Objective
from archspec.results.status import StudyStatus
from archspec.search.recipe import Recipe
from archspec.search.rungs import Brackets, Ladder, Values, rungs
from archspec.search.study import MEASURED, Pruner, Study

GoesOn = Callable[[EpochRecord], bool]


def ladder(pruner: Pruner, recipe: Recipe) -> Ladder:
    """The rungs of a study: those of its recipe, or those that its pruner puts between its epochs.

    The median pruner is a rung after every epoch, from which the better half goes on.
    """
    if pruner.name == "none":
        return Ladder(Brackets(((),), (1,)), pruner.reduction)
    if pruner.name == "median":
        return Ladder(Brackets((tuple(range(pruner.warmup + 1, recipe.epochs)),), (1,)), 2, pruner.startup)
    found = tuple(rung.epochs for rung in recipe.rungs) or rungs(pruner.warmup, recipe.epochs, pruner.reduction)
    if pruner.name == "hyperband":
        return Ladder(Brackets.of(found, pruner.reduction), pruner.reduction)
    return Ladder(Brackets((found,), (1,)), pruner.reduction)


@dataclass
class EarlyStopping:
    """Judges trials by all objectives of a study, one or several, and by the curves of all its workers."""

    study: Study
    status: StudyStatus
    _ended: dict[int, EvaluationRecord] = field(default_factory=dict)

    def judge(self, record: EvaluationRecord) -> GoesOn:
        """Whether a trial goes on after each epoch that it reports.

        A trial that is resumed reports its epochs again: those before its last were judged when they were new.
        """

        def goes_on(epoch: EpochRecord) -> bool:
            trial, values = record.trial, self._values(record, epoch)
            if trial is None or values is None or epoch.epoch < len(record.curve):
                return True
            rungs_met = ladder(self.study.pruner, self.study.recipe)
            if not rungs_met.is_rung(trial, epoch.epoch):
                return True
            for other in self._others(trial):
                self._note(rungs_met, other)
            return rungs_met.goes_on(trial, epoch.epoch, values)

        return goes_on

    def _others(self, trial: int) -> Sequence[EvaluationRecord]:
        """The other trials as they are now; those that have ended are read once."""
        now = self.status.records(self.status.numbers() - self._ended.keys() - {trial})
        self._ended |= {record.trial: record for record in now if record.is_finished and record.trial is not None}
        return [*self._ended.values(), *(record for record in now if not record.is_finished)]

    def _note(self, rungs_met: Ladder, record: EvaluationRecord) -> None:
        for epoch in record.curve:
            values = self._values(record, epoch)
            if values is not None and record.trial is not None:
                rungs_met.note(record.trial, epoch.epoch, values)

    def _values(self, record: EvaluationRecord, epoch: EpochRecord) -> Values | None:
        measured = {"accuracy": epoch.val_accuracy, "val_loss": epoch.val_loss}
        return values_at(self.study.objectives_in_order, measured.get, record.cost.__getitem__)


def values_at(
    objectives: Sequence[Objective], measured: Callable[[str], float | None], cost: Callable[[str], int]
) -> Values | None:
    """What a trial is worth in each objective, larger is better; None where a measure is missing.

    Times are left out: a network is timed when it is trained.
    """
    values = []
    for objective in (each for each in objectives if each.name not in TIMED):
        value = measured(objective.name) if objective.name in MEASURED else cost(objective.name)
        if value is None:
            return None
        values.append(float(value) if objective.direction == "maximise" else -float(value))
    return tuple(values)
