"""The name of a network goes in; how far ours and timm's differ with the same random weights comes out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from archspec.compiler import build
from archspec.errors import Problem, SpecError, nearest
from archspec.resolve import resolve
from archspec.schema.load import load
from archspec.weights.families import TIMM_MODELS
from archspec.weights.loading import load_timm_weights

LARGEST_DIFFERENCE = 1e-4
"""Of the largest magnitude: what float32 allows two orders of the same sums."""


@dataclass(frozen=True)
class Comparison:
    """How far two networks with the same weights differ, relative to the largest magnitude.

    Where a ReLU or a maximum is within rounding of a kink, gradients in float32 may differ by as much as one path
    gives: such gradients are compared again in float64, where a difference in meaning stays and one in rounding goes.
    """

    name: str
    timm_model: str
    parameters: int
    output_difference: float
    gradient_difference: float
    gradient_precision: str

    @property
    def equal(self) -> bool:
        """Whether outputs and gradients with respect to the images agree."""
        return max(self.output_difference, self.gradient_difference) <= LARGEST_DIFFERENCE


def verify_against_timm(name: str, seed: int = 0, size: int | None = None) -> Comparison:
    """Randomise timm's model, load its weights into ours, and compare outputs and gradients on random images.

    size: of the images in pixels; left out, the network's own. Raises SpecError for a network that timm has not,
    naming those that it has.
    """
    theirs = reference_network(name).eval()
    network = load(name)
    if size is not None:
        network = network.model_copy(update={"input": network.input.model_copy(update={"size": size})})
    ours = build(resolve(network), seed=seed).eval()
    image = ours.program.image
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, image.channels, image.height, image.width, generator=generator)
    randomise(theirs, images, generator)
    load_timm_weights(ours, theirs.state_dict())
    precision = "float32"
    output, gradient = _differences(ours, theirs, images, seed)
    if output <= LARGEST_DIFFERENCE < gradient:
        precision = "float64"
        _, gradient = _differences(ours.double(), theirs.double(), images.double(), seed)
    count = sum(parameter.numel() for parameter in ours.parameters())
    return Comparison(name, TIMM_MODELS[name], count, output, gradient, precision)


def reference_network(name: str, **options: Any) -> nn.Module:
    """timm's or torchvision's own module of a named network, with its initial weights.

    options: for timm, as `drop_path_rate`. Raises SpecError for a network that neither has.
    """
    if name not in TIMM_MODELS:
        rule = "timm has no such network; verify takes one of " + ", ".join(TIMM_MODELS)
        raise SpecError([Problem(rule, name, nearest=nearest(name, TIMM_MODELS))])
    library, _, model = TIMM_MODELS[name].rpartition(":")
    if library == "torchvision":
        from torchvision.models import get_model

        module: nn.Module = get_model(model, weights=None)
        return module
    import timm

    created: nn.Module = timm.create_model(model, **options)
    return created


def randomise(module: nn.Module, images: Tensor, generator: torch.Generator) -> None:
    """No parameter stays zero or tiny: biases, relative biases, scales, heads, batch statistics all show in the output.

    Running statistics are set to those of the images and then moved, so that no map grows from layer to layer.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            deviation = 0.5 if re.search(r"relative_position|\.ls\d$", name) else 0.2 if parameter.ndim < 2 else 0.02
            parameter.add_(deviation * torch.randn(parameter.shape, generator=generator))
        with _measuring(module):
            module(images)
        for name, buffer in module.named_buffers():
            if name.endswith("running_var"):
                # A channel that these images hardly move would be stretched without bound.
                buffer.add_(0.1 * buffer.mean()).mul_(torch.exp(0.2 * torch.randn(buffer.shape, generator=generator)))
            elif name.endswith("running_mean"):
                buffer.add_(0.1 * buffer.std(correction=0) * torch.randn(buffer.shape, generator=generator))


@contextmanager
def _measuring(module: nn.Module) -> Iterator[None]:
    """Batch norms keep the statistics of the next batch and nothing of those before; nothing else is in training."""
    norms = [each for each in module.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    momenta = [each.momentum for each in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum


def _differences(ours: nn.Module, theirs: nn.Module, images: Tensor, seed: int) -> tuple[float, float]:
    """Of the outputs and of the gradients with respect to the images, relative to the largest of theirs."""
    pairs = zip(_answer(ours, images, seed), _answer(theirs, images, seed), strict=True)
    output, gradient = (((one - other).abs().max() / other.abs().max()).item() for one, other in pairs)
    return output, gradient


def _answer(module: nn.Module, images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    images = images.clone().requires_grad_()
    logits = module(images)
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed + 1))
    (gradient,) = torch.autograd.grad((logits * direction).sum(), images)
    return logits.detach(), gradient
