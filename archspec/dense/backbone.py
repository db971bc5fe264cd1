"""A spec goes in; a backbone for dense tasks comes out: images to one normalised map for each resolution.

B images, C channels of a map, H x W positions.
"""

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from archspec.compiler import build
from archspec.dense.needs import require
from archspec.dense.padding import PaddedFeatures
from archspec.features.backbone import Features
from archspec.features.maps import FeatureMap, feature_maps
from archspec.resolve import resolve
from archspec.schema.load import load
from archspec.schema.network import Network

if TYPE_CHECKING:
    from archspec.api import Spec

NormKind = Literal["layer", "batch", "none"]
NORMS: tuple[NormKind, ...] = get_args(NormKind)


class Backbone(nn.Module):
    """The stages of a network, and a norm of its own for each map that goes out (Swin's and the paper's dense models).

    Args:
        spec: a name, a path or a network.
        out_indices: which maps, as in `archspec.compile`; None: the last of each resolution, four at most.
        norm: over channels ("layer"), over batch and positions ("batch") or "none"; None: what its blocks use first.
        multiple: mixing branches see maps padded to multiples of this; see archspec.dense.multiples.
        drop_path: in place of the network's own (paper: 0.2 for Tiny and 0.3 for Base on COCO, 0.3 on ADE20K).
        seed: of the initial weights.
        device: where the parameters are made; "meta" makes none.

    Raises:
        SpecError: the spec is not legal, or its maps cannot be padded so.
        DenseError: an option that there is not.
        ValueError: there is no map at an index.
    """

    def __init__(
        self,
        spec: "Spec",
        out_indices: tuple[int, ...] | int | None = None,
        norm: NormKind | None = None,
        multiple: int | None = None,
        drop_path: float | None = None,
        seed: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        require(norm in (None, *NORMS), f"norm is one of {', '.join(NORMS)}", norm)
        require(multiple is None or multiple > 0, "maps are padded to multiples of 1 or more", multiple)
        require(drop_path is None or 0 <= drop_path < 1, "drop_path is a rate from 0 up to, but not, 1", drop_path)
        written = written_of(spec)
        if drop_path is not None:
            written = written.model_copy(update={"drop_path": drop_path})
        program = resolve(written)
        maps = feature_maps(program)
        indices = pyramid(maps) if out_indices is None else out_indices
        kind: Any = partial(Features if multiple is None else PaddedFeatures, out_indices=indices)
        if multiple is not None:
            kind = partial(kind, multiple=multiple)
        self.written = written
        self.multiple = multiple
        self.features = cast(Features, build(program, seed, device, written, kind=kind))
        self.channels: list[int] = self.features.feature_info.channels()
        self.reductions: list[int] = self.features.feature_info.reduction()
        kind_of_norm = norm or first_norm(written)
        self.norms = nn.ModuleList(_norm(kind_of_norm, width, device) for width in self.channels)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [norm(x) for norm, x in zip(self.norms, self.features(image), strict=True)]


def written_of(spec: "Spec") -> Network:
    """The network as written. A resolved program does not know how it stands at other sizes."""
    if isinstance(spec, Network):
        return spec
    if not isinstance(spec, str) and not hasattr(spec, "__fspath__"):
        raise TypeError(f"a backbone is made of a name, a path or a network; found {type(spec).__name__}")
    return load(spec)  # type: ignore[arg-type]


def pyramid(maps: tuple[FeatureMap, ...]) -> tuple[int, ...]:
    """The last map of each resolution, the four coarsest of them."""
    last = {each.reduction: index for index, each in enumerate(maps)}
    return tuple(last.values())[-4:]


def first_norm(written: Network) -> NormKind:
    """What the blocks of a network normalise by first: batch for DW-Conv., layer for Swin."""
    for op in _norms(resolve(written)):
        return "batch" if op == "batch" else "layer"
    return "none"


def _norms(program: Any) -> Any:
    from archspec import ir

    return (op.kind for op in ir.walk(program.ops) if isinstance(op, ir.Norm) and op.path.startswith("stages.0.blocks"))


def _norm(kind: NormKind, width: int, device: torch.device | str | None) -> nn.Module:
    from timm.layers.norm import LayerNorm2d

    if kind == "none":
        return nn.Identity()
    return nn.BatchNorm2d(width, device=device) if kind == "batch" else LayerNorm2d(width, eps=1e-5, device=device)
