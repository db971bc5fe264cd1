"""Features and parameters go in; normalised, activated, scaled features come out, by their textbook formulas.

Legend: B batch; N positions; C channels.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]
MOMENTUM = 0.1

# Beyond these, exp(-x) is nothing beside 1 or overflows in a gradient's square.
LARGEST_EXPONENT = 40.0

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + _exp(-x)),
    "tanh": lambda x: 1 - 2 / (1 + _exp(2 * x)),
    "sigmoid": lambda x: 1 / (1 + _exp(-x)),
    "hardswish": lambda x: x * torch.clamp(x + 3, 0, 6) / 6,
    "relu6": lambda x: torch.clamp(x, 0, 6),
}


def _exp(x: Tensor) -> Tensor:
    return torch.exp(x.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT))


def activation(kind: str, x: Tensor) -> Tensor:
    """A function of each element."""
    return ACTIVATIONS[kind](x)


def layer_norm(x: Tensor, parameters: Parameters, eps: float, prefix: str = "") -> Tensor:
    """Over the channels of each position of x (B, N, C)."""
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps) * parameters[f"{prefix}weight"] + parameters[f"{prefix}bias"]


def batch_norm(x: Tensor, parameters: Parameters, prefix: str, eps: float, training: bool) -> Tensor:
    """Over batch and positions of x (B, N, C).

    Training normalises with the variance of the batch and moves the running statistics, in place, towards its
    mean and its unbiased variance (arXiv 1502.03167, algorithm 2). Evaluation uses the running statistics.
    """
    running_mean, running_variance = parameters[f"{prefix}running_mean"], parameters[f"{prefix}running_var"]
    mean, variance = running_mean, running_variance
    if training:
        samples = x.shape[0] * x.shape[1]
        mean = x.mean(dim=(0, 1))
        variance = ((x - mean) ** 2).mean(dim=(0, 1))
        with torch.no_grad():
            running_mean += MOMENTUM * (mean - running_mean)
            running_variance += MOMENTUM * (variance * samples / (samples - 1) - running_variance)
    normal = (x - mean) / torch.sqrt(variance + eps)
    return normal * parameters[f"{prefix}weight"] + parameters[f"{prefix}bias"]
