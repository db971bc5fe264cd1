"""A study goes in; its references and trials are evaluated, as many as its budget asks, in as many runs as it takes.

Nothing is held in this process that a kill could lose: assignments and outcomes are in our store before Optuna hears
of them, training is in a checkpoint after every epoch. Running the same study again goes on where it stopped; running
it in a second terminal helps.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from archspec import __version__
from archspec.errors import SpecError, StoreError, StudyError
from archspec.results.database import DatabaseAway
from archspec.results.engine import database_url
from archspec.results.leases import Leases
from archspec.results.records import StudyRecord
from archspec.results.status import StudyStatus
from archspec.results.store import Store
from archspec.schema.load import load, network_yaml
from archspec.schema.network import Network
from archspec.search import suggest
from archspec.search.candidate import Candidate, Observer, Requester, adapted, candidate
from archspec.search.data.images import ImageData
from archspec.search.data.load import open_data
from archspec.search.heartbeat import Heartbeat
from archspec.search.job import Job
from archspec.search.machine import DECIDES_TIMES, process_place, versions
from archspec.search.migration import genes_of, migrate
from archspec.search.optuna_study import optuna_name
from archspec.search.processes import ForkServer
from archspec.search.proposals import Proposals
from archspec.search.protocol import refuse_another_protocol, refuse_another_space, table_of
from archspec.search.space import SearchSpace, point, sample
from archspec.search.space.match import scaled
from archspec.search.spaces import Spaces, spaces_of
from archspec.search.study import Study, protocol_digest
from archspec.search.supervisor import Supervisor
from archspec.search.table import Table
from archspec.search.threads import processors_here
from archspec.search.worker import Stop, Worker

Say = Callable[[str], None]


@dataclass(frozen=True)
class Urls:
    """Where our store and Optuna's study are: two SQLite files of the study's folder, or one server."""

    store: str
    optuna: str


def urls_of(study: Study) -> Urls:
    if study.storage is not None:
        # With its driver written out, as Optuna needs it: `postgres://` and a bare path are understood too.
        url = database_url(study.storage).render_as_string(hide_password=False)
        return Urls(url, url)
    folder = study.folder.absolute()
    return Urls(f"sqlite:///{folder / 'archspec.db'}", f"sqlite:///{folder / 'optuna.db'}")


def open_store(study: Study, create: bool = False) -> Store:
    """The store of a study. Raises StoreError when there is none and it is not to be created."""
    return Store.open(urls_of(study).store, create=create)


def finished(study: Study) -> frozenset[tuple[int | None, str | None]]:
    """The trials by number and references by name that have their outcome; none when the study was never run.

    Raises StoreError where the study could not be run either: no database is of that name, or it cannot be reached.
    """
    url = urls_of(study).store
    try:
        with Store.open(url, create=False) as store:
            return StudyStatus(store, study.name).ended_names()
    except DatabaseAway:
        raise
    except StoreError:
        return frozenset()


def search(
    study: Study,
    observer: Observer,
    *,
    workers: int | None = None,
    server: ForkServer | None = None,
    say: Say = lambda text: None,
) -> None:
    """Run or resume a study until its budget is spent. Other processes may run the same study at the same time.

    Args:
        study: what to search.
        observer: told of every evaluation and epoch.
        workers: so many processes; None: as the study says. One: this process is the worker.
        server: where the processes of trials come from, kept warm for further calls; None: one for this call.
        say: told what a person should know before the first trial, such as what an edited space does to old trials.

    Raises:
        StudyError: its trials keep failing for one cause, or a policy of the study says to stop.
        SpecError, DataError, StoreError: something the study names is not as it should be.
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    count, stop = workers or study.workers.count, Stop()
    with stop.on_signals(), _warm(study, server) as warm:
        prepared = prepare(study, warm, count, say)
        if count == 1:
            work(prepared, warm, observer, stop, str(uuid.uuid4()))
            return
        with open_store(study) as store:
            Supervisor(study, store, count, prepared.environment, prepared.devices, warm, observer, stop).run()


@contextmanager
def _warm(study: Study, server: ForkServer | None) -> Iterator[ForkServer]:
    """A fork server, which imports torch while the study is read."""
    if server is not None:
        server.warm()
        yield server
        return
    with ForkServer(light=study.evaluate is not None) as made:
        yield made


@dataclass(frozen=True)
class Prepared:
    """A study whose files have been read, and what this machine is."""

    study: Study
    data: ImageData
    spaces: Spaces
    threads: int
    environment: dict[str, Any]
    devices: int
    table: Table | None = None

    @property
    def requester(self) -> Requester:
        facts: dict[str, Any] = {"data": self.data.digest, "recipe": self.study.recipe.fingerprint, "code": __version__}
        facts |= {} if self.table is None else {"table": self.table.digest}
        if self.study.timed:  # times of two machines are not alike
            facts |= {"timed": self.study.timed} | {name: self.environment.get(name) for name in DECIDES_TIMES}
        return Requester(self.study.name, protocol_digest(facts), self.study.seed, self.environment)

    @property
    def job(self) -> Job:
        """What all trainings have in common."""
        study = self.study
        recipe, data = study.recipe.model_dump(mode="json"), study.data.model_dump(mode="json")
        if self.table is not None:
            return Job("replay", recipe, "cpu", table=str((self.table.path or Path()).absolute()))
        return Job("train", recipe, self.environment["device"], data, threads=self.threads, timed=study.timed)


def prepare(study: Study, server: ForkServer, workers: int, say: Say) -> Prepared:
    """Read what the study names, look at the machine, and write the study into the store.

    Raises as `search`.
    """
    table = table_of(study)
    data = table.data if table else open_data(study.data)
    spaces = spaces_of(study, data)
    references = [reference_of(name, spaces, data) for name in study.references]
    facts: dict[str, Any] = {"environment": versions() | {"device": "table"}, "devices": 0}
    if table is None:
        facts = _checked(study, server)
    else:
        refuse_another_space(table, spaces, references)
    with open_store(study, create=True) as store:
        threads = 1 if table else _threads(study, spaces.trained, data, store, server, workers)
        environment = facts["environment"] | {"threads": threads}
        prepared = Prepared(study, data, spaces, threads, environment, facts["devices"], table)
        refuse_another_protocol(study, prepared.requester.protocol, environment, store)
        leases = Leases(store, str(uuid.uuid4()), process_place(), study.workers.lease_seconds)
        store.save_study(migrate(_study_record(prepared), spaces, leases, urls_of(study).optuna, say))
        for reference in references:
            store.start_evaluation(prepared.requester.request(reference))
    return prepared


def prepared_again(study: Study, environment: dict[str, Any]) -> Prepared:
    """The same for one more worker of a command: the process that started it looked at the machine."""
    table = table_of(study)
    data = table.data if table else open_data(study.data)
    spaces = spaces_of(study, data, checked=False)
    return Prepared(study, data, spaces, environment["threads"], environment, 0, table)


def work(prepared: Prepared, server: ForkServer, observer: Observer, stop: Stop, owner: str) -> None:
    """Be one worker of a study until it is done. Raises as `Worker.run`."""
    study, urls = prepared.study, urls_of(prepared.study)
    with open_store(study) as store:
        store.waits = lambda seconds: seconds < study.workers.reconnect_seconds and not stop.asked()
        leases = Leases(store, owner, process_place(), study.workers.lease_seconds)
        status = StudyStatus(store, study.name)
        with Heartbeat(leases) as heartbeat:
            proposals = Proposals(
                study=study,
                spaces=prepared.spaces,
                status=status,
                leases=leases,
                heartbeat=heartbeat,
                requester=prepared.requester,
                optuna_url=urls.optuna,
                optuna_name=optuna_name(store.get_study(study.name)),
                ended_before=frozenset(each.trial for each in status.ended()),
                table=prepared.table,
            )
            with closing(proposals):
                Worker(study, status, leases, heartbeat, server, proposals, prepared.job, observer, stop).run()


def _checked(study: Study, server: ForkServer) -> dict[str, Any]:
    """What the process of a trial says about the machine. Raises StudyError when the recipe cannot run here."""
    job = Job("check", study.recipe.model_dump(mode="json"), study.device)
    said = server.result(job)
    if said["kind"] != "ended" or said["cause"] != "ok":
        raise StudyError(said.get("message") or f"no process for trials can be started here: {server.last_words()}")
    facts: dict[str, Any] = said["facts"]
    return facts


def reference_of(name: str, spaces: Spaces, data: ImageData) -> Candidate:
    """A named network as the study trains it: at the budget of the study, if it has one. Raises SpecError."""
    network, scaling = load(name), None
    if spaces.written.matching is not None:
        try:
            network, _, scaling = scaled(network, spaces.written.matching)
        except SpecError as error:
            raise SpecError(replace(problem, path=f"references: {name}") for problem in error.problems) from error
    return candidate(network, data, reference=name, scaling=scaling)


def _begun_threads(study: Study, store: Store) -> int | None:
    """The study's number of threads: as written, or as it began."""
    if isinstance(study.threads, int):
        return study.threads
    begun = next((record for record in store.studies() if record.name == study.name), None)
    found = None if begun is None else begun.environment.get("threads")
    return found if isinstance(found, int) else None


def _threads(study: Study, space: SearchSpace, data: ImageData, store: Store, server: ForkServer, workers: int) -> int:
    """The study's number of threads, measured now on its first network where it is not known."""
    known = _begun_threads(study, store)
    share = max(1, processors_here() // workers)
    if known is not None or share == 1:
        return known or 1
    first = adapted(load(study.references[0]), data) if study.references else _drawn(space, study.seed)
    spec, recipe = network_yaml(first), study.recipe.model_dump(mode="json")
    said = server.result(Job("threads", recipe, "cpu", spec=spec, processors=share))
    return int(said.get("facts", {}).get("threads", 1))


def _drawn(space: SearchSpace, seed: int) -> Network:
    """A network of the space; there is one, or the space would have been refused."""
    rng = suggest.seeded(seed, "threads")
    while True:
        try:
            return point(space, sample(space, rng)).network
        except SpecError:
            continue


def _study_record(prepared: Prepared) -> StudyRecord:
    study, spaces = prepared.study, prepared.spaces
    written = study.model_dump(mode="json", exclude_unset=True)
    return StudyRecord(
        name=study.name,
        space=spaces.written.path.read_text(),
        study=yaml.safe_dump(written, sort_keys=False),
        space_digest=spaces.trained.digest,
        seed=study.seed,
        objectives=study.objectives_in_order,
        sampler=study.sampler.model_dump(mode="json"),
        trials=study.budget.trials,
        data=study.data.model_dump(mode="json"),
        recipe=study.recipe.model_dump(mode="json"),
        axes={gene.name: gene.axis for gene in spaces.written.genes},
        genes=genes_of(spaces.written),
        constraints=tuple(map(str, spaces.written.constraints)),
        archspec_version=__version__,
        environment=dict(prepared.environment),
    )
