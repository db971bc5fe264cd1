"""What the tests of the store ask it to keep: one study and requests of plausible points."""

from dataclasses import replace

from archspec.results.records import EvaluationRequest, Objective, StudyRecord

STUDY = StudyRecord(
    name="first",
    space="stages: {choose: [window, sliding]}",
    study="trials: 12",
    space_digest="space-1",
    seed=2**40 + 1,
    objectives=(Objective("accuracy"), Objective("params", "minimise")),
    sampler={"name": "tpe", "multivariate": True},
    trials=12,
    data={"name": "fractal", "seed": 0},
    recipe={"epochs": 3},
    axes={"space": "connectivity"},
    archspec_version="0.1.0",
    environment={"python": "3.11"},
)


def ask(trial: int | None = 0, **changes: object) -> EvaluationRequest:
    """A request for a plausible point; `changes` replace fields."""
    base = EvaluationRequest(
        study="first",
        digest=f"digest-{trial}",
        protocol="protocol-1",
        seed=0,
        spec="name: x\n",
        trial=trial,
        cost={"params": 28_288_354, "macs": 4_490_566_272, "activation_bytes_train": 3 * 10**10},
        params={"space": "window", "width": 96, "bias": True, "kernel": None},
        environment={"torch": "2.15"},
    )
    return replace(base, **changes)  # type: ignore[arg-type]
