"""A network, its weights and perhaps an image go in; the numbers in the matrix of one connection come out.

Legend: B batch; N outgoing, M incoming positions; C channels; K kernels (heads, groups, channels).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from archspec.draw.connections import Drawn
from archspec.errors import DrawingError
from archspec.ir import Connect, Program, Static

if TYPE_CHECKING:
    from torch import Tensor, nn

SHOWN = 8
"""Kernels whose values are drawn one by one."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's statistics per channel, as timm and torchvision normalise."""


@dataclass(frozen=True)
class Values:
    """For each pair of positions: the mean magnitude over all kernels, then the values of the first SHOWN kernels.

    A kernel is what a class of channels shares: a head, a group, a channel. Where channels mix there is the mean only.
    """

    source: str
    names: tuple[str, ...]
    layers: NDArray[np.float32]  # (1 + kernels, N, M); 0 where there is no entry

    @property
    def mean(self) -> NDArray[np.float32]:
        """(N, M)."""
        mean: NDArray[np.float32] = self.layers[0]
        return mean


def measured(
    drawn: Drawn, image: Path | None = None, weights: Path | None = None, seed: int = 0, own: Program | None = None
) -> Values:
    """The values of a connection: parameters, or what it makes of an image, at the network's present size.

    `own` is the program that `weights` were saved from, where that is at another size: they are then resized.

    Raises:
        DrawingError: the weights depend on the features and there is no image, or it cannot be read.
        WeightsError: the file does not fit the network.
    """
    import torch

    from archspec.compiler import build

    op = drawn.connection
    if image is None and not isinstance(op.weights, Static):
        raise DrawingError(f"the weights of {op.path} depend on the features: name an image")
    module: nn.Module = build(drawn.program, seed=seed).eval()
    if weights is not None:
        _load(module, drawn.program, weights, own or drawn.program)
    with torch.inference_mode():
        if image is None:
            x = torch.zeros(1, op.source.positions, op.source.channels)
        else:
            x = _features(module, op, _pixels(image, drawn.program)).flatten(1, 2)
        parameters = {row.name: module.state_dict()[f"{op.path}.{row.name}"] for row in op.parameters}
        layers = _layers(op, parameters, x)
    source = f"weights of {weights.name}" if weights else f"initial weights (seed {seed})"
    source += f", image {image.name}" if image else ""
    count = len(layers) - 1
    unit = "head" if type(op.weights).__name__ in ("Attention", "Outlook") else "kernel"
    total = op.kernels if op.channels == "separate" else 0
    names = ("mean magnitude", *(f"{unit} {number + 1} of {total}" for number in range(count)))
    return Values(source, names, layers)


def _load(module: "nn.Module", program: Program, file: Path, own: Program) -> None:
    from archspec.artifacts import load_weights
    from archspec.compiler import build
    from archspec.resizing.weights import resized_weights

    if own.digest == program.digest:
        load_weights(module, file, own.digest)
        return
    saved: nn.Module = build(own, seed=0)
    load_weights(saved, file, own.digest)
    module.load_state_dict(resized_weights(saved.state_dict(), own, program))


def _features(module: "nn.Module", op: Connect, image: "Tensor") -> "Tensor":
    """What the connection is given when the network sees the image: (1, H, W, C)."""
    found: list[Tensor] = []
    layer = module.get_submodule(op.path)
    hook = layer.register_forward_pre_hook(lambda _, given: found.append(given[0].clone()))
    module(image)
    hook.remove()
    return found[0].reshape(1, 1, -1, op.source.channels)


def _pixels(file: Path, program: Program) -> "Tensor":
    """The image as the network reads it: (1, 3, H, W), the middle of it, normalised as ImageNet's are."""
    import torch
    from PIL import Image, ImageOps

    if program.image.channels != 3:
        raise DrawingError(f"{program.name} reads {program.image.channels} channels, and {file} has colours")
    try:
        with Image.open(file) as opened:
            fitted = ImageOps.fit(opened.convert("RGB"), (program.image.width, program.image.height))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DrawingError(f"cannot read {file} as an image: {error}") from None
    scaled = (np.asarray(fitted, np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    return torch.from_numpy(scaled).permute(2, 0, 1)[None]


def _layers(op: Connect, parameters: "dict[str, Tensor]", x: "Tensor") -> NDArray[np.float32]:
    """(1 + kernels, N, M), from the values of each tie index: never the whole of W."""
    import torch

    from archspec import reference

    found = reference.values(op, parameters, x, False)[0]  # (N or 1, K, positions)
    joined, index = reference.support(op), reference.tie(op).clamp(min=0)
    mean = (found.abs() * _multiplicity(op)).sum(1)  # (N or 1, positions)
    layers = [mean, *(found[:, kernel] for kernel in range(_kernels(op)))]
    matrices = [layer.expand(len(index), -1).gather(1, index) * joined for layer in layers]
    return torch.stack(matrices).numpy().astype(np.float32)


def _kernels(op: Connect) -> int:
    return min(op.kernels, SHOWN) if op.channels == "separate" else 0


def _multiplicity(op: Connect) -> "Tensor":
    """Of each channel class, its part of all entries over channels: (K, 1)."""
    import torch

    # Classes of channels are equally large: blocks of channels, or one entry of each group.
    count = math.prod(op.channel_shape)
    return torch.full((count, 1), 1 / count)
