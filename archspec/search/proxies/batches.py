"""Data and a seed go in; the few batches of training images that scores look at come out, normalised, not augmented."""

import numpy as np
import torch
from torch import Tensor

from archspec.search.data.images import ImageData


def training_batches(data: ImageData, count: int, size: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """`count` batches of `size` different training images: (B, 3, H, W) float32 and labels (B,)."""
    size = min(size, max(2, len(data.train) // count))
    chosen = np.random.default_rng(seed).permutation(len(data.train))[: count * size]
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    batches = []
    for number in range(count):
        images, labels = data.train.take(np.sort(chosen[number * size : (number + 1) * size]))
        x = (torch.from_numpy(np.ascontiguousarray(images)).float() / 255 - mean) / std
        batches.append((x.permute(0, 3, 1, 2).contiguous(), torch.from_numpy(np.ascontiguousarray(labels))))
    return batches
