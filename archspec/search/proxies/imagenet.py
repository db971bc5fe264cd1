"""The paper's ImageNet accuracies of networks that it trained with one recipe, by the names of the zoo. No torch.

arXiv 2106.04263, Tables 4, 6, 8 to 13, at 224 pixels: 20 to 50 M parameters, AdamW, 300 to 400 epochs.
Left out: networks of other sizes and of other recipes (ResNet, HRNet, VOLO), whose spread is larger than the order.
A `*_nano` network stands for the one whose pattern it has.
"""

TOP1: dict[str, float] = {
    "swin_tiny": 81.3,
    "dw_conv_tiny": 81.3,
    "d_dw_conv_tiny": 81.9,
    "i_dynamic_tiny": 81.8,
    "static_swin_tiny": 80.3,
    "static_swin_tiny_shared": 80.3,
    "dw_conv_tiny_shared_channels": 81.1,
    "swin_tiny_se": 81.2,
    "dw_conv_tiny_se": 81.7,
    "swin_tiny_batch_norm": 80.9,
    "swin_tiny_ccbn": 81.2,
    "dw_conv_tiny_layer_norm": 81.2,
    "dw_conv_tiny_ccbn": 81.7,
    "dw_conv_tiny_extra_dw": 81.9,
    "dw_conv_tiny_extra_dw_se": 82.1,
    "svt_small": 81.7,
    "dw_conv_svt_small": 81.9,
    "pvt_small": 79.8,
    "deit_small": 79.8,
    "gmlp_small": 79.4,
    "resmlp_24": 79.4,
}
NANO: dict[str, str] = {
    "swin_nano": "swin_tiny",
    "dw_conv_nano": "dw_conv_tiny",
    "d_dw_conv_nano": "d_dw_conv_tiny",
    "i_dynamic_nano": "i_dynamic_tiny",
    "pvt_nano": "pvt_small",
    "gmlp_nano": "gmlp_small",
}


def top1(name: str) -> float | None:
    """Top-1 accuracy in 0..1 of a named network, or of the one that it stands for; None: not of this group."""
    found = TOP1.get(NANO.get(name, name))
    return None if found is None else found / 100
