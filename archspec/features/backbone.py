"""A plan goes in; a backbone comes out: images (B, channels, H, W) to a list of feature maps (B, C, H', W').

B images, C channels of a map, H x W positions.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from archspec import ir
from archspec.features.maps import FeatureMap, feature_maps, taken
from archspec.lower import Plan
from archspec.module import Network


class Features(Network):
    """The stages of a network, without its head: `forward` gives the maps that `feature_info` describes.

    Loads the checkpoint of the classification network: what belongs to the head, and to stages after the last map
    that is asked for, is passed over.
    """

    def __init__(
        self,
        plan: Plan,
        device: torch.device | None = None,
        plan_at: Callable[[int, int], Plan] | None = None,
        out_indices: tuple[int, ...] | int | None = None,
    ) -> None:
        from timm.models import FeatureInfo

        super().__init__(plan, device, plan_at)
        self.maps = feature_maps(plan.program)
        self.out_indices = taken(self.maps, out_indices)
        self.feature_info = FeatureInfo(feature_rows(self.maps), self.out_indices)
        keep_parts(self, [self.maps[index].after for index in self.out_indices])
        del self.head
        self.register_load_state_dict_pre_hook(_pass_over_the_rest)  # type: ignore[no-untyped-call]

    def forward(self, image: Tensor) -> list[Tensor]:  # type: ignore[override]
        found = intermediate_maps(self, self.as_map(image))
        return [found[index] for index in self.out_indices]

    def run_at(self, height: int, width: int) -> None:
        super().run_at(height, width)
        self.maps = feature_maps(self.served[height, width][0])


def feature_rows(maps: tuple[FeatureMap, ...]) -> list[dict[str, Any]]:
    """The rows of timm's FeatureInfo."""
    return [{"num_chs": each.shape.channels, "reduction": each.reduction, "module": each.module} for each in maps]


def parts(network: Network) -> Iterator[tuple[str, nn.Module]]:
    """What runs one after the other up to the head, with its path: the stem, and each downsample and block."""
    children = dict(network.named_children())
    if "stem" in children:
        yield "stem", children["stem"]
    for number, stage in children["stages"].named_children():
        inside = dict(stage.named_children())
        if "downsample" in inside:
            yield f"stages.{number}.downsample", inside["downsample"]
        for block, module in inside["blocks"].named_children():
            yield f"stages.{number}.blocks.{block}", module


def keep_parts(network: Network, wanted: Collection[str]) -> None:
    """Delete what runs after the last of the parts that are wanted, and its parameters."""
    paths = [path for path, _ in parts(network)]
    last = max(paths.index(path) for path in wanted)
    for path in paths[last + 1 :]:
        holder, _, name = path.rpartition(".")
        delattr(network.get_submodule(holder), name)


def intermediate_maps(
    network: Any, x: Any, run: Callable[[nn.Module, Any], Any] | None = None, until: str | None = None
) -> list[Tensor]:
    """Every map in `network.maps` that its parts still give, as (B, C, H, W); x is what goes into the first part.

    `run` runs a part; nothing runs after the part `until`.
    """
    after: dict[str, Any] = {}
    wanted = {each.after for each in network.maps}
    for path, part in parts(network):
        x = part(x) if run is None else run(part, x)
        if path in wanted:
            after[path] = x
        if path == until:
            break
    return [as_image(after[each.after], each) for each in network.maps if each.after in after]


def as_image(x: Any, feature: FeatureMap) -> Tensor:
    """(B, H, W, C), or one of several such maps, or a map with its class token, as (B, C, H, W): a view."""
    y: Tensor = x if feature.stream is None else x[feature.stream]
    shape = feature.shape
    if shape.class_tokens:
        y = y[:, 0, shape.class_tokens :].unflatten(1, (shape.height, shape.width))
    return y.permute(0, 3, 1, 2)


def _pass_over_the_rest(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Of a checkpoint of the whole network, leave out what this backbone has not."""
    assert isinstance(module, Features)
    own = module.state_dict(keep_vars=True).keys()
    for name in ir.parameter_table(module.program):
        if name not in own:
            state_dict.pop(prefix + name, None)
