"""A spec goes in; a network that says something of every position comes out: segmentation by UPerNet, detection with
masks by Cascade Mask R-CNN, as in Tables 3 and 11 of arXiv 2106.04263. Needs `pip install "archspec-nas[dense]"`.

    spec -> backbone (features, a norm for each map) -> upernet | pyramid -> rpn -> cascade of boxes -> masks

multiples     which maps are padded to whole multiples of a window (no torch)
padding       a backbone that does so
backbone      spec -> maps, each normalised
segmentation  maps -> a class for each position: UPerNet
boxes         one stage of the cascade: regions -> classes, boxes, masks
detection     maps -> boxes and masks, through three stages: Cascade Mask R-CNN
costs         what it takes: parameters, multiply-adds
rows          the published rows, with their sources
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archspec.api import Spec
    from archspec.dense.detection import CascadeMaskRCNN
    from archspec.dense.segmentation import UPerNet


def upernet(spec: "Spec", classes: int = 150, **options: Any) -> "UPerNet":
    """Semantic segmentation: images (B, channels, H, W) to logits (B, classes, H, W).

    Training mode with targets gives losses instead; see archspec.dense.segmentation.UPerNet.

    Args:
        spec: the network whose stages are the backbone.
        classes: as many as there are (ADE20K: 150).
        options: `width` of the head, and those of archspec.dense.backbone.Backbone.

    Raises:
        SpecError: the spec is not legal.
        DenseError: there is no such option, or what this needs is not installed.
    """
    from archspec.dense.segmentation import UPerNet

    return UPerNet(spec, classes, **options)


def cascade_mask_rcnn(spec: "Spec", classes: int = 80, **options: Any) -> "CascadeMaskRCNN":
    """Detection with masks: a list of images (channels, H, W) to one dict of boxes, labels, scores, masks for each.

    Training mode with targets gives losses instead; see archspec.dense.detection.CascadeMaskRCNN.

    Args:
        spec: the network whose stages are the backbone.
        classes: as many as there are, without background (COCO: 80).
        options: of CascadeMaskRCNN (min_size, max_size, head) and of archspec.dense.backbone.Backbone.

    Raises:
        SpecError: the spec is not legal.
        DenseError: there is no such option, or what this needs is not installed.
    """
    from archspec.dense.detection import CascadeMaskRCNN

    return CascadeMaskRCNN(spec, classes, **options)
