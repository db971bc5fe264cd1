"""A module and a recipe in, what changes the module's weights step by step out: optimiser, schedule, loss
scale, average.

Axes: B images of a batch, H and W.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from archspec.search.failure import TrainingFailed
from archspec.search.recipe import Recipe

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_FUSED = frozenset({"adam", "adamw", "sgd"})  # one kernel for all parameters, on the CPU too


def precision(recipe: Recipe, device: torch.device) -> torch.autocast:
    """The context of the forward pass."""
    dtype = _DTYPES[recipe.precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not torch.float32)


def create_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """timm's optimiser of that name; biases and parameters with one axis are not decayed.

    Raises:
        TrainingFailed: no such optimiser, or it does not take these options (cause `error`).
    """
    from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]

    options: dict[str, Any] = {} if recipe.betas is None else {"betas": recipe.betas}
    if recipe.optimizer in _FUSED:
        options["fused"] = True
    try:
        optimizer = create_optimizer_v2(
            module,
            recipe.optimizer,
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            momentum=recipe.momentum,
            **options,
        )
    except (ValueError, TypeError, KeyError, AssertionError, ImportError, RuntimeError) as error:
        raise TrainingFailed(f"recipe.optimizer {recipe.optimizer!r}: {error}", "error") from error
    if getattr(optimizer, "is_second_order", False):
        raise TrainingFailed(f"recipe.optimizer {recipe.optimizer!r} needs second derivatives: not offered", "error")
    found: torch.optim.Optimizer = optimizer
    return found


def create_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: Sequence[int]) -> Any:
    """timm's schedule of the learning rate, in steps: `step_update(n)` after the n-th step; no state but n.

    Args:
        steps: of each epoch.
    """
    from timm.scheduler.scheduler_factory import create_scheduler_v2

    total = sum(steps)
    decay = max(1, round(recipe.decay_epochs * total / len(steps))) if recipe.schedule == "step" else total
    whole = int(recipe.warmup_epochs)
    warmup = sum(steps[:whole]) + round((recipe.warmup_epochs - whole) * steps[min(whole, len(steps) - 1)])
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched="cosine" if recipe.schedule == "cosine" else "step",
        num_epochs=total,
        decay_epochs=decay,
        decay_rate=recipe.decay_rate if recipe.schedule == "step" else 1.0,
        min_lr=recipe.min_lr,
        warmup_epochs=warmup,
        warmup_lr=recipe.lr / 1000,
        step_on_epochs=False,
        updates_per_epoch=1,
    )
    return schedule


class Optimisation:
    """Takes steps on a module, and saves and restores everything that a later step depends on."""

    def __init__(
        self,
        module: nn.Module,
        recipe: Recipe,
        steps: Sequence[int],
        device: torch.device,
        micro_batch: int | None = None,
    ) -> None:
        self._module, self._recipe, self._device = module, recipe, device
        self._micro_batch = micro_batch or recipe.batch
        self._forward = torch.compile(module) if recipe.compile else module
        self._optimizer = create_optimizer(module, recipe)
        self._schedule = create_schedule(self._optimizer, recipe, steps)
        self._scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16")
        self._smoothing = 0.0 if recipe.mixes else recipe.label_smoothing  # mixup smooths its own targets
        self._average: Any = None
        if recipe.ema is not None:
            from timm.utils.model_ema import ModelEmaV3

            self._average = ModelEmaV3(module, decay=recipe.ema)

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    @property
    def evaluated(self) -> nn.Module:
        """What the validation looks at: the module, or the average of its weights."""
        module: nn.Module = self._module if self._average is None else self._average.module
        return module

    def step(self, x: Tensor, target: Tensor, number: int) -> Tensor:
        """One step on inputs (B, 3, H, W) and labels (B,) or distributions (B, classes); the loss, a detached
        scalar. With a micro-batch the gradients of its parts are added up first.

        `number` counts the steps of the run from 1, this one included.
        """
        self._optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self._device)
        # The mean over the batch is the sum of the parts' means, each by its share.
        for part, aim in zip(x.split(self._micro_batch), target.split(self._micro_batch), strict=True):
            loss = loss + self._backward(part, aim, len(part) / len(x))
        if self._recipe.clip_grad is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._module.parameters(), self._recipe.clip_grad)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step_update(number)
        if self._average is not None:
            self._average.update(self._module)
        return loss

    def _backward(self, x: Tensor, target: Tensor, share: float) -> Tensor:
        """Add the gradients of a part of the batch; its share of the loss, detached."""
        with precision(self._recipe, self._device):
            logits = self._forward(x)
        loss = nn.functional.cross_entropy(logits.float(), target, label_smoothing=self._smoothing)
        if share != 1.0:
            loss = loss * share
        scaled: Any = self._scaler.scale(loss)
        scaled.backward()
        return loss.detach()

    @property
    def _held(self) -> list[nn.Module]:
        """The module, and the average of its weights where there is one."""
        return [self._module] if self._average is None else [self._module, self._average.module]

    def tensors(self) -> list[dict[str, Tensor]]:
        """The state of all that is trained."""
        return [module.state_dict() for module in self._held]

    def begin(self, tensors: Sequence[dict[str, Tensor]], steps: int, earlier: "Optimisation") -> None:
        """Go on after so many steps of a smaller module: with these tensors (of `tensors()`), its loss scale, and the
        learning rate of the run; the optimiser has no memory of it.
        """
        for module, state in zip(self._held, tensors, strict=True):
            module.load_state_dict(state)
        self._scaler.load_state_dict(earlier._scaler.state_dict())
        self._schedule.step_update(steps)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values only."""
        average = None if self._average is None else self._average.module.state_dict()
        return {
            "module": self._module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": average,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self._module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.module.load_state_dict(state["average"])
