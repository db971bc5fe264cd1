"""A module in its canonical start and batches go in; scores of its gradients come out.

Legend: theta a weight of a matrix (canonical.matrices), L the mean cross-entropy of a batch, g = dL/dtheta; R the sum
of all outputs; x_i image i. Batches are (images (B, 3, H, W), labels (B,)).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from archspec.module import Network
from archspec.search.proxies.canonical import matrices

Batch = tuple[Tensor, Tensor]


def grad_norm(module: Network, batches: Sequence[Batch]) -> float:
    """Sum over matrices of the 2-norm of g (arXiv 2101.08134)."""
    return sum(float(each.norm()) for each in _gradients(module, batches[0]))


def snip(module: Network, batches: Sequence[Batch]) -> float:
    """Sum over weights of |theta g| (arXiv 1810.02340, summed as in arXiv 2101.08134)."""
    found = zip(_weights(module), _gradients(module, batches[0]), strict=True)
    return sum(float((weight.detach() * gradient).abs().sum()) for weight, gradient in found)


def zico(module: Network, batches: Sequence[Batch]) -> float:
    """Sum over matrices of log(sum over weights of mean_b |g_b| / std_b g_b), b two batches or more (arXiv 2301.11300).

    The deviation is of the population; weights without one are left out, and so are matrices of such weights alone.
    """
    per_batch = [_gradients(module, batch) for batch in batches]
    total = 0.0
    for gradients in zip(*per_batch, strict=True):
        stacked = torch.stack(gradients)
        deviation = stacked.std(0, correction=0)
        there = deviation > 0
        ratio = float((stacked.abs().mean(0)[there] / deviation[there]).sum())
        total += float(torch.tensor(ratio, dtype=torch.float64).log()) if ratio > 0 else 0.0
    return total


def synflow(module: Network, batches: Sequence[Batch]) -> float:
    """log10 of the sum over weights of theta dR/dtheta with |theta| for theta and an image of ones (arXiv 2006.05467).

    In float64 and with batch norms as they start (mean 0, variance 1), where they are the identity; changes the module.
    """
    module.eval().double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_()
    ones = torch.ones_like(batches[0][0][:1], dtype=torch.float64)
    weights = _weights(module)
    flow = torch.autograd.grad(module(ones).sum(), weights, allow_unused=True)
    total = sum(float((w.detach() * g).sum()) for w, g in zip(weights, flow, strict=True) if g is not None)
    return float(torch.tensor(total, dtype=torch.float64).log10())


def jacob_cov(module: Network, batches: Sequence[Batch]) -> float:
    """-sum of [log(l + k) + 1 / (l + k)], l eigenvalues of the correlations of dR/dx_i, k = 1e-5 (arXiv 2006.04647v1).

    Batch norms as they start: with the statistics of the batch, images would see each other.
    """
    module.eval()
    x = batches[0][0].clone().requires_grad_()
    (jacobian,) = torch.autograd.grad(module(x).sum(), x)
    correlations = torch.corrcoef(jacobian.flatten(1).double())
    values = torch.linalg.eigvalsh(correlations) + 1e-5
    return -float((values.log() + 1 / values).sum())


def _weights(module: Network) -> list[Tensor]:
    return [parameter for _, _, parameter, _ in matrices(module)]


def _gradients(module: Network, batch: Batch) -> list[Tensor]:
    """Of each matrix; zeros where the loss does not depend on it."""
    weights = _weights(module)
    found = torch.autograd.grad(F.cross_entropy(module(batch[0]), batch[1]), weights, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]
