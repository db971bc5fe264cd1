"""A module and a fixed set of images in, its loss and accuracy on them out.

Axes: B images of a batch, H and W.
"""

import numpy as np
import torch
from torch import nn

from archspec.search.augment import BatchMaker, create_batch_maker
from archspec.search.data.images import ImageArray
from archspec.search.failure import TrainingFailed
from archspec.search.optimisation import precision
from archspec.search.recipe import Recipe


def evaluate(module: nn.Module, images: ImageArray, recipe: Recipe, device: str = "cpu") -> tuple[float, float]:
    """Mean cross-entropy and top-1 accuracy (0..1) of a module on images; its mode is left as it was."""
    target_device = chosen_device(device, recipe)
    maker = create_batch_maker(recipe, images.images.shape[1], 2, images.mean, images.std, target_device)
    return measure(module, images, recipe, maker)


def measure(module: nn.Module, images: ImageArray, recipe: Recipe, maker: BatchMaker) -> tuple[float, float]:
    """As `evaluate`, with a batch maker that is there already."""
    was_training = module.training
    module.eval()
    loss = torch.zeros((), dtype=torch.float64, device=maker.device)
    right = torch.zeros((), dtype=torch.int64, device=maker.device)
    with torch.no_grad():  # not inference_mode: what a module caches there could not be trained on later
        for start in range(0, len(images), recipe.eval_batch):
            x, target = maker.plain(*images.take(np.arange(start, min(start + recipe.eval_batch, len(images)))))
            with precision(recipe, maker.device):
                logits = module(x)
            loss += nn.functional.cross_entropy(logits.float(), target, reduction="sum")
            right += (logits.argmax(1) == target).sum()
    module.train(was_training)
    return float(loss) / len(images), int(right) / len(images)


def chosen_device(name: str, recipe: Recipe) -> torch.device:
    """The device of that name.

    Raises:
        TrainingFailed: it is not there, or cannot do the precision of the recipe (cause `error`).
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingFailed(f"no device {name!r}: {error}", "error") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingFailed(f"no device {name!r}: this torch sees no CUDA device", "error")
    if recipe.precision == "float16" and device.type != "cuda":
        raise TrainingFailed(f"recipe.precision float16 needs CUDA, not {name}; use bfloat16 or float32", "error")
    return device
