"""An op and a seed go in; random parameters, features and an upstream gradient for it come out.

Every number is one that bfloat16 can hold, so that all dtypes are given exactly the same problem. Nothing is
zero and nothing is as an initialisation would have it: a forgotten bias or running mean must show.

Legend: B batch; H, W height and width; N positions; C channels.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from archspec import reference
from archspec.ir import Attention, Connect, Op, Outlook, Parameter, Predicted, Reduced, Static

BATCH = 3


@dataclass(frozen=True)
class Sample:
    """What a kernel is given (x has shape (B, H, W, C)), and the gradient that flows back into its output."""

    parameters: dict[str, Tensor]
    x: Tensor
    upstream: Tensor

    def to(self, dtype: torch.dtype, device: str = "cpu") -> "Sample":
        """The same numbers in another dtype, elsewhere."""
        parameters = {name: value.to(device, dtype) for name, value in self.parameters.items()}
        return Sample(parameters, self.x.to(device, dtype), self.upstream.to(device, dtype))

    def copy(self, gradients: bool) -> "Sample":
        """A copy for one run; with `gradients`, x and the parameters record what is done to them."""
        parameters = {name: value.clone() for name, value in self.parameters.items()}
        x = self.x.clone()
        for name, value in {"": x, **parameters}.items():
            value.requires_grad_(gradients and not name.rpartition(".")[2].startswith("running_"))
        return Sample(parameters, x, self.upstream)


def draw(op: Op, seed: int, batch: int = BATCH) -> Sample:
    """A sample in float64. Features have a mean of their own in each sample, so pooled features differ."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    parameters = {row.name: _parameter(op, row, normal(*row.shape)) for row in op.parameters}
    x = normal(batch, *reference.layout(op.source)) + normal(batch, 1, 1, op.source.channels)
    upstream = normal(batch, *reference.layout(op.target))
    rounded = {name: _representable(value) for name, value in parameters.items()}
    return Sample(rounded, _representable(x), _representable(upstream))


def _representable(value: Tensor) -> Tensor:
    return value.bfloat16().double()


def _parameter(op: Op, row: Parameter, normal: Tensor) -> Tensor:
    """Scaled so that outputs, logits and predicted weights are neither tiny nor large."""
    name = row.name.rpartition(".")[2]
    if name == "running_var":
        return 0.5 + normal.abs()
    if not isinstance(op, Connect) or row.name.startswith(("norm.", "reduction.norm.")):
        return 1 + normal / 3 if name == "weight" else normal / 2
    return normal * _scale(op, row.name)


def _scale(op: Connect, name: str) -> float:
    width = op.source.channels
    fixed = {
        "relative_bias": 1.0,
        "centre.weight": 1 / math.sqrt(width),
        "mix_heads.weight": 1 / math.sqrt(op.kernels),
        "projection.weight": 1.5 / math.sqrt(width),
        "output.weight": 1 / math.sqrt(width),
        "reduce.weight": 1 / math.sqrt(width),
    }
    if name in fixed:
        return fixed[name]
    if name == "weight":
        # Logits of a softmax are of size one, so that what is summed is no mean.
        return 1.0 if isinstance(op.weights, Static) and op.weights.normalise else 1 / math.sqrt(op.fan_in)
    if name == "reduction.weight" and isinstance(op.space, Reduced):
        return 1 / math.sqrt(width * math.prod(op.space.ratio))
    if isinstance(op.weights, Attention):
        return _convolution_scale(op.weights, name, width)
    if name.startswith("predict.") and isinstance(op.weights, Outlook):
        return 1.0 if name == "predict.weight" else 0.5
    if name.startswith("predict.") and isinstance(op.weights, Predicted):
        hidden = op.weights.hidden if name == "predict.weight" else 4
        return 1 / math.sqrt(hidden * (1 if op.weights.normalise else op.fan_in))
    return 0.5


def _convolution_scale(weights: Attention, name: str, width: int) -> float:
    """The convolutions before and after the products keep their size."""
    if name == "post_convolution.weight":
        return 1 / weights.post_convolution
    if name == "pre_convolution.weight" and weights.pre_convolution:
        full = weights.pre_convolution.channels == "full"
        return 1 / (weights.pre_convolution.size * math.sqrt(width if full else 1))
    return 0.5
