"""timm's names of networks that mix tokens by windows, matrices or attention: Swin, Mixer, ResMLP, ViT and DeiT."""

from archspec.weights.names import Family

MODELS = {
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "swin_small": "swin_small_patch4_window7_224",
    "swin_base": "swin_base_patch4_window7_224",
    "mixer_b16": "mixer_b16_224",
    "mixer_l16": "mixer_l16_224",
    "resmlp_12": "resmlp_12_224",
    "resmlp_24": "resmlp_24_224",
    "resmlp_36": "resmlp_36_224",
    "deit_small": "deit_small_patch16_224",
    "deit_base": "deit_base_patch16_224",
    "vit_b16_384": "vit_base_patch16_384",
    "vit_l16_384": "vit_large_patch16_384",
}

FAMILIES = {
    "Swin": Family(
        marker="layers.0.blocks.0.attn.relative_position_bias_table",
        parts={
            "stem": "patch_embed.proj patch_embed.norm",
            "stages.*.downsample": "layers.{stage}.downsample: norm reduction",
            "stages.*.blocks.*": "layers.{stage}.blocks.{block}: "
            "norm1 attn.qkv attn.relative_position_bias_table attn.proj norm2 mlp.fc1 mlp.fc2",
            "head": "norm head.fc",
        },
        ignored=r".*\.(relative_position_index|attn_mask)",
    ),
    "Mixer": Family(
        marker="blocks.0.mlp_tokens.fc1.weight",
        parts={
            "stem": "stem.proj",
            "stages.*.blocks.*": "blocks.{block}: norm1 mlp_tokens.fc1 mlp_tokens.fc2 "
            "norm2 mlp_channels.fc1 mlp_channels.fc2",
            "head": "norm head",
        },
    ),
    "ResMLP": Family(
        marker="blocks.0.linear_tokens.weight",
        parts={
            "stem": "stem.proj",
            "stages.*.blocks.*": "blocks.{block}: norm1.alpha norm1.beta linear_tokens ls1 "
            "norm2.alpha norm2.beta mlp_channels.fc1 mlp_channels.fc2 ls2",
            "head": "norm.alpha norm.beta head",
        },
    ),
    "ViT or DeiT": Family(
        marker="cls_token",
        parts={
            "stem": "patch_embed.proj cls_token pos_embed",
            "stages.*.blocks.*": "blocks.{block}: norm1 attn.qkv attn.proj norm2 mlp.fc1 mlp.fc2",
            "head": "norm head",
        },
    ),
}
