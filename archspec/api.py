"""The functions behind `archspec.compile`, `archspec.cost`, `archspec.digest` and `archspec.load_timm_weights`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from archspec.costs import Cost
from archspec.costs import cost as program_cost
from archspec.ir import Program
from archspec.resolve import resolve
from archspec.schema.load import load
from archspec.schema.network import Network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

Spec = str | Path | Network | Program
"""A name of the zoo, a path, a network, or a program that is already resolved."""


def program_of(spec: Spec) -> Program:
    """The resolved program of a spec. Raises SpecError with every problem."""
    if isinstance(spec, Program):
        return spec
    return resolve(spec if isinstance(spec, Network) else load(spec))


def compile(spec: Spec, *, seed: int | None = None, device: Any = None) -> "nn.Module":
    """A plain, trainable module: images (B, channels, H, W) in, logits (B, classes) out.

    It runs at any image size at which the network stands and its parameters keep their shapes.

    Args:
        spec: a name, a path, a network or a program.
        seed: of the initial weights; None draws from torch's global generator.
        device: where the parameters are made; "meta" makes none.

    Raises:
        SpecError: the spec is not legal, or too large to be built.
    """
    from archspec.compiler import build

    written = None if isinstance(spec, Program) else spec if isinstance(spec, Network) else load(spec)
    return build(program_of(spec if written is None else written), seed=seed, device=device, written=written)


def cost(spec: Spec) -> Cost:
    """Exact cost for one image: `.params`, `.macs`, `.paper_flops`, `.activation_bytes` (integers; no torch)."""
    return program_cost(program_of(spec))


def digest(spec: Spec) -> str:
    """sha256 of the meaning of a spec: equal for specs with the same normal form, whatever their names."""
    return program_of(spec).digest


def load_timm_weights(module: "nn.Module", state_dict: "Mapping[str, Tensor]") -> None:
    """Load the weights of timm's Swin, Mixer, ResMLP, DeiT or ViT model of the same architecture.

    Raises:
        WeightsError: a tensor is missing, left over or of another shape; the module is then unchanged.
    """
    from archspec.weights import load_timm_weights as load_weights

    load_weights(module, state_dict)
