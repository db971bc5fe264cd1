"""How far a study is: the light questions that workers ask between two trials, without a curve or a spec."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from archspec.results import rows
from archspec.results.leases import database_clock
from archspec.results.records import EndedTrial, EvaluationRecord
from archspec.results.store import Store
from archspec.results.tables import AttemptRow, EpochRow, EvaluationRow, ProposerRow, TrialRow


@dataclass(frozen=True)
class Reached:
    """How far a trial (or a reference) is; `epochs` is None when it has its outcome."""

    trial: int | None
    reference: str | None
    epochs: int | None = None


@dataclass(frozen=True)
class StudyStatus:
    """The questions about one study."""

    store: Store
    study: str

    def trials(self) -> int:
        """How many trials there are, finished or not."""
        query = select(func.count()).where(TrialRow.study == self.study, TrialRow.number.is_not(None))
        return self.store.read(lambda session: session.scalar(query) or 0)

    def numbers(self) -> frozenset[int]:
        """The numbers of the trials."""
        query = select(TrialRow.number).where(TrialRow.study == self.study, TrialRow.number.is_not(None))
        return self.store.read(
            lambda session: frozenset(number for number in session.scalars(query) if number is not None)
        )

    def digests(self) -> frozenset[str]:
        """What the trials and references of the study are, finished or not."""
        query = select(EvaluationRow.digest).join(TrialRow, TrialRow.evaluation == EvaluationRow.uuid)
        return self.store.read(lambda s: frozenset(s.scalars(query.where(TrialRow.study == self.study))))

    def protocols(self) -> frozenset[str]:
        """The protocols of the trials and references: one, as long as the study's data and recipe stay."""
        query = select(EvaluationRow.protocol).join(TrialRow, TrialRow.evaluation == EvaluationRow.uuid).distinct()
        found = self.store.read(lambda s: s.scalars(query.where(TrialRow.study == self.study)).all())
        return frozenset(map(rows.shared_protocol, found))

    def ended(self) -> tuple[EndedTrial, ...]:
        """The outcomes of the trials, in the order in which they came."""
        query = select(TrialRow.number, EvaluationRow.cause, EvaluationRow.message)
        query = query.join(EvaluationRow, TrialRow.evaluation == EvaluationRow.uuid)
        mine = TrialRow.study == self.study, TrialRow.number.is_not(None), EvaluationRow.cause.is_not(None)
        query = query.where(*mine).order_by(EvaluationRow.finished, TrialRow.number)
        return self.store.read(
            lambda session: tuple(EndedTrial(row[0], row[1], row[2]) for row in session.execute(query))
        )

    def running(self) -> int:
        """How many trials and references have no outcome yet."""
        query = select(func.count()).select_from(TrialRow)
        query = query.join(EvaluationRow, TrialRow.evaluation == EvaluationRow.uuid)
        query = query.where(TrialRow.study == self.study, EvaluationRow.state == "running")
        return self.store.read(lambda session: session.scalar(query) or 0)

    def free(self, owner: str) -> tuple[EvaluationRecord, ...]:
        """The trials and references to be had: given back, or their worker's lease ran out, or the owner's own."""

        def read(session: Session) -> tuple[EvaluationRecord, ...]:
            over = EvaluationRow.lease_until < database_clock(session)
            nobody = or_(EvaluationRow.lease_until.is_(None), over, EvaluationRow.owner == owner)
            query = select(TrialRow).join(EvaluationRow, TrialRow.evaluation == EvaluationRow.uuid)
            query = query.where(TrialRow.study == self.study, EvaluationRow.state == "running", nobody)
            found = session.scalars(query.order_by(TrialRow.reference.is_(None), TrialRow.number)).all()
            return tuple(rows.evaluation_records(session, found))

        return self.store.read(read)

    def holders(self) -> frozenset[tuple[str, str]]:
        """The workers that have a lease of the study, and where they are."""
        claims = select(AttemptRow.owner, AttemptRow.place).where(AttemptRow.exit.is_(None))
        claims = claims.join(TrialRow, TrialRow.evaluation == AttemptRow.evaluation).where(TrialRow.study == self.study)
        turns = select(ProposerRow.owner, ProposerRow.place).where(ProposerRow.study == self.study)

        def read(session: Session) -> frozenset[tuple[str, str]]:
            found = [*session.execute(claims), *session.execute(turns)]
            return frozenset((row[0], row[1]) for row in found if row[0] is not None and row[1] is not None)

        return self.store.read(read)

    def records(self, trials: frozenset[int]) -> tuple[EvaluationRecord, ...]:
        """The records of some trials, by number."""
        query = select(TrialRow).where(TrialRow.study == self.study, TrialRow.number.in_(sorted(trials)))
        return self._records(query.order_by(TrialRow.number)) if trials else ()

    def record(self, trial: int | None, reference: str | None = None) -> EvaluationRecord | None:
        """What a trial or a named point got, or None where it never asked."""
        query = select(TrialRow).where(TrialRow.study == self.study)
        one = TrialRow.reference == reference if trial is None else TrialRow.number == trial
        return next(iter(self._records(query.where(one))), None)

    def ended_names(self) -> frozenset[tuple[int | None, str | None]]:
        """The trials by number and references by name that have their outcome."""
        query = select(TrialRow.number, TrialRow.reference)
        query = query.join(EvaluationRow, TrialRow.evaluation == EvaluationRow.uuid)
        query = query.where(TrialRow.study == self.study, EvaluationRow.state != "running")
        return self.store.read(lambda session: frozenset((row[0], row[1]) for row in session.execute(query)))

    def running_epochs(self) -> tuple[Reached, ...]:
        """How far the trials and references are that some worker has."""
        query = select(TrialRow.number, TrialRow.reference, func.count(EpochRow.epoch))
        query = query.join(EvaluationRow, TrialRow.evaluation == EvaluationRow.uuid)
        query = query.outerjoin(EpochRow, EpochRow.evaluation == EvaluationRow.uuid)
        mine = TrialRow.study == self.study, EvaluationRow.state == "running", EvaluationRow.owner.is_not(None)
        query = query.where(*mine, TrialRow.owns).group_by(TrialRow.number, TrialRow.reference)
        return self.store.read(lambda session: tuple(Reached(*row) for row in session.execute(query)))

    def exits(self) -> dict[str, int]:
        """How often attempts of the study's trials ended in each way, retries included."""
        query = select(AttemptRow.exit, func.count()).join(TrialRow, TrialRow.evaluation == AttemptRow.evaluation)
        query = query.where(TrialRow.study == self.study, TrialRow.owns, AttemptRow.exit.is_not(None))
        counted = query.group_by(AttemptRow.exit).order_by(AttemptRow.exit)
        return self.store.read(lambda s: {str(kind): count for kind, count in s.execute(counted)})

    def _records(self, query: Select[Any]) -> tuple[EvaluationRecord, ...]:
        return self.store.read(lambda s: tuple(rows.evaluation_records(s, s.scalars(query).all())))
