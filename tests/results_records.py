"""A seed goes in, a plausible study comes out: trials, prunings, failures, cached points and named points."""

from datetime import UTC, datetime, timedelta

import numpy as np

from archspec.results.records import (
    STATE_OF_CAUSE,
    Cause,
    EpochRecord,
    EvaluationRecord,
    Objective,
    StudyRecord,
)

BEGIN = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
AXES = {
    **{f"stage{stage}.space": "connectivity" for stage in (1, 2, 3)},
    "channels": "connectivity",
    "sharing": "sharing",
    "weights": "weights",
    "width": "size",
    "depth": "size",
}
# What a window, a sliding window or everything gains in accuracy, in every stage: the effect to be found.
GAIN = {"window": -0.04, "sliding": 0.04, "full": 0.0}
NAMED = {"swin_nano": 0.82, "mixer_nano": 0.87, "dw_conv_nano": 0.941}

STUDY = StudyRecord(
    name="connectivity at 32 px",
    space="stages:\n  - {block: {choose: [window, sliding, full]}}\n",
    study="space: search_spaces/connectivity_nano.yaml\ntrials: 60\n",
    space_digest="9f2c" * 16,
    seed=7,
    objectives=(Objective("accuracy", "maximise"), Objective("params", "minimise")),
    sampler={"name": "tpe", "multivariate": True, "startup_trials": 20},
    trials=60,
    data={"name": "fractal", "seed": 0, "size": 32},
    recipe={"epochs": 8, "optimiser": "adamw", "lr": 1e-3},
    axes=AXES,
    archspec_version="0.1.0",
    environment={"python": "3.11.7", "torch": "2.15.0", "device": "cpu"},
    created=BEGIN,
)


def make_records(count: int = 60, seed: int = 0, epochs: int = 8) -> tuple[EvaluationRecord, ...]:
    """`count` trials of STUDY and three named points. One in ten ends early, one in twelve is cached."""
    generator = np.random.default_rng(seed)
    trials: list[EvaluationRecord] = []
    for number in range(count):
        source = trials[number - 5] if number % 12 == 11 else None
        if source is not None and source.cached_from is None:
            trials.append(_cached(source, number))
        else:
            trials.append(_trained(number, generator, epochs))
    return (*trials, *(_named(name, value, generator, epochs) for name, value in NAMED.items()))


def _trained(number: int, generator: np.random.Generator, epochs: int) -> EvaluationRecord:
    genes: dict[str, str | int] = {f"stage{stage}.space": str(generator.choice(list(GAIN))) for stage in (1, 2, 3)}
    genes |= {"channels": str(generator.choice(["separate", "groups"]))}
    genes |= {
        "sharing": str(generator.choice(["none", "offsets"])),
        "weights": str(generator.choice(["static", "pooled"])),
    }
    genes |= {"width": int(generator.integers(8, 33)) * 2, "depth": int(generator.integers(1, 4))}
    gain = sum(GAIN[str(genes[f"stage{stage}.space"])] for stage in (1, 2, 3))
    width, depth = int(genes["width"]), int(genes["depth"])
    accuracy = 0.8 + gain + 0.02 * np.log2(width / 32) + 0.01 * (genes["sharing"] == "offsets")
    accuracy = float(np.clip(accuracy + generator.normal(0, 0.01), 0, 1))
    causes: dict[int, Cause] = {3: "diverged", 13: "out_of_memory", 26: "pruned", 39: "pruned", 46: "error"}
    cause = causes.get(number % 50, "ok")
    cost = {"params": 40 * width**2 * depth + 1000, "macs": 9000 * width**2 * depth}
    return _record(number, None, accuracy, cause, cost, genes, _curve(accuracy, epochs, cause, generator))


def _curve(final: float, epochs: int, cause: Cause, generator: np.random.Generator) -> tuple[EpochRecord, ...]:
    reached = epochs if cause == "ok" else epochs // 2
    parts = 1 - np.exp(-3 * np.arange(1, reached + 1) / epochs)
    values = np.clip(final * parts / (1 - np.exp(-3)) + generator.normal(0, 0.005, reached), 0, 1)
    epochs_of = []
    for place, value in enumerate(values):
        val_loss = None if cause == "diverged" else 2.6 - 2 * float(value)
        epochs_of.append(EpochRecord(place + 1, 2.5 - 2 * float(value), val_loss, float(value), 1e-3, 2.0))
    return tuple(epochs_of)


def _named(name: str, accuracy: float, generator: np.random.Generator, epochs: int) -> EvaluationRecord:
    cost = {"params": 200_000, "macs": 45_000_000}
    return _record(None, name, accuracy, "ok", cost, {}, _curve(accuracy, epochs, "ok", generator))


def _record(
    number: int | None,
    name: str | None,
    accuracy: float,
    cause: Cause,
    cost: dict[str, int],
    genes: dict[str, str | int],
    curve: tuple[EpochRecord, ...],
) -> EvaluationRecord:
    started = BEGIN + timedelta(seconds=20 * (number or 0))
    identity = name or f"trial-{number}"
    return EvaluationRecord(
        uuid=f"uuid-{identity}",
        study=STUDY.name,
        trial=number,
        reference=name,
        digest=f"digest-{identity}",
        protocol="protocol",
        seed=number or 0,
        spec=f"archspec: 1\nname: {identity}\nstages:\n  - {{width: {genes.get('width', 32)}, block: dw}}\n",
        cost=cost,
        params=genes,
        state=STATE_OF_CAUSE[cause],
        cause=cause,
        message="" if cause == "ok" else f"{cause} at epoch {len(curve)}",
        values={"accuracy": accuracy} if cause == "ok" else {},
        started=started,
        finished=started + timedelta(seconds=16),
        seconds=2.0 * len(curve),
        starts=2 if number == 9 else 1,
        checkpoint=None,
        cached_from=None,
        environment={},
        curve=curve,
    )


def _cached(source: EvaluationRecord, number: int) -> EvaluationRecord:
    values = {name: getattr(source, name) for name in source.__dataclass_fields__}
    return EvaluationRecord(**values | {"trial": number, "cached_from": f"{source.study}: {source.name}"})
