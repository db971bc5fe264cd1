"""A trained module and what is to be timed go in; its latency or throughput on the device of the study comes out.

What else a machine does only ever slows a pass down, so the fastest of many is taken: it moves least between runs.

Axes: B images of a batch, H and W.
"""

import time
from collections.abc import Iterable

import torch
from torch import nn

from archspec.search.optimisation import precision
from archspec.search.recipe import Recipe

WARM, PASSES = 3, 20


def timed(
    module: nn.Module, names: Iterable[str], size: tuple[int, int], recipe: Recipe, device: torch.device
) -> dict[str, float]:
    """`latency`: seconds of a pass of one image; `throughput`: images a second in batches of the recipe.

    Args:
        module: it takes (B, 3, H, W); moved to the device, and left there in evaluation mode. One that was stopped at
            a rung of a width has not been trained.
        size: H and W.
        recipe: says the precision of the pass, and the batch.
    """
    found = {}
    module.to(device).eval()
    for name in names:
        images = 1 if name == "latency" else recipe.batch
        seconds = _fastest(module, images, size, recipe, device)
        found[name] = seconds if name == "latency" else images / seconds
    return found


def _fastest(module: nn.Module, images: int, size: tuple[int, int], recipe: Recipe, device: torch.device) -> float:
    x = torch.zeros((images, 3, *size), device=device)
    seconds = []
    with torch.inference_mode(), precision(recipe, device):
        for _ in range(WARM + PASSES):
            _wait(device)
            began = time.perf_counter()
            module(x)
            _wait(device)
            seconds.append(time.perf_counter() - began)
    return min(seconds[WARM:])


def _wait(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
