"""A network for dense tasks and an image size go in; its parameters and multiply-adds come out.

The backbone is counted from its program, as `archspec.cost` counts; the heads are run on the device `meta`, which
computes nothing, and counted by torch.utils.flop_counter. Not counted, as there: bias, norms, activations, softmax,
interpolation, RoIAlign; the auxiliary head of UPerNet, which only training runs, counts in parameters only.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from archspec import dense, ir
from archspec.costs import op_macs
from archspec.dense.multiples import at_size, padded_branch, padded_images
from archspec.dense.needs import require
from archspec.features.maps import feature_maps
from archspec.schema.network import Network

if TYPE_CHECKING:
    from archspec.api import Spec

BOX_REGIONS, MASK_REGIONS = 1000, 100
"""Regions of one image in every stage: what the published counts assume."""
SIZES = {"upernet": (512, 2048), "cascade_mask_rcnn": (800, 1280)}
"""Height and width at which Tables 3 and 11 of arXiv 2106.04263 count."""


@dataclass(frozen=True)
class DenseCost:
    """Exact integers for one image. `head_macs` says what each head takes of `macs`."""

    params: int
    backbone_params: int
    macs: int
    backbone_macs: int
    head_macs: dict[str, int]


def dense_cost(
    spec: "Spec", head: str, classes: int | None = None, size: ir.Pair | None = None, **options: Any
) -> DenseCost:
    """The cost of a spec under a head, `upernet` or `cascade_mask_rcnn`, by default at the published size.

    Raises:
        SpecError: the spec is not legal or cannot stand at this size.
        DenseError: there is no such head or option, or what it needs is not installed.
    """
    require(head in SIZES, f"a head is one of {', '.join(SIZES)}", head)
    make: Any = {"upernet": dense.upernet, "cascade_mask_rcnn": dense.cascade_mask_rcnn}[head]
    model: Any = make(spec, **({} if classes is None else {"classes": classes}), device="meta", **options).eval()
    height, width = size or SIZES[head]
    backbone = model.backbone if head == "upernet" else model.backbone.backbone
    program = at_size(backbone.written, (height, width))
    maps = [
        torch.empty(1, each.shape.channels, each.shape.height, each.shape.width, device="meta")
        for each in (feature_maps(program)[index] for index in backbone.features.out_indices)
    ]
    heads = _upernet_heads(model, maps) if head == "upernet" else _cascade_heads(model, maps)
    own = backbone_macs(backbone.written, (height, width), backbone.multiple)
    return DenseCost(_params(model), _params(backbone), own + sum(heads.values()), own, heads)


def backbone_macs(network: Network, size: ir.Pair, multiple: int | None = None) -> int:
    """Multiply-adds of all stages for one image, mixing branches on maps padded to `multiple` where it is given."""
    program = at_size(network, size)
    images = {} if multiple is None else padded_images(program, multiple)
    programs = {image: at_size(network, image) for image in set(images.values())}
    total = 0
    for op in program.ops:
        if op.path.startswith("head."):
            continue
        runs: ir.Op = op
        if multiple is not None and op.path in images:
            runs = padded_branch(programs[images[op.path]], op.path, op, multiple)
        total += sum(op_macs(inner) for inner in ir.walk((runs,)))
    return total


def _upernet_heads(model: Any, maps: list[Tensor]) -> dict[str, int]:
    return {"upernet": _counted(model.decode_head, maps)}


def _cascade_heads(model: Any, maps: list[Tensor]) -> dict[str, int]:
    names = model.backbone.names
    pyramid = model.backbone.fpn(dict(zip(names, maps, strict=True)))
    first = model.roi_heads.stages[0]
    channels = model.backbone.out_channels
    box = torch.empty(BOX_REGIONS, channels, *first.box_roi_pool.output_size, device="meta")
    mask = torch.empty(MASK_REGIONS, channels, *first.mask_roi_pool.output_size, device="meta")
    stages = model.roi_heads.stages
    return {
        "fpn": _counted(model.backbone.fpn, dict(zip(names, maps, strict=True))),
        "rpn": _counted(model.rpn.head, list(pyramid.values())),
        "boxes": sum(_counted(nn.Sequential(stage.box_head, stage.box_predictor), box) for stage in stages),
        "masks": sum(_counted(nn.Sequential(stage.mask_head, stage.mask_predictor), mask) for stage in stages),
    }


def _counted(module: Any, x: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        module(x)
    return int(counter.get_total_flops()) // 2


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
