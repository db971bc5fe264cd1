"""A spec goes in; a network that detects comes out: Cascade Mask R-CNN (arXiv 1906.09756) on torchvision's parts.

B images, C channels of a map, H x W positions, N regions.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from archspec.dense.needs import drawn, require, require_torchvision

require_torchvision()

from torchvision.models.detection.anchor_utils import AnchorGenerator  # noqa: E402
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN  # noqa: E402
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead  # noqa: E402
from torchvision.models.detection.transform import GeneralizedRCNNTransform  # noqa: E402
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool  # noqa: E402

from archspec.dense.backbone import Backbone  # noqa: E402
from archspec.dense.boxes import Boxes, HeadSize, Stage, Targets, mean_masks, stages  # noqa: E402

if TYPE_CHECKING:
    from archspec.api import Spec

STAGE_WEIGHTS = (1.0, 0.5, 0.25)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ANCHOR_PER_STRIDE = 8
"""An anchor is eight positions of its map wide, in three shapes."""


class Pyramid(nn.Module):
    """Images (B, channels, H, W) -> maps of `width` channels, and one more at half the resolution of the last."""

    def __init__(self, spec: "Spec", width: int, **options: Any) -> None:
        super().__init__()
        self.backbone = Backbone(spec, **options)
        with drawn(options.get("seed"), options.get("device")):
            self.fpn = FeaturePyramidNetwork(self.backbone.channels, width, LastLevelMaxPool())
        self.out_channels = width
        self.names = [str(number) for number in range(len(self.backbone.channels))]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps: dict[str, Tensor] = self.fpn(OrderedDict(zip(self.names, self.backbone(images), strict=True)))
        return maps


class CascadeHeads(nn.Module):
    """Regions through three stages, each on the boxes of the one before; scores and masks are the mean of all three."""

    def __init__(self, levels: list[str], classes: int, head: HeadSize) -> None:
        super().__init__()
        self.stages = stages(levels, classes, head)

    def forward(
        self, features: dict[str, Tensor], regions: Boxes, sizes: list[tuple[int, int]], targets: Targets | None = None
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        if not self.training or targets is None:
            return self._found(features, regions, sizes), {}
        losses: dict[str, Tensor] = {}
        for number, (stage, weight) in enumerate(zip(self.stages, STAGE_WEIGHTS, strict=True)):
            said, regions = cast(Stage, stage).train_on(features, regions, sizes, targets)
            losses |= {f"loss_{name}_{number}": weight * value for name, value in said.items()}
        return [], losses

    def _found(
        self, features: dict[str, Tensor], regions: Boxes, sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        first, *others = cascade = cast(list[Stage], list(self.stages))
        scores, offsets = first.say(features, regions, sizes)
        probabilities = [scores.softmax(1)]
        for before, stage in zip(cascade, others, strict=False):
            regions = before.corrected(scores, offsets, regions, sizes)
            scores, offsets = stage.say(features, regions, sizes)
            probabilities.append(scores.softmax(1))
        mean = torch.stack(probabilities).mean(0).log()
        boxes, scores, labels = cascade[-1].postprocess_detections(mean, offsets, regions, sizes)
        masks = mean_masks(self.stages, features, boxes, labels, sizes)
        names = ("boxes", "labels", "scores", "masks")
        return [dict(zip(names, each, strict=True)) for each in zip(boxes, labels, scores, masks, strict=True)]


def check_targets(targets: Targets, classes: int) -> None:
    """Raise DenseError unless every image has a label and a mask for each of its boxes."""
    for number, target in enumerate(targets):
        where = f"targets[{number}]"
        missing = [name for name in ("boxes", "labels", "masks") if name not in target]
        require(not missing, f"{where} has boxes, labels and masks", sorted(target))
        counts = {name: len(target[name]) for name in ("boxes", "labels", "masks")}
        require(len(set(counts.values())) == 1, f"{where} has a label and a mask for each box", counts)
        labels = target["labels"]
        inside = bool(((labels >= 1) & (labels <= classes)).all())
        require(inside, f"the labels in {where} are from 1 to {classes}: 0 is the background", labels.tolist())


class CascadeMaskRCNN(GeneralizedRCNN):  # type: ignore[misc]
    """Images (channels, H, W) between 0 and 1, as a list, of any sizes -> for each a dict of `boxes` (N, 4), `labels`
    from 1 on, `scores`, `masks` (N, 1, H, W).

    In training mode with targets (boxes, labels from 1 on, masks (N, H, W)) a dict of losses. As torchvision's
    detectors otherwise: images are normalised and resized here.

    Args:
        spec: the network whose stages are the backbone.
        classes: as many as there are, without background.
        min_size: the shorter side that images are resized to.
        max_size: the longest that the longer side may be then.
        head: how large the heads are.
        options: of archspec.dense.backbone.Backbone.
    """

    def __init__(
        self,
        spec: "Spec",
        classes: int = 80,
        min_size: int = 800,
        max_size: int = 1333,
        head: HeadSize | None = None,
        **options: Any,
    ) -> None:
        require(classes > 0, "a network tells at least 1 class", classes)
        head = head or HeadSize()
        pyramid = Pyramid(spec, head.width, **options)
        channels = pyramid.backbone.features.program.image.channels
        reductions = pyramid.backbone.reductions
        strides = (*reductions, 2 * reductions[-1])
        anchors = AnchorGenerator(
            tuple((ANCHOR_PER_STRIDE * stride,) for stride in strides), ((0.5, 1.0, 2.0),) * len(strides)
        )
        with drawn(options.get("seed"), options.get("device")):
            rpn = RegionProposalNetwork(
                anchors,
                RPNHead(head.width, anchors.num_anchors_per_location()[0]),
                fg_iou_thresh=0.7,
                bg_iou_thresh=0.3,
                batch_size_per_image=256,
                positive_fraction=0.5,
                pre_nms_top_n={"training": 2000, "testing": 1000},
                post_nms_top_n={"training": 2000, "testing": 1000},
                nms_thresh=0.7,
            )
            heads = CascadeHeads(pyramid.names, classes, head)
        mean, deviation = (MEAN, DEVIATION) if channels == 3 else ((0.5,) * channels, (0.5,) * channels)
        transform = GeneralizedRCNNTransform(min_size, max_size, list(mean), list(deviation), size_divisible=32)
        super().__init__(pyramid, rpn, heads, transform)
        self.channels, self.classes = channels, classes

    def forward(self, images: list[Tensor], targets: Targets | None = None) -> Any:
        """What the class says. Raises DenseError for images or targets that are none."""
        shapes = [tuple(image.shape) for image in images]
        right = all(len(shape) == 3 and shape[0] == self.channels for shape in shapes)
        require(right, f"images are a list of tensors ({self.channels}, H, W)", shapes)
        if self.training and targets is not None:
            require(len(targets) == len(images), "there are targets for each image", len(targets))
            check_targets(targets, self.classes)
        return super().forward(images, targets)
