"""The `recipe:` section of a study file in, everything that training does to a network out.

Imports no torch. The defaults suit the embedded data at 32 px: about 560 steps of AdamW, 20 s on a CPU thread.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from archspec.schema.base import FROM_LIST, Strict

Share = Annotated[float, Field(ge=0.0, lt=1.0)]

_RANDOM_AUGMENT = re.compile(r"rand(-(m\d+(\.\d+)?|n\d+|p\d?\.\d+|w\d|mstd(\d+(\.\d+)?|inf)|mmax\d+|inc[01]|t\d+))*")

SPEED_ONLY = frozenset({"compile", "eval_batch"})
"""Fields that change how fast a run is, not what it computes (but for the last bits)."""


class Rung(Strict):
    """Up to an epoch, training is cheaper: smaller images, fewer of them, a narrower network."""

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    """The last epoch of the rung; the next begins where it ends, with the weights, the optimiser and the learning rate
    of the run."""

    size: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Side of the images, which are made smaller by averaging; null: that of the data. The same network runs, so no
    parameter may belong to a position."""

    subset: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Share of the training images; null: that of the recipe. A larger share holds the smaller one."""

    width: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Share of all numbers of channels, each rounded to what its layers can take; null: the whole network. The wider
    network of the next epoch starts as the function that the narrower one was (arXiv 1511.05641), its optimiser
    without memory."""

    @property
    def share_of_width(self) -> float:
        """`width`, 1 where it is not said."""
        return 1.0 if self.width is None else self.width


class Recipe(Strict):
    """How a network is trained. Two runs with the same recipe, data, seed and device type do the same
    steps.
    """

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 3
    """Passes over the training images; of a stream: epochs of fresh images."""

    batch: Annotated[int, Field(ge=2, le=1_000_000)] = 32
    """Images per step. The last, smaller batch of an epoch is dropped: batch norm cannot use one image."""

    optimizer: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")] = "adamw"
    """A name of timm's: adamw, sgd (with Nesterov momentum), lamb, lion ...
    (`timm.optim.list_optimizers()`)."""

    lr: Annotated[float, Field(gt=0.0)] = 2e-3
    """Learning rate after the warm-up."""

    weight_decay: Annotated[float, Field(ge=0.0)] = 0.05
    """Not applied to biases and to anything with one axis."""

    momentum: Share = 0.9
    """Of the optimisers that have one."""

    betas: Annotated[tuple[Share, Share], FROM_LIST] | None = None
    """Of the Adam family; null: the optimiser's own."""

    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """Of the learning rate, by steps and not by epochs, so that short runs have a curve too."""

    warmup_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    """Linear warm-up from a thousandth of `lr`; a part of `epochs`."""

    min_lr: Annotated[float, Field(ge=0.0)] = 0.0
    """Where the cosine ends."""

    decay_epochs: Annotated[float, Field(gt=0.0)] = 30.0
    """`step`: epochs between two decays."""

    decay_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """`step`: factor of a decay."""

    label_smoothing: Share = 0.0
    """Part of the target that is spread over all classes."""

    mixup: Annotated[float, Field(ge=0.0)] = 0.0
    """Alpha of mixup (arXiv 1710.09412); 0: off."""

    cutmix: Annotated[float, Field(ge=0.0)] = 0.0
    """Alpha of CutMix (arXiv 1905.04899); 0: off. With both, each batch takes one of them by a coin."""

    augment: str = "none"
    """`none`, `flip` (left-right), `crop_flip` (shift by up to an eighth of the side, then flip), or timm's
    RandAugment string such as `rand-m9-n2-mstd0.5` (after crop and flip). `relation` is only sound with
    `none`."""

    random_erasing: Share = 0.0
    """Probability that a rectangle of an image becomes noise (arXiv 1708.04896)."""

    clip_grad: Annotated[float, Field(gt=0.0)] | None = None
    """Largest norm of the gradient; null: not clipped."""

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the forward pass (automatic mixed precision); float16 needs CUDA and scales the loss."""

    ema: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Decay of an average of the weights, per step; validation then uses the average. null: off."""

    subset: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the training images that is used: the same images for every seed."""

    rungs: Annotated[tuple[Rung, ...], FROM_LIST] = ()
    """Cheaper beginnings, in the order of their epochs. A pruner that halves judges trials at their ends."""

    compile: bool = False
    """Train through `torch.compile`."""

    eval_batch: Annotated[int, Field(ge=1, le=1_000_000)] = 250
    """Images per step of the validation."""

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What defines the computation, as plain JSON values: the identity of the recipe of a trial."""
        left_out = SPEED_ONLY if self.rungs else SPEED_ONLY | {"rungs"}
        found = {key: value for key, value in self.model_dump(mode="json").items() if key not in left_out}
        if self.rungs:  # a width that is not said changes no recipe of before there were widths
            found["rungs"] = [
                {key: value for key, value in rung.items() if key != "width" or value is not None}
                for rung in found["rungs"]
            ]
        return found

    def rung(self, epoch: int) -> Rung:
        """What the images of an epoch are, from 0: those of its rung, or of the data and the recipe above the last."""
        found = next((rung for rung in self.rungs if epoch < rung.epochs), Rung(epochs=self.epochs))
        return found if found.subset is not None else found.model_copy(update={"subset": self.subset})

    @property
    def mixes(self) -> bool:
        """Whether batches are mixed, so that targets are distributions."""
        return self.mixup > 0 or self.cutmix > 0

    @field_validator("augment")
    @classmethod
    def _known_augment(cls, value: str) -> str:
        if value not in ("none", "flip", "crop_flip") and not _RANDOM_AUGMENT.fullmatch(value):
            raise ValueError(f"unknown augmentation {value!r}; choose none, flip, crop_flip or rand-m9-n2-mstd0.5")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mixes and self.batch % 2:
            raise ValueError(f"mixup and cutmix pair the images of a batch: batch must be even, found {self.batch}")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs}) must be less than epochs ({self.epochs})")
        ends = [rung.epochs for rung in self.rungs]
        if ends != sorted(set(ends)) or any(end >= self.epochs for end in ends):
            raise ValueError(f"rungs rise and end before the last epoch ({self.epochs}); found {ends}")
        if any((rung.subset or 0.0) > self.subset for rung in self.rungs):
            raise ValueError(f"a rung has no more images than the recipe: subset is {self.subset}")
        shares = [rung.share_of_width for rung in self.rungs]
        if shares != sorted(shares):
            raise ValueError(f"a rung is as wide as the one before, or wider; found {shares}")
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr ({self.min_lr}) is above lr ({self.lr})")
        return self
