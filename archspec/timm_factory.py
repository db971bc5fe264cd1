"""A name and timm's options go in; the network that `timm.create_model("archspec/NAME")` gives comes out."""

from functools import partial
from typing import Any, cast

import torch
from timm.models import build_model_with_cfg
from torch import Tensor, nn

from archspec import ir
from archspec.compiler import build
from archspec.features.maps import feature_maps
from archspec.resizing.weights import resized_weights
from archspec.resolve import resolve
from archspec.schema.load import load
from archspec.timm_models import TimmNetwork, features_of
from archspec.timm_names import PREFIX
from archspec.timm_options import adapted


def network(
    name: str,
    num_classes: int | None = None,
    in_chans: int | None = None,
    img_size: int | tuple[int, int] | None = None,
    global_pool: str | None = None,
    drop_rate: float = 0.0,
    drop_path_rate: float | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> TimmNetwork:
    """A named network with timm's options.

    Raises:
        SpecError: the network cannot have them.
        ValueError: a way to pool that there is not, or `drop_rate` where the steps of the head classify.
    """
    written = adapted(load(name), num_classes, in_chans, img_size, global_pool, drop_path_rate)
    if drop_rate and not written.head.classifier:
        raise ValueError(f"{name} classifies in the steps of its head: drop_rate={drop_rate} has no place there")
    kind = partial(TimmNetwork, written=written, drop_rate=drop_rate)
    made = cast(TimmNetwork, build(resolve(written), None, device, written, kind=kind))
    # As timm's models begin, so that timm can save them as safetensors; `channels_last` is the user's choice there.
    made = made.to(memory_format=torch.contiguous_format)
    if num_classes == 0 or global_pool == "":
        made.reset_classifier(made.num_classes if num_classes is None else num_classes, global_pool)
    return made.to(dtype=dtype) if dtype is not None else made


def create(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
    """What `timm.create_model("archspec/NAME")` calls."""
    program = resolve(load(name))
    overlay = {**described(program), **(options.pop("pretrained_cfg_overlay", None) or {})}
    made: nn.Module = build_model_with_cfg(
        partial(network, name),
        PREFIX + name,
        pretrained,
        pretrained_cfg_overlay=overlay,
        pretrained_filter_fn=at_its_size,
        feature_cfg={"out_indices": tuple(range(len(feature_maps(program)))), "feature_cls": "getter"},
        **options,
    )
    return made


def at_its_size(state_dict: dict[str, Tensor], network: TimmNetwork) -> dict[str, Tensor]:
    """A checkpoint of the image size that the configuration says, for the size of the network (`img_size`).

    Raises WeightsError where a tensor cannot be resized. What is no such checkpoint stays as it is, and does not load.
    """
    config = cast(dict[str, Any], network.pretrained_cfg)
    channels, *size = config["input_size"]
    if tuple(size) == network.size:
        return state_dict
    sizes = (size[0], size[1]), network.size
    old, new = (resolve(adapted(network.written, config["num_classes"], channels, at)) for at in sizes)
    rows = {name: row.shape for name, row in ir.parameter_table(old).items()}
    found = {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
    return resized_weights(state_dict, old, new) if found == rows else state_dict


def described(program: ir.Program) -> dict[str, Any]:
    """What timm's configuration says of a network: the map that is pooled, its first convolution, its classifier."""
    pooled = features_of(program)
    first = program.ops[0]
    shapes = {row.name: row.shape for row in first.parameters}
    head = [op for op in ir.walk(program.ops) if op.path.startswith("head.") and isinstance(op, ir.Connect)]
    classifiers = tuple(op.path for op in head if op.target.channels == program.classes)
    return {
        "pool_size": (pooled.height, pooled.width),
        "first_conv": first.path if len(shapes.get("weight", ())) == 4 else (),
        "classifier": classifiers[0] if len(classifiers) == 1 else classifiers,
    }
