"""The proxies by name: what each is, its source, for which networks it means something. No torch until one is asked.

A larger score promises a larger accuracy. `params` and `macs` are the baselines that every other one has to beat: no
score that needs no training is known to do so in every space (arXiv 2210.03230, 2301.11300).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, cast

from archspec import ir
from archspec.costs import cost
from archspec.results.records import EpochRecord
from archspec.search.proxies import curves, validity
from archspec.search.proxies.validity import Traits, Validity, Verdict


@dataclass(frozen=True)
class Proxy:
    """One score. `function`: of a program (counts), or `file.name` of one of (module, batches), loaded when asked."""

    name: str
    formula: str
    source: str
    validity: Validity
    function: Callable[[ir.Program], float] | str
    batches: int = 1
    """How many batches of images it looks at."""

    @property
    def is_count(self) -> bool:
        return not isinstance(self.function, str)

    def verdict(self, program: ir.Program) -> Verdict:
        """Whether it means anything for a network."""
        return self.validity(Traits(program))

    def score(self, program: ir.Program, batches: Sequence[Any], seed: int) -> float | None:
        """The score of a network in its canonical start; None where it is refused or is no finite number.

        Args:
            batches: of (images (B, 3, H, W), labels (B,)), at least as many as it looks at; counts need none.
            seed: of the start.
        """
        if self.verdict(program).kind == "refused":
            return None
        if not isinstance(self.function, str):
            return self.function(program)
        from archspec.search.proxies.canonical import canonical

        file, name = self.function.split(".")
        function = getattr(import_module(f"archspec.search.proxies.{file}"), name)
        found = cast(float, function(canonical(program, seed), batches))
        return found if math.isfinite(found) else None


def acts(program: ir.Program) -> float:
    """Elements that connections give, for one image."""
    return float(sum(op.target.elements for op in ir.walk(program.ops) if isinstance(op, ir.Connect)))


BASELINES = ("params", "macs")

PROXIES: tuple[Proxy, ...] = (
    Proxy("params", "number of parameters", "archspec.costs", validity.always, lambda p: float(cost(p).params)),
    Proxy("macs", "number of multiply-adds", "archspec.costs", validity.always, lambda p: float(cost(p).macs)),
    Proxy("acts", "elements that connections give, per image", "timm's benchmark tables", validity.always, acts),
    Proxy("naswot", "log |det K|, K_ij = relus alike for images i and j", "arXiv 2006.04647", validity.gated,
          "activations.naswot"),
    Proxy("zico", "sum of log sum of mean |g| / std g", "arXiv 2301.11300", validity.noisy, "gradients.zico", 2),
    Proxy("grad_norm", "sum of the norms of g", "arXiv 2101.08134", validity.noisy, "gradients.grad_norm"),
    Proxy("snip", "sum of |theta g|", "arXiv 1810.02340", validity.noisy, "gradients.snip"),
    Proxy("synflow", "log10 of sum of theta dR/dtheta, at |theta| and ones", "arXiv 2006.05467", validity.homogeneous,
          "gradients.synflow"),
    Proxy("jacob_cov", "-sum of log(l + k) + 1 / (l + k), l of the Jacobian's correlations", "arXiv 2006.04647v1",
          validity.local, "gradients.jacob_cov"),
    Proxy("zen", "log change of the last map under noise + log deviations", "arXiv 2102.01063",
          validity.batch_normalised, "activations.zen"),
)  # fmt: skip
BY_NAME = {proxy.name: proxy for proxy in PROXIES}

Curve = Sequence[EpochRecord]


@dataclass(frozen=True)
class CurveProxy:
    """A score of the first epochs of a training."""

    name: Literal["accuracy", "sotl", "val_area"]
    formula: str
    source: str
    function: Callable[[Curve, int], float | None]

    def verdict(self, is_stream: bool) -> Verdict:
        """Whether it means anything on these data."""
        if self.name == "sotl" and not is_stream:
            return Verdict("doubtful", "on a fixed set of images the training loss rewards fitting")
        return validity.VALID


CURVE_PROXIES: tuple[CurveProxy, ...] = (
    CurveProxy("accuracy", "validation accuracy after the epochs", "short training", curves.accuracy_at),
    CurveProxy("sotl", "minus the sum of training losses", "arXiv 2006.04492", curves.sotl),
    CurveProxy("val_area", "minus the sum of validation losses", "arXiv 2006.04492, on validation", curves.val_area),
)
