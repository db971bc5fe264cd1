"""timm's names of the later networks of attention and spatial gates: gMLP, DeiT at 384 px, Twins SVT and VOLO."""

from archspec.weights.names import Family

MODELS = {
    "gmlp_tiny": "gmlp_ti16_224",
    "gmlp_small": "gmlp_s16_224",
    "gmlp_base": "gmlp_b16_224",
    "deit_base_384": "deit_base_patch16_384",
    "svt_small": "twins_svt_small",
    "volo_d1": "volo_d1_224",
}

# Where attention reads a reduced map, query and key come from two modules and the reduction follows them.
_TWINS_BLOCK = (
    "blocks.{stage}.{block}: norm1 attn.qkv? attn.q+attn.kv? attn.sr? attn.norm? attn.proj norm2 mlp.fc1 mlp.fc2"
)

FAMILIES = {
    "gMLP": Family(
        marker="blocks.0.mlp_channels.gate.proj.weight",
        parts={
            "stem": "stem.proj",
            "stages.*.blocks.*": "blocks.{block}: "
            "norm mlp_channels.fc1 mlp_channels.gate.norm mlp_channels.gate.proj mlp_channels.fc2",
            "head": "norm head",
        },
    ),
    "Twins SVT": Family(
        marker="patch_embeds.0.proj.weight",
        parts={
            "stem": "patch_embeds.0: proj norm",
            "stages.*.downsample": "patch_embeds.{stage}: proj norm",
            "stages.*.blocks.0": (_TWINS_BLOCK, "pos_block.{stage}.proj"),
            "stages.*.blocks.*": _TWINS_BLOCK,
            "head": "norm head",
        },
    ),
    "VOLO": Family(
        marker="post_network.0.norm1.weight",
        parts={
            "stem": "patch_embed: conv proj",
            "stages.0.blocks.*": "network.0.{block}: norm1 attn.v attn.attn attn.proj norm2 mlp.fc1 mlp.fc2",
            "stages.1.downsample": "network.1.proj pos_embed",
            "stages.4.downsample": "cls_token",
            "stages.4.blocks.*": "post_network.{block}: norm1 attn.q+attn.kv attn.proj norm2 mlp.fc1 mlp.fc2",
            "stages.*.blocks.*": "network.{stage+1}.{block}: norm1 attn.qkv attn.proj norm2 mlp.fc1 mlp.fc2",
            "head": "norm head aux_head",
        },
    ),
}
