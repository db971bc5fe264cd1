"""The `failures:` and `workers:` sections of a study file: what happens to a trial that fails, and who runs trials.

Each cause of failure has a policy: so many retries, then the failure is recorded or the study stops; and a circuit
breaker stops a study in which too many trials fail for that one cause. No torch.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from archspec.results.records import STATE_OF_CAUSE, EndedTrial
from archspec.schema.base import Strict

Cause = Literal["shape", "out_of_memory", "diverged", "timeout", "killed", "data", "error"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
Retries = Annotated[int, Field(ge=0, le=20)]
Consecutive = Annotated[int, Field(ge=1, le=100_000)] | None
Share = Annotated[float, Field(gt=0.0, le=1.0)] | None
Minutes = Annotated[float, Field(gt=0.0, le=1_000_000)] | None

TRIALS_BEFORE_A_SHARE = 20


class Policy(Strict):
    """What happens when the attempts of trials end for one cause."""

    retries: Retries = 0
    """So many further attempts, from the last checkpoint."""
    then: Literal["record", "stop"] = "record"
    """When they are used up: record the failure and go on with other trials, or stop the study and leave the trial
    to be resumed."""
    consecutive: Consecutive = 8
    """Stop the study when so many trials in a row failed for this cause; null: never."""
    share: Share = 0.3
    """Stop the study when more than this share of its trials failed for this cause (of at least 20); null: never."""

    def __str__(self) -> str:
        times = {0: "no retry", 1: "1 retry"}.get(self.retries, f"{self.retries} retries")
        end = "the failure is recorded" if self.then == "record" else "the study stops"
        row = f"; {self.consecutive} in a row stop the study" if self.consecutive else ""
        share = f"; more than {100 * self.share:g} % stop it" if self.share else ""
        return f"{times}{self._how}, then {end}{row}{share}"

    @property
    def _how(self) -> str:
        return ""


class MemoryPolicy(Policy):
    """Out of memory: the sampler learns to avoid it, so it stops no study but a hopeless one."""

    retries: Retries = 1
    micro_batch: Literal["halve", "keep"] = "halve"
    """`halve`: each retry takes half as many images at a time and adds up their gradients: the same steps, but that
    batch norm sees smaller batches."""
    consecutive: Consecutive = 40
    share: Share = None

    @property
    def _how(self) -> str:
        return " at half the micro-batch" if self.micro_batch == "halve" and self.retries else ""


class TimePolicy(Policy):
    """Timeout: an attempt that takes too long, or that no longer does anything."""

    minutes: Minutes = None
    """The longest that one attempt may take; null: as long as it does something."""
    silent_minutes: Minutes = 30.0
    """The longest without a step of training; null: for ever."""


Short = Literal["record", "retry", "stop"]
_SHORT: Mapping[Short, Mapping[str, Any]] = {
    "record": {"retries": 0, "then": "record"},
    "retry": {"retries": 1, "then": "record"},
    "stop": {"retries": 0, "then": "stop"},
}
"""What a word changes of the policy that a cause has by itself."""


class Failures(Strict):
    """A policy for each cause. `record`, `retry` (once, then record) and `stop` are short for one."""

    shape: Policy | Short = Policy()
    """The network cannot be built, or its layers do not fit each other."""
    out_of_memory: MemoryPolicy = MemoryPolicy()
    """Of the device or of the host, also when the kernel killed the trial for it."""
    diverged: Policy | Short = Policy(share=0.5)
    """A loss is not finite."""
    timeout: TimePolicy = TimePolicy()
    killed: Policy | Short = Policy(retries=2)
    """The process of the trial died: killed, or crashed in compiled code."""
    data: Policy | Short = Policy(then="stop")
    """The images cannot be read: no trial's fault."""
    error: Policy | Short = Policy()
    """Any other error."""

    def policy(self, cause: Cause) -> Policy:
        """The policy of a cause, written out."""
        written: Policy | Short = getattr(self, cause)
        if isinstance(written, Policy):
            return written
        own: Policy = type(self).model_fields[cause].default
        return own.model_copy(update=_SHORT[written])

    def described(self) -> dict[str, str]:
        """The policy of each cause in words."""
        return {cause: str(self.policy(cause)) for cause in CAUSES}

    def circuit_breaker(self, ended: Sequence[EndedTrial]) -> str | None:
        """Why a study with these outcomes, oldest first, is to be stopped; None when it is not."""
        failed = Counter(each.cause for each in ended)
        for cause in CAUSES:
            policy, count = self.policy(cause), failed[cause]
            last = ended[-(policy.consecutive or 1) :]
            if policy.consecutive and len(last) == policy.consecutive and all(each.cause == cause for each in last):
                return f"the last {len(last)} trials failed; the last one: {cause}: {last[-1].message}"
            if policy.share and len(ended) >= TRIALS_BEFORE_A_SHARE and count > policy.share * len(ended):
                message = next(each.message for each in reversed(ended) if each.cause == cause)
                return f"{count} of {len(ended)} trials failed for one cause; the last one: {cause}: {message}"
        return None


class Workers(Strict):
    """Who runs the trials. The same command in another terminal is one more worker."""

    count: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes of one command, each with one trial at a time."""
    lease_seconds: Annotated[float, Field(ge=1.0, le=86_400.0)] = 60.0
    """A worker that is not heard of for so long loses its trial to another one."""
    reconnect_seconds: Annotated[float, Field(ge=0.0, le=86_400.0)] = 120.0
    """How long a database that is away is waited for."""


def is_failure(cause: str | None) -> bool:
    """Whether an attempt that ended so failed."""
    return cause in STATE_OF_CAUSE and cause not in ("ok", "pruned")
