"""A spec goes in; a network that segments comes out: UPerNet (arXiv 1807.10221) with its heads from transformers.

B images, H x W positions, classes.
"""

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

from archspec.dense.backbone import Backbone
from archspec.dense.needs import drawn, require, upernet_pieces

if TYPE_CHECKING:
    from archspec.api import Spec

AUXILIARY_WEIGHT = 0.4
IGNORED = 255
"""The label of positions that no loss counts (ADE20K's border of objects)."""


class UPerNet(nn.Module):
    """Pooling at scales 1, 2, 3, 6 over the coarsest map, a pyramid of 512 channels, and an auxiliary head of 256
    channels on the second coarsest map (Section 4.3 of arXiv 2106.04263: stage 3, loss weight 0.4).

    Args:
        spec: the network whose stages are the backbone.
        classes: as many as there are.
        width: channels of the pyramid, and twice those of the auxiliary head.
        options: of archspec.dense.backbone.Backbone.
    """

    def __init__(self, spec: "Spec", classes: int = 150, width: int = 512, **options: Any) -> None:
        super().__init__()
        require(classes > 0, "a network tells at least 1 class", classes)
        config, decode_head, auxiliary_head = upernet_pieces()
        self.backbone = Backbone(spec, **options)
        self.classes = classes
        channels = self.backbone.channels
        settings = config(num_labels=classes, hidden_size=width, auxiliary_channels=width // 2)
        with drawn(options.get("seed"), options.get("device")):
            self.decode_head: nn.Module = decode_head(settings, channels)
            self.auxiliary_head: nn.Module = auxiliary_head(settings, channels, in_index=max(0, len(channels) - 2))

    def forward(self, images: Tensor, targets: Tensor | None = None) -> Any:
        """images (B, channels, H, W) -> logits (B, classes, H, W).

        In training mode with targets (B, H, W) of class indices, a dict of losses: `loss_decode`, `loss_auxiliary`.
        Raises DenseError for a batch of one image in training mode: the coarsest pooling leaves one position, and a
        batch norm of one value is nothing.
        """
        require(not self.training or len(images) > 1, "a batch that trains UPerNet has two images or more", len(images))
        maps = self.backbone(images)
        logits = self._resized(self.decode_head(maps), images)
        if targets is None or not self.training:
            return logits
        auxiliary = self._resized(self.auxiliary_head(maps), images)
        return {
            "loss_decode": F.cross_entropy(logits, targets, ignore_index=IGNORED),
            "loss_auxiliary": AUXILIARY_WEIGHT * F.cross_entropy(auxiliary, targets, ignore_index=IGNORED),
        }

    @staticmethod
    def _resized(logits: Tensor, images: Tensor) -> Tensor:
        return F.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False)
