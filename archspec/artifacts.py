"""A module's weights go to a safetensors file and come back, with the facts that say which network they are of."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from archspec.errors import WeightsError


def save_weights(module: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
    """Write parameters and buffers; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    save_file(tensors, unfinished, metadata=dict(facts))
    os.replace(unfinished, path)


def load_weights(module: nn.Module, path: Path, digest: str | None = None) -> None:
    """Load a file that `save_weights` wrote.

    Raises:
        WeightsError: the file cannot be read, or holds another network (by digest, names or shapes).
    """
    facts, tensors = _read(path)
    if digest is not None and facts.get("digest", digest) != digest:
        raise WeightsError(f"{path} holds the weights of {facts.get('name')}, digest {facts['digest'][:16]}")
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if own != found:
        differing = sorted(set(own.items()) ^ set(found.items()))[:3]
        raise WeightsError(f"{path} does not fit this network; first differences: {differing}")
    module.load_state_dict(tensors)


def holds(path: Path, module: nn.Module) -> bool:
    """Whether a file holds exactly the weights of a module, or such that a seed gives again (the fact `drawn`).

    Raises WeightsError where it cannot be read.
    """
    facts, tensors = _read(path)
    own = module.state_dict()
    same = own.keys() == tensors.keys() and all(_equal(own[name].cpu(), tensors[name]) for name in own)
    return same or "drawn" in facts


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The facts and tensors of a file."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read {path} as safetensors: {error}") from None
