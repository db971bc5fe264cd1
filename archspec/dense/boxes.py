"""Maps and regions go in; what one stage of the cascade says of each region comes out: class, box, mask.

Written on torchvision's RoIHeads, which assigns, samples, pools and decodes; a stage differs in its head of four
convolutions with batch norm, its GIoU loss, and in handing its boxes on. N regions, labels 0 background.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, maskrcnn_inference, maskrcnn_loss
from torchvision.ops import MultiScaleRoIAlign, clip_boxes_to_image, generalized_box_iou_loss

Boxes = list[Tensor]
"""One tensor (N, 4) for each image: left, top, right, bottom, in pixels."""
Targets = list[dict[str, Tensor]]

BOX_SIDE, MASK_SIDE = 7, 14
BOX_LOSS_WEIGHT = 10.0
POSITIVE = 0.25


@dataclass(frozen=True)
class HeadSize:
    """How large the heads are; by default those of the paper."""

    width: int = 256
    """Channels of the pyramid and of the convolutions on it."""
    hidden: int = 1024
    sampled: int = 512
    """Regions of an image that a stage trains on."""


class BoxPredictor(nn.Module):
    """Class and box of each region: a box for each class, and none for background (mmdetection's shapes)."""

    def __init__(self, hidden: int, classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(hidden, classes + 1)
        self.bbox_pred = nn.Linear(hidden, 4 * classes)
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        nn.init.zeros_(self.cls_score.bias)
        nn.init.zeros_(self.bbox_pred.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, hidden) -> scores (N, 1 + classes), and offsets (N, 4 + 4 classes), zero for background."""
        return self.cls_score(x), F.pad(self.bbox_pred(x), (4, 0))


class Stage(RoIHeads):  # type: ignore[misc]
    """One of the three stages: it takes regions for objects from an overlap of `overlap` on.

    Args:
        levels: the names of the maps to pool from.
        classes: as many as there are, without background.
        overlap: intersection over union from which a region is an object.
        precision: what offsets are multiplied by (centre, size): later stages correct less.
    """

    def __init__(self, levels: list[str], classes: int, head: HeadSize, overlap: float, precision: float) -> None:
        convolutions = [head.width] * 4
        super().__init__(
            MultiScaleRoIAlign(levels, BOX_SIDE, sampling_ratio=0),
            FastRCNNConvFCHead(
                (head.width, BOX_SIDE, BOX_SIDE), convolutions, [head.hidden], norm_layer=nn.BatchNorm2d
            ),
            BoxPredictor(head.hidden, classes),
            overlap,
            overlap,
            head.sampled,
            POSITIVE,
            (10 * precision, 10 * precision, 5 * precision, 5 * precision),
            score_thresh=0.05,
            nms_thresh=0.5,
            detections_per_img=100,
            mask_roi_pool=MultiScaleRoIAlign(levels, MASK_SIDE, sampling_ratio=0),
            mask_head=MaskRCNNHeads(head.width, convolutions, dilation=1),
            mask_predictor=MaskRCNNPredictor(head.width, head.width, classes),
        )

    def say(self, features: dict[str, Tensor], regions: Boxes, sizes: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """Scores and offsets of all regions of all images."""
        answer: tuple[Tensor, Tensor] = self.box_predictor(self.box_head(self.box_roi_pool(features, regions, sizes)))
        return answer

    def masks(self, features: dict[str, Tensor], regions: Boxes, sizes: list[tuple[int, int]]) -> Tensor:
        """Logits (N, classes, 28, 28): there is no mask of the background."""
        pooled = self.mask_roi_pool(features, regions, sizes)
        logits: Tensor = self.mask_predictor(self.mask_head(pooled))
        return logits

    def train_on(
        self, features: dict[str, Tensor], regions: Boxes, sizes: list[tuple[int, int]], targets: Targets
    ) -> tuple[dict[str, Tensor], Boxes]:
        """The losses of this stage, and the regions as it corrects them, for the next."""
        regions, matched, labels, _ = self.select_training_samples(regions, targets)
        scores, offsets = self.say(features, regions, sizes)
        objects = [torch.where(label > 0)[0] for label in labels]
        losses = {
            "classifier": F.cross_entropy(scores, torch.cat(labels)),
            "box": self._box_loss(offsets, regions, matched, labels, targets),
            "mask": self._mask_loss(features, sizes, targets, regions, matched, objects),
        }
        with torch.no_grad():
            known = torch.cat(labels)
            better = self.corrected(scores, offsets, regions, sizes, torch.where(known > 0, known, _best(scores)))
            given = [_among(old, target["boxes"]) for old, target in zip(regions, targets, strict=True)]
            new = [boxes[~own] for boxes, own in zip(better, given, strict=True)]
        return losses, new

    def corrected(
        self,
        scores: Tensor,
        offsets: Tensor,
        regions: Boxes,
        sizes: list[tuple[int, int]],
        labels: Tensor | None = None,
    ) -> Boxes:
        """The regions moved by the offsets of their label, by default of the best object class; inside the image."""
        chosen = _best(scores) if labels is None else labels
        moved = self.box_coder.decode(offsets.detach(), regions)
        boxes = moved[torch.arange(len(moved), device=moved.device), chosen]
        parts = boxes.split([len(each) for each in regions])
        return [clip_boxes_to_image(part, size) for part, size in zip(parts, sizes, strict=True)]

    def _box_loss(
        self, offsets: Tensor, regions: Boxes, matched: list[Tensor], labels: list[Tensor], targets: Targets
    ) -> Tensor:
        """GIoU of decoded boxes, weight 10 (Section 4.3: reg_decoded_bbox), over all samples."""
        known = torch.cat(labels)
        which = torch.where(known > 0)[0]
        wanted = torch.cat([_of(target["boxes"], index) for target, index in zip(targets, matched, strict=True)])
        boxes = self.box_coder.decode(offsets, regions)[which, known[which]]
        loss: Tensor = generalized_box_iou_loss(boxes, wanted[which].to(boxes), reduction="sum")
        return BOX_LOSS_WEIGHT * loss / max(1, known.numel())

    def _mask_loss(
        self,
        features: dict[str, Tensor],
        sizes: list[tuple[int, int]],
        targets: Targets,
        regions: Boxes,
        matched: list[Tensor],
        objects: list[Tensor],
    ) -> Tensor:
        inside = [region[index] for region, index in zip(regions, objects, strict=True)]
        of = [match[index] for match, index in zip(matched, objects, strict=True)]
        labels = [target["labels"] - 1 for target in targets]
        logits = self.masks(features, inside, sizes)
        loss: Tensor = maskrcnn_loss(logits, inside, [target["masks"] for target in targets], labels, of)
        return loss


def stages(levels: list[str], classes: int, head: HeadSize) -> nn.ModuleList:
    """Overlaps 0.5, 0.6, 0.7; offsets of the second and third twice and three times as fine (arXiv 1712.00726)."""
    make: Callable[[float, float], Stage] = partial(Stage, levels, classes, head)
    return nn.ModuleList([make(0.5, 1.0), make(0.6, 2.0), make(0.7, 3.0)])


def mean_masks(every: nn.ModuleList, features: Any, boxes: Boxes, labels: list[Tensor], sizes: Any) -> Boxes:
    """The masks (N, 1, 28, 28) of the found boxes of each image: the mean of all stages."""
    shifted = [label - 1 for label in labels]
    said = [maskrcnn_inference(cast(Stage, stage).masks(features, boxes, sizes), shifted) for stage in every]
    return [torch.stack(parts).mean(0) for parts in zip(*said, strict=True)]


def _best(scores: Tensor) -> Tensor:
    return scores[:, 1:].argmax(1) + 1


def _of(boxes: Tensor, index: Tensor) -> Tensor:
    """The matched boxes; an image without objects matches nothing."""
    return boxes[index] if len(boxes) else boxes.new_zeros(len(index), 4)


def _among(regions: Tensor, boxes: Tensor) -> Tensor:
    """Which regions are boxes of the target itself: they were put among the samples and are not handed on."""
    return (regions[:, None] == boxes[None].to(regions)).all(-1).any(1)
