"""A study goes in; its references and trials are evaluated, as many as its budget asks, in as many runs as it takes.

Nothing is held in this process that a kill could lose: assignments and outcomes are in our store before Optuna hears
of them, training is in a checkpoint after every epoch. Running the same study again goes on where it stopped; running
it in a second terminal helps.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from archspec import __version__
from archspec.errors import SpecError, StoreError, StudyError
from archspec.results.leases import Leases
from archspec.results.records import StudyRecord
from archspec.results.standing import Standing
from archspec.results.store import Store
from archspec.schema.load import load, network_yaml
from archspec.schema.network import Network
from archspec.search import suggest
from archspec.search.book import book_name
from archspec.search.data.images import ImageData
from archspec.search.data.load import open_data
from archspec.search.evaluate import Asking, Observer, adapted, candidate
from archspec.search.job import Job
from archspec.search.keeper import Keeper
from archspec.search.machine import process_place, versions
from archspec.search.migration import genes_of, migrate
from archspec.search.nursery import Nursery
from archspec.search.proposals import Proposals
from archspec.search.space import SearchSpace, point, sample
from archspec.search.spaces import Spaces, spaces_of
from archspec.search.study import Study, protocol_digest
from archspec.search.table import Table, read_table
from archspec.search.threads import processors_here
from archspec.search.worker import Stop, Worker

Say = Callable[[str], None]


@dataclass(frozen=True)
class Urls:
    """Where our store and Optuna's book are: two SQLite files of the study's folder, or one server."""

    store: str
    optuna: str


def urls_of(study: Study) -> Urls:
    if study.storage is not None:
        return Urls(study.storage, study.storage.replace("postgresql://", "postgresql+psycopg://", 1))
    folder = study.folder.absolute()
    return Urls(suggest.sqlite_url(folder / "archspec.db"), suggest.sqlite_url(folder / "optuna.db"))


def open_store(study: Study, create: bool = False) -> Store:
    """The store of a study. Raises StoreError when there is none and it is not to be created."""
    return Store.open(urls_of(study).store, create=create)


def finished_trials(study: Study) -> int:
    """How many trials of a study have their outcome; 0 when it was never run."""
    try:
        with open_store(study) as store:
            return len(Standing(store, study.name).ended())
    except StoreError:
        return 0


def search(
    study: Study,
    observer: Observer,
    *,
    workers: int | None = None,
    nursery: Nursery | None = None,
    say: Say = lambda text: None,
) -> None:
    """Run or resume a study until its budget is spent. Other processes may run the same study at the same time.

    Args:
        study: what to search.
        observer: told of every evaluation and epoch.
        workers: so many processes; None: as the study says. One: this process is the worker.
        nursery: where the processes of trials come from, kept warm for further calls; None: one for this call.
        say: told what a person should know before the first trial, such as what an edited space does to old trials.

    Raises:
        StudyError: its trials keep failing for one cause, or a policy of the study says to stop.
        SpecError, DataError, StoreError: something the study names is not as it should be.
    """
    from archspec.search.foreman import Foreman

    study.folder.mkdir(parents=True, exist_ok=True)
    count, stop = workers or study.workers.count, Stop()
    with stop.on_signals(), _warm(study, nursery) as warm:
        prepared = prepare(study, warm, count, say)
        if count == 1:
            work(prepared, warm, observer, stop, str(uuid.uuid4()))
            return
        if nursery is None:
            warm.close()
        Foreman(study, count, prepared.environment, prepared.devices, observer, stop).run()


@contextmanager
def _warm(study: Study, nursery: Nursery | None) -> Iterator[Nursery]:
    """The nursery, importing torch while the study is read."""
    if nursery is not None:
        nursery.warm()
        yield nursery
        return
    with Nursery(light=study.evaluate is not None) as made:
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
    def asking(self) -> Asking:
        facts = {"data": self.data.digest, "recipe": self.study.recipe.fingerprint, "code": __version__}
        facts |= {} if self.table is None else {"table": self.table.digest}
        return Asking(self.study.name, protocol_digest(facts), self.study.seed, self.environment)

    @property
    def job(self) -> Job:
        """What all trainings have in common."""
        study = self.study
        recipe, data = study.recipe.model_dump(mode="json"), study.data.model_dump(mode="json")
        if self.table is not None:
            return Job("replay", recipe, "cpu", table=str((self.table.path or Path()).absolute()))
        return Job("train", recipe, self.environment["device"], data, threads=self.threads)


def prepare(study: Study, nursery: Nursery, workers: int, say: Say) -> Prepared:
    """Read what the study names, look at the machine, and write the study into the store.

    Raises as `search`.
    """
    data = open_data(study.data)
    spaces = spaces_of(study, data)
    table = _table(study, data)
    facts: dict[str, Any] = {"environment": versions() | {"device": "table"}, "devices": 0}
    if table is None:
        facts = _checked(study, nursery)
    with open_store(study, create=True) as store:
        threads = 1 if table else _threads(study, spaces.trained, data, store, nursery, workers)
        environment = facts["environment"] | {"threads": threads}
        prepared = Prepared(study, data, spaces, threads, environment, facts["devices"], table)
        leases = Leases(store, str(uuid.uuid4()), process_place(), study.workers.lease_seconds)
        store.save_study(migrate(_study_record(prepared), spaces, leases, urls_of(study).optuna, say))
        for name in study.references:
            found = candidate(load(name), data, reference=name)
            store.start_evaluation(prepared.asking.request(found))
    return prepared


def begun(study: Study, environment: dict[str, Any]) -> Prepared:
    """The same for one more worker of a command: the process that started it looked at the machine."""
    data = open_data(study.data)
    spaces, table = spaces_of(study, data, checked=False), _table(study, data)
    return Prepared(study, data, spaces, environment["threads"], environment, 0, table)


def work(prepared: Prepared, nursery: Nursery, observer: Observer, stop: Stop, owner: str) -> None:
    """Be one worker of a study until it is done. Raises as `Worker.run`."""
    study, urls = prepared.study, urls_of(prepared.study)
    with open_store(study) as store:
        store.patience = study.workers.reconnect_seconds
        leases = Leases(store, owner, process_place(), study.workers.lease_seconds)
        standing = Standing(store, study.name)
        with Keeper(leases) as keeper:
            proposals = Proposals(
                study=study,
                spaces=prepared.spaces,
                standing=standing,
                leases=leases,
                keeper=keeper,
                asking=prepared.asking,
                book_url=urls.optuna,
                book_name=book_name(store.get_study(study.name)),
                ended_before=len(standing.ended()),
                table=prepared.table,
            )
            with closing(proposals):
                Worker(study, standing, leases, keeper, nursery, proposals, prepared.job, observer, stop).run()


def _table(study: Study, data: ImageData) -> Table | None:
    """The table that a study asks instead of training. Raises StudyError for one of other data or another recipe."""
    if study.evaluate is None:
        return None
    table = read_table(study.evaluate.table, study.source_folder)
    for name, there, here in (
        ("data", table.facts.data_digest, data.digest),
        ("recipe", dict(table.facts.recipe), study.recipe.fingerprint),
    ):
        if there != here:
            found = f"{there} there, {here} here"
            raise StudyError(f"{name} of the study and of its table {study.evaluate.table} differ\n    found: {found}")
    return table


def _checked(study: Study, nursery: Nursery) -> dict[str, Any]:
    """What the process of a trial says about the machine. Raises StudyError when the recipe cannot run here."""
    job = Job("check", study.recipe.model_dump(mode="json"), study.device)
    said = nursery.result(job)
    if said["kind"] != "ended" or said["cause"] != "ok":
        raise StudyError(said.get("message") or f"no process for trials can be started here: {nursery.last_words()}")
    facts: dict[str, Any] = said["facts"]
    return facts


def _begun_threads(study: Study, store: Store) -> int | None:
    """The study's number of threads: as written, or as it began."""
    if isinstance(study.threads, int):
        return study.threads
    begun = next((record for record in store.studies() if record.name == study.name), None)
    found = None if begun is None else begun.environment.get("threads")
    return found if isinstance(found, int) else None


def _threads(study: Study, space: SearchSpace, data: ImageData, store: Store, nursery: Nursery, workers: int) -> int:
    """The study's number of threads, measured now on its first network where it is not known."""
    known = _begun_threads(study, store)
    share = max(1, processors_here() // workers)
    if known is not None or share == 1:
        return known or 1
    first = adapted(load(study.references[0]), data) if study.references else _drawn(space, study.seed)
    spec, recipe = network_yaml(first), study.recipe.model_dump(mode="json")
    said = nursery.result(Job("threads", recipe, "cpu", spec=spec, processors=share))
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
        archspec_version=__version__,
        environment=dict(prepared.environment),
    )
