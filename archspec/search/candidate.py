"""A network about to be evaluated, by whom it was asked for, and who watches: plain data, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from archspec.costs import cost
from archspec.ir import Program
from archspec.resolve import resolve
from archspec.results.records import EvaluationRecord, EvaluationRequest, Gene
from archspec.schema.load import network_yaml
from archspec.schema.network import Network
from archspec.search.data.images import ImageData
from archspec.search.space.match import Scaling


class Observer(Protocol):
    """Who watches a search: the command line draws it, tests record it."""

    def evaluation_started(self, name: str, epochs: int, network: Network) -> None: ...

    def epoch_ended(self, name: str, epoch: int, accuracy: float | None) -> None: ...

    def evaluation_ended(self, record: EvaluationRecord) -> None: ...


@dataclass(frozen=True)
class Candidate:
    """A point about to be evaluated: a trial of the study by number, or a reference by name."""

    network: Network
    program: Program
    trial: int | None = None
    reference: str | None = None
    genes: Mapping[str, Gene] | None = None
    scaling: Scaling | None = None

    @property
    def name(self) -> str:
        return self.reference if self.reference is not None else f"trial {self.trial}"


def adapted(network: Network, data: ImageData) -> Network:
    """The network at the size and classes of a data set."""
    image = network.input.model_copy(update={"size": data.size, "channels": 3})
    return network.model_copy(update={"input": image, "classes": len(data.classes)})


@dataclass(frozen=True)
class Requester:
    """What every request of a study has in common."""

    study: str
    protocol: str
    seed: int
    environment: Mapping[str, object]

    def request(self, candidate: Candidate) -> EvaluationRequest:
        """What the store is asked for: everything that identifies and reproduces the evaluation."""
        return EvaluationRequest(
            study=self.study,
            digest=candidate.program.digest,
            protocol=self.protocol,
            seed=self.seed,
            spec=network_yaml(candidate.network),
            trial=candidate.trial,
            reference=candidate.reference,
            cost=vars(cost(candidate.program)),
            params=dict(candidate.genes or {}),
            environment=dict(self.environment) | ({"match": candidate.scaling.facts()} if candidate.scaling else {}),
        )


def candidate(network: Network, data: ImageData, **who: Any) -> Candidate:
    """A network at the size of the data, resolved. Raises SpecError where it cannot stand at that size."""
    fitted = adapted(network, data)
    return Candidate(fitted, resolve(fitted), **who)
