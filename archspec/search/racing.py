"""A race and what all requests of a study have in common go in; the trainings of its next round come out."""

from collections.abc import Iterator
from dataclasses import replace

from archspec.results.race import Race
from archspec.results.records import EvaluationRecord, EvaluationRequest, replicate_name
from archspec.search.candidate import Requester


def next_round(race: Race, requester: Requester) -> Iterator[EvaluationRequest]:
    """Every contender that is not told apart from the others, once more, with each seed of the round.

    The same for every worker that asks before any of them is trained, so that two that ask at once ask for the same.
    """
    records = {each.record.name: each.record for each in race.contenders}
    for name, seeds in race.next_seeds.items():
        for seed in seeds:
            yield _again(records[name], replace(requester, seed=seed))


def _again(record: EvaluationRecord, requester: Requester) -> EvaluationRequest:
    matched = {name: record.environment[name] for name in ("match",) if name in record.environment}
    return EvaluationRequest(
        study=requester.study,
        digest=record.digest,
        protocol=requester.protocol,
        seed=requester.seed,
        spec=record.spec,
        reference=replicate_name(record.name, requester.seed),
        cost=record.cost,
        environment=dict(requester.environment) | matched,
    )
