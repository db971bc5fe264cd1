"""An attention or outlook op, its parameters and x go in; its weights come out, textbook-plain.

Legend: B batch; N outgoing, M incoming positions; C channels; K neighbours; h heads.
"""

import math

import torch
from torch import Tensor

from archspec.ir import Attention, Connect, Feature, Outlook, PreConvolution, Sliding
from archspec.reference.connectivity import outgoing, support, windows_of
from archspec.reference.pointwise import Parameters
from archspec.reference.reading import patch_means, project, read
from archspec.reference.sharing import neighbour_indices, relative_indices


def attention(op: Connect, weights: Attention, parameters: Parameters, x: Tensor) -> Tensor:
    """The weight of each key for each query, from x (B, N, C) without padding: (B, N, h, M).

    Dot products, post-convolution (Eq. 23), relative bias (Eq. 21), centre (Eq. 22), heads mixed, mask, softmax.
    """
    seen = x
    if weights.pre_convolution:
        seen = pre_convolution(weights.pre_convolution, op.source, parameters["pre_convolution.weight"], x)
    query, key = project(op, parameters, asking(op, seen), 0), project(op, parameters, read(op, parameters, seen), 1)
    heads, width = op.kernels, op.source.channels // op.kernels
    query, key = (part.reshape(*part.shape[:2], heads, width) for part in (query, key))
    logits = torch.einsum("bihc,bjhc->bihj", query, key) / math.sqrt(width)
    if weights.post_convolution:
        logits = post_convolution(op, parameters["post_convolution.weight"], logits)
    if weights.relative_bias:
        logits = logits + parameters["relative_bias"][relative_indices(op).to(x.device)].transpose(1, 2)
    if weights.centre:
        logits = logits + _centre(op, parameters["centre.weight"], asking(op, x))
    if weights.mix_heads:
        logits = torch.einsum("oh,bihj->bioj", parameters["mix_heads.weight"], logits)
        logits = logits + parameters["mix_heads.bias"][:, None]
    absent = ~support(op).to(x.device)[:, None, :]
    if not weights.softmax:
        return logits.masked_fill(absent, 0.0)
    return logits.masked_fill(absent, -torch.inf).softmax(dim=-1)


def asking(op: Connect, x: Tensor) -> Tensor:
    """The positions of x (B, N, C) that have a query: all, or only the class token (which comes first)."""
    return x[:, : op.target.positions] if op.token_asks else x


def _centre(op: Connect, table: Tensor, x: Tensor) -> Tensor:
    """theta of the offset from i to j, and of the head, times x_i: (B, N, h, M)."""
    every = torch.einsum("bic,ohc->biho", x, table)
    index = relative_indices(op).to(x.device)[None, :, None].expand(*every.shape[:3], -1)
    return every.gather(-1, index)


def post_convolution(op: Connect, kernels: Tensor, logits: Tensor) -> Tensor:
    """Each query's products (B, N, h, M), laid out as what it reads lies on the map, convolved circularly, one kernel
    (k, k) a head; a product that does not exist is zero. out[t] = sum over u of kernel[u] products[t + u - k // 2].
    """
    index = neighbour_indices(op).to(logits.device)[None, :, None].expand_as(logits)
    # One place more than there are neighbours takes what does not exist.
    laid = logits.new_zeros(*logits.shape[:3], op.neighbours + 1).scatter(-1, index, logits)
    laid = laid[..., :-1].unflatten(-1, op.area)
    size = kernels.shape[-1]
    out = torch.zeros_like(laid)
    for u in range(size):
        for v in range(size):
            moved = laid.roll((size // 2 - u, size // 2 - v), (-2, -1))
            out = out + kernels[:, u, v][:, None, None] * moved
    return torch.nn.functional.pad(out.flatten(-2), (0, 1)).gather(-1, index)


def pre_convolution(options: PreConvolution, feature: Feature, weight: Tensor, x: Tensor) -> Tensor:
    """x (B, N, C) convolved by size x size taps, zeros around the map."""
    size, half = options.size, options.size // 2
    image = x.unflatten(1, (feature.height, feature.width))
    image = torch.nn.functional.pad(image, (0, 0, half, half, half, half))
    out = torch.zeros_like(x)
    for u in range(size):
        for v in range(size):
            moved = image[:, u : u + feature.height, v : v + feature.width].flatten(1, 2)
            # One number, one number a channel, or a matrix (outgoing, incoming).
            full = options.channels == "full"
            out = out + (torch.einsum("bnc,dc->bnd", moved, weight[..., u, v]) if full else moved * weight[..., u, v])
    return out


def outlook(op: Connect, weights: Outlook, space: Sliding, parameters: Parameters, x: Tensor) -> Tensor:
    """The weight of each j for each i, from x (B, N, C): (B, N, h, N).

    Each window predicts a map from its slots to its slots, softmax over all that it might read; the weight of j for i
    is the sum over the windows that hold both.
    """
    slots, heads, positions = space.taps, op.kernels, op.source.positions
    centres = patch_means(op.source, weights.stride, x)
    logits = torch.einsum("bwc,pc->bwp", centres, parameters["predict.weight"]) + parameters["predict.bias"]
    logits = logits.unflatten(-1, (heads, slots, slots)) / math.sqrt(op.source.channels // heads)
    probability = logits.softmax(dim=-1)
    held = [windows_of(weights, space, op.source, position) for position in outgoing(op.source)]
    shared = [
        (window, slot, there[window], i * positions + j)
        for i, here in enumerate(held)
        for j, there in enumerate(held)
        for window, slot in here.items()
        if window in there
    ]
    window, out, into, entry = torch.tensor(shared, device=x.device).unbind(1)
    # Indices apart from each other: what they pick comes first, (picked, B, h).
    picked = probability[:, window, :, out, into].permute(1, 2, 0)
    found: Tensor = probability.new_zeros(len(x), heads, positions**2).index_add(2, entry, picked)
    return found.reshape(len(x), heads, positions, positions).transpose(1, 2)
