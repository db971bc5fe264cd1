"""The report of a plausible, an empty and a hostile study; the way from the store to the page."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs
from results_records import NAMED, STUDY, make_records

from archspec.results.fragments import duration
from archspec.results.records import EvaluationRequest, Objective
from archspec.results.report import report_data, write_report
from archspec.results.store import Store
from archspec.results.summary import SYNTHETIC_NOTICE, best_trials, count_trials, main_objective, pareto_pairs

RECORDS = make_records()
EVENTS = {"duplicate": 14, "infeasible": 231}
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """The tags, ids and visible text of a page; tags that do not close are found."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data


def write(path: Path, **changes: object) -> tuple[str, Page]:
    """The report's text without plotly.js, and the page read."""
    given = {"study": STUDY, "records": RECORDS, "events": EVENTS} | changes
    text = write_report(path=path / "report.html", **given).read_text()  # type: ignore[arg-type]
    library = get_plotlyjs()
    assert text.count(library) == 1
    assert not list(path.glob(".report*"))
    rest = text.replace(library, "")
    return rest, Page(rest)


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    text, page = write(tmp_path)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r'src\s*=|href\s*=\s*"(?!#)|@import|url\(|https?://(?!plot\.ly)', text)
    targets = set(re.findall(r'href="#([^"]+)"', text))
    assert targets <= set(page.ids)
    assert {"link", "img", "iframe"}.isdisjoint(page.tags)
    assert "$" not in page.text


def test_every_figure_is_there(tmp_path: Path) -> None:
    text, page = write(tmp_path)
    figures = {"front-0", "front-1", "learning-curves", "importance-axes", "importance-genes", "history"}
    figures |= {"cost-params", "cost-macs"}
    assert figures <= set(page.ids)
    assert text.count("Plotly.newPlot") == len(figures)


def test_the_summary_says_what_happened(tmp_path: Path) -> None:
    _, page = write(tmp_path)
    counts = count_trials(STUDY, RECORDS)
    best = best_trials(STUDY, RECORDS)[0]
    said = f"60 trials of 60 asked for: {counts['trained']} trained to the end, {counts['cached']} answered"
    assert said in page.text
    assert f"Best validation accuracy: {100 * best.values['accuracy']:.2f} %" in page.text
    beaten = sum(best.values["accuracy"] > value for value in NAMED.values())
    assert f"beats {beaten} of 3 named points; the best of those is dw_conv_nano, 94.10 %" in page.text
    assert "suggested again: another point was trained" in page.text
    assert "231" in page.text
    assert "out_of_memory at epoch 4" in page.text


def test_best_specs_show_their_yaml(tmp_path: Path) -> None:
    _, page = write(tmp_path)
    for record in (*best_trials(STUDY, RECORDS), *RECORDS[-3:]):
        assert record.spec in page.text
        assert record.digest in page.text
    assert page.tags.count("pre") == len(best_trials(STUDY, RECORDS)) + 3 + 2
    assert STUDY.study in page.text
    assert STUDY.space in page.text


def test_provenance(tmp_path: Path) -> None:
    _, page = write(tmp_path)
    for fact in (
        "0.1.0",
        STUDY.space_digest,
        "name: tpe",
        "optimiser: adamw",
        "torch: 2.15.0",
        "name: fractal",
    ):
        assert fact in page.text


@pytest.mark.parametrize(("data", "synthetic"), [("fractal", True), ("relation", True), ("imagefolder", False)])
def test_synthetic_data_is_said(tmp_path: Path, data: str, synthetic: bool) -> None:
    study = replace(STUDY, data={"name": data})
    _, page = write(tmp_path, study=study)
    assert (SYNTHETIC_NOTICE[1:] in page.text) is synthetic
    assert report_data(study, RECORDS)["notice"] == (SYNTHETIC_NOTICE if synthetic else None)


def test_user_text_is_escaped(tmp_path: Path) -> None:
    evil = '</script><script>alert("x")</script><img src=x onerror=alert(1)> $plotly &amp;'
    genes = {evil: evil}
    records = [
        replace(
            record,
            **{"spec": evil, "message": evil, "digest": evil, "reference": record.reference and evil},
            **{"params": genes, "cost": dict(record.cost) | {evil: 1}},
        )
        for record in RECORDS
    ]
    study = replace(STUDY, name=evil, space=evil, study=evil, data={evil: evil}, axes={evil: evil})
    study = replace(study, objectives=(Objective("accuracy"), Objective(evil, "minimise")), environment={"a": evil})
    text, page = write(tmp_path, study=study, records=records, events={evil: 1})
    assert page.open == []
    assert "img" not in page.tags
    assert "<script>alert" not in text
    assert page.tags.count("script") == 2 + text.count("Plotly.newPlot")
    assert evil in page.text


@pytest.mark.parametrize(
    "records",
    [
        (),
        tuple(
            replace(r, state="running", cause=None, values={}, curve=(), finished=None, seconds=None)
            for r in RECORDS[:3]
        ),
        tuple(r for r in RECORDS if r.state != "complete"),
        RECORDS[:1],
        RECORDS[-3:],
    ],
)
def test_an_unfinished_study_has_a_report_too(tmp_path: Path, records: tuple[object, ...]) -> None:
    _, page = write(tmp_path, records=records, events=None)
    assert page.open == []
    assert page.text.count("No trial has finished yet.") >= (2 if len(records) != 1 else 0)
    assert json.loads(json.dumps(report_data(STUDY, records)))["study"] == STUDY.name  # type: ignore[arg-type]


def test_one_objective_ranks_and_several_take_the_front() -> None:
    single = replace(STUDY, objectives=(Objective("accuracy"),))
    values = [r.values["accuracy"] for r in best_trials(single, RECORDS)]
    assert values == sorted(values, reverse=True)
    assert len(values) == 10
    front = best_trials(STUDY, RECORDS, count=100)
    for better, worse in pairwise(front):
        assert better.values["accuracy"] > worse.values["accuracy"]
        assert better.cost["params"] > worse.cost["params"]


def test_an_equal_point_is_listed_once() -> None:
    single = replace(STUDY, objectives=(Objective("accuracy"),))
    everything = best_trials(single, RECORDS, count=1000)
    assert len({record.uuid for record in everything}) == len(everything)
    assert all(record.cached_from is None for record in everything)


def test_figures_follow_the_objectives() -> None:
    assert main_objective(STUDY, RECORDS) == Objective("accuracy")
    turned = replace(STUDY, objectives=(Objective("activation_bytes", "minimise"), Objective("accuracy")))
    assert main_objective(turned, ()) == Objective("accuracy")
    assert [x.name for x, _ in pareto_pairs(turned, ())] == ["activation_bytes", "params", "macs"]
    cheap = replace(STUDY, objectives=(Objective("macs", "minimise"), Objective("accuracy")))
    assert main_objective(cheap, RECORDS) == Objective("accuracy")
    assert [(x.name, y.name) for x, y in pareto_pairs(cheap, RECORDS)] == [
        ("macs", "accuracy"),
        ("params", "accuracy"),
    ]


def test_report_data_is_json_and_counts() -> None:
    data = report_data(STUDY, RECORDS, EVENTS)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    trials = data["trials"]
    assert trials["total"] == trials["asked"] == 60
    assert trials["trained"] + trials["cached"] + trials["pruned"] + trials["failed"] + trials["running"] == 60
    assert sum(data["failures"].values()) == trials["failed"]
    assert trials["resumed"] == 1
    assert data["importance"]["axes"][0]["name"] == "connectivity"
    assert data["importance"]["axes"][0]["is_beyond_chance"] is True
    assert len(data["named_points"]) == 3
    assert data["training_seconds"] == sum(r.seconds or 0 for r in RECORDS if r.cached_from is None)


def test_from_the_store_to_the_page(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/results.db") as store:
        store.save_study(STUDY)
        for record in RECORDS[:20]:
            asked = EvaluationRequest(
                study=STUDY.name,
                digest=record.digest,
                protocol="p",
                seed=record.seed,
                spec=record.spec,
                trial=record.trial,
                cost=record.cost,
                params=record.params,
            )
            started = store.start_evaluation(asked)
            if started.is_finished:
                continue
            for epoch in record.curve:
                store.record_epoch(started.uuid, epoch)
            store.finish_evaluation(started.uuid, record.cause or "ok", values=record.values, seconds=record.seconds)
        store.record_event(STUDY.name, "duplicate", 3)
        study, records, events = (
            store.get_study(STUDY.name),
            store.evaluations(STUDY.name),
            store.count_events(STUDY.name),
        )
    _, page = write(tmp_path, study=study, records=records, events=events)
    assert "20 trials of 60 asked for" in page.text
    assert count_trials(study, records)["cached"] == 1
    before, after = report_data(STUDY, RECORDS[:20])["fronts"], report_data(study, records)["fronts"]
    assert before == after


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (41.4, "41 s"), (725, "12 min 5 s"), (12_000, "3 h 20 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
