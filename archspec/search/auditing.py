"""A study or a table goes in; every proxy scored on its networks, and audited against their trainings, comes out.

Truth is the accuracy at the end of the longest training that there is, the mean over seeds. Where every network has
several seeds, what the first epochs say is taken from the first seed and truth from the others, so that a proxy does
not share its luck with the truth; where not, the audit says so. Named networks of the study that the paper trained on
ImageNet (scaled to a common cost by `match`, if the study says so) are audited against those accuracies too.
"""

import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from archspec.errors import Problem, SpecError, StudyError, nearest
from archspec.ir import Program
from archspec.resolve import resolve
from archspec.results.audit import Asked, Audit, audit
from archspec.results.records import EpochRecord, EvaluationRecord
from archspec.schema.load import network_from
from archspec.schema.source import read_text
from archspec.search.data.config import DataConfig
from archspec.search.data.images import ImageArray
from archspec.search.data.load import open_data
from archspec.search.proxies.imagenet import top1
from archspec.search.proxies.table import BASELINES, BY_NAME, CURVE_PROXIES, PROXIES, Proxy

FEWEST_ON_IMAGENET = 3

Curve = tuple[EpochRecord, ...]


@dataclass(frozen=True)
class Trained:
    """One network, and its trainings to the end: final accuracy and curve by seed."""

    name: str
    digest: str
    spec: str
    accuracies: Mapping[int, float]
    curves: Mapping[int, Curve]
    imagenet: float | None = None


@dataclass(frozen=True)
class Pool:
    """What is audited: networks trained alike."""

    source: str
    networks: tuple[Trained, ...]
    data: DataConfig
    epochs: int
    notes: tuple[str, ...] = ()

    @property
    def split(self) -> bool:
        """Whether every network has another seed for the truth."""
        return bool(self.networks) and all(len(each.accuracies) > 1 for each in self.networks)


@dataclass(frozen=True)
class Findings:
    """Both audits of a pool; the second is None where too few of its networks are of the paper."""

    pool: Pool
    training: Audit
    imagenet: Audit | None


@dataclass
class Scorer:
    """Scores networks, each once: what was scored is kept in a file, so that a killed audit goes on.

    Args:
        file: of JSON.
        seed: of the canonical start and of the choice of images.
        images: in a batch.
    """

    pool: Pool
    proxies: Sequence[Proxy]
    file: Path
    seed: int = 0
    images: int = 32
    known: dict[str, float | None] = field(default_factory=dict)

    def run(
        self, on_network: Callable[[int, int, str], None] = lambda done, total, name: None
    ) -> dict[str, list[float]]:
        """The scores of every proxy, in the order of the networks; NaN where it is refused or not finite.

        Raises DataError where the images cannot be had.
        """
        from archspec.search.proxies.batches import training_batches

        data = open_data(self.pool.data)
        batches = training_batches(data, max((p.batches for p in self.proxies), default=1), self.images, self.seed)
        place = f"{data.digest}|{self.seed}|{self.images}"
        if self.file.exists():
            self.known = json.loads(self.file.read_text())
        found: dict[str, list[float]] = {proxy.name: [] for proxy in self.proxies}
        for number, each in enumerate(self.pool.networks):
            on_network(number, len(self.pool.networks), each.name)
            program, before = program_of(each), len(self.known)
            for proxy in self.proxies:
                key = f"{each.digest}|{proxy.name}|{place}"
                if key not in self.known:
                    self.known[key] = proxy.score(program, batches, self.seed)
                score = self.known[key]
                found[proxy.name].append(math.nan if score is None else score)
            if len(self.known) > before:
                self._keep()
        return found

    def _keep(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        partial.write_text(json.dumps(self.known))
        partial.replace(self.file)


def program_of(each: Trained) -> Program:
    """The network, resolved."""
    return resolve(network_from(read_text(each.spec, f"the spec of {each.name}")))


def chosen(names: Iterable[str]) -> tuple[Proxy, ...]:
    """Proxies by name, the baselines always among them; all without a name. Raises SpecError naming the nearest."""
    names = tuple(names)
    for name in names:
        if name not in BY_NAME:
            raise SpecError(
                [Problem("a proxy is one of the table", name, nearest=nearest(name, BY_NAME) or tuple(BY_NAME))]
            )
    return tuple(proxy for proxy in PROXIES if not names or proxy.name in names or proxy.name in BASELINES)


def of_study(name: str, changes: tuple[str, ...]) -> tuple[Pool, Path]:
    """The trained networks of a study, and its folder. Raises SpecError, StoreError, StudyError."""
    from archspec.search.runner import open_store
    from archspec.search.study import load_study

    study = load_study(name, changes)
    with open_store(study) as store:
        records = store.evaluations(study.name)
    grouped: dict[str, list[EvaluationRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.is_replicate):
        if record.state == "complete" and record.measure("accuracy") is not None:
            grouped[record.digest].append(record)
    networks = tuple(_of_records(each) for each in grouped.values())
    notes: tuple[str, ...] = ()
    if study.sampler.name != "random":
        notes = (f"the trials were chosen by {study.sampler.name}, which looks where networks are good: no fair draw",)
    return _pool(Pool(f"study {study.name}", networks, study.data, study.recipe.epochs, notes)), study.folder


def of_table(path: str) -> tuple[Pool, Path]:
    """The networks of a table of `archspec tabulate`, and where its audit goes. Raises StoreError, StudyError."""
    from archspec.schema.located import LocatedDict
    from archspec.schema.validation import validate
    from archspec.search.table import read_table

    table = read_table(path)
    networks = []
    for digest, entries in table.by_digest.items():
        ended = [entry for entry in entries if entry.accuracy is not None]
        if ended:
            accuracies = {entry.seed: entry.accuracy or 0.0 for entry in ended}
            curves = {entry.seed: entry.curve for entry in ended}
            networks.append(Trained(ended[0].name, digest, ended[0].spec, accuracies, curves))
    data = validate(DataConfig, LocatedDict(table.facts.data))
    file = Path(path)
    pool = Pool(f"table {file.name}", tuple(networks), data, table.facts.epochs)
    return _pool(pool), file.with_name(f"{file.stem}-audit")


def _of_records(records: Sequence[EvaluationRecord]) -> Trained:
    first = records[0]
    named = [record.reference for record in records if record.reference is not None and not record.is_replicate]
    values = {record.seed: record.measure("accuracy") or 0.0 for record in records}
    curves = {record.seed: record.curve for record in records}
    imagenet = next((found for name in named if (found := top1(name)) is not None), None)
    return Trained(named[0] if named else first.name, first.digest, first.spec, values, curves, imagenet)


def _pool(pool: Pool) -> Pool:
    if len(pool.networks) < 2:
        found = f"{len(pool.networks)} networks trained to the end in {pool.source}"
        raise StudyError(f"an audit needs at least two trained networks\n    found: {found}")
    return pool


def audited(pool: Pool, scores: Mapping[str, Sequence[float]], seed: int) -> Findings:
    """Both audits, of these scores of the networks."""
    networks = pool.networks
    asked = [_asked(BY_NAME[name], networks, found) for name, found in scores.items()]
    first = [min(each.accuracies) for each in networks]
    pairs = tuple(zip(networks, first, strict=True))
    truth = [_mean([v for s, v in each.accuracies.items() if s != one or not pool.split]) for each, one in pairs]
    words = f"accuracy after {pool.epochs} epochs, "
    words += "mean of the seeds that no proxy saw" if pool.split else "mean of its seeds"
    short = list(_curve_proxies(pool, pairs))
    ceiling = [each.accuracies[one] for each, one in pairs]
    whole = Asked("another seed, to the end", ceiling, "ceiling", "accuracy of one more training")
    training = audit(words, truth, [*asked, *short, *([whole] if pool.split else [])], seed)
    return Findings(pool, training, _on_imagenet(pool, scores, truth, seed))


def _on_imagenet(pool: Pool, scores: Mapping[str, Sequence[float]], truth: Sequence[float], seed: int) -> Audit | None:
    places = [number for number, each in enumerate(pool.networks) if each.imagenet is not None]
    if len(places) < FEWEST_ON_IMAGENET:
        return None
    ours = Asked(f"training, {pool.epochs} epochs", truth, formula="accuracy of this study", source=pool.source)
    there = [pool.networks[place] for place in places]
    named = [_asked(BY_NAME[name], there, [found[p] for p in places]) for name, found in scores.items()]
    named.append(replace(ours, scores=[truth[place] for place in places]))
    values = [pool.networks[place].imagenet or math.nan for place in places]
    return audit("the paper's ImageNet top-1 of the same patterns (arXiv 2106.04263)", values, named, seed)


def _asked(proxy: Proxy, networks: Sequence[Trained], scores: Sequence[float]) -> Asked:
    verdicts = [proxy.verdict(program_of(each)) for each in networks]
    remarks = Counter(f"{verdict.kind}: {verdict.reason}" for verdict in verdicts if verdict.reason)
    role = "baseline" if proxy.name in BASELINES else "proxy"
    return Asked(proxy.name, tuple(scores), role, proxy.formula, proxy.source, remarks=dict(remarks))


def _curve_proxies(pool: Pool, pairs: Sequence[tuple[Trained, int]]) -> Iterable[Asked]:
    """What the first epochs say, a quarter and half of the way, of each network's first seed."""
    is_stream = not isinstance(open_data(pool.data).train, ImageArray)
    for epochs in sorted({1, math.ceil(pool.epochs / 4), math.ceil(pool.epochs / 2)} - {pool.epochs}):
        for proxy in CURVE_PROXIES:
            if epochs == 1 and proxy.name != "accuracy":
                continue
            found = [proxy.function(each.curves[seed], epochs) for each, seed in pairs]
            scores = tuple(math.nan if score is None else score for score in found)
            verdict = proxy.verdict(is_stream)
            remarks = {f"{verdict.kind}: {verdict.reason}": len(pairs)} if verdict.reason else {}
            named = f"{proxy.name}@{epochs}", scores, "proxy", proxy.formula, proxy.source
            yield Asked(*named, saw_truth=not pool.split, remarks=remarks)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def facts(found: Findings) -> dict[str, Any]:
    """Everything that was found, as plain data."""
    from dataclasses import asdict

    names = [each.name for each in found.pool.networks]
    audits = {"training": found.training, "imagenet": found.imagenet}
    return {
        "source": found.pool.source,
        "networks": names,
        "split_seeds": found.pool.split,
        "notes": list(found.pool.notes),
        "audits": {name: None if each is None else _without_nan(asdict(each)) for name, each in audits.items()},
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
