"""timm's and torchvision's names of convolutional networks: residual, multi-scale, separable and shuffled ones."""

from archspec.weights.names import Family

MODELS = {
    "resnet_50": "resnet50",
    "resnet_101": "resnet101",
    "resnet_152": "resnet152",
    "resnext_50": "resnext50_32x4d",
    "se_resnet_50": "seresnet50",
    "res2net_50": "res2net50_26w_4s",
    "hrnet_w18": "hrnet_w18",
    "hrnet_w32": "hrnet_w32",
    "hrnet_w48": "hrnet_w48",
    "mobilenet_v1": "mobilenetv1_100",
    "mobilenet_v2": "mobilenetv2_100",
    "efficientnet_b0": "efficientnet_b0",
    "xception": "legacy_xception",
    "shufflenet_v2": "torchvision:shufflenet_v2_x1_0",
}

_BOTTLENECK = "conv1 bn1 conv2 bn2 conv3 bn3 se.fc1? se.fc2? downsample.0? downsample.1?"
_SEPARABLE = "conv_dw bn1 se.conv_reduce? se.conv_expand? conv_pw bn2"
_INVERTED = "conv_pw bn1 conv_dw bn2 se.conv_reduce? se.conv_expand? conv_pwl bn3"

FAMILIES = {
    "HRNet": Family(
        marker="transition1.0.0.weight",
        parts={
            "stem": "conv1 bn1 conv2 bn2",
            "stages.0.blocks.*": f"layer1.{{block}}: {_BOTTLENECK}",
            "stages.4.blocks.0": f"incre_modules.*.*: {_BOTTLENECK}",
            "stages.*.downsample": "transition{stage}",
            "stages.*.blocks.*": (
                "stage{stage+1}.{block}.branches.*.*: conv1 bn1 conv2 bn2",
                "stage{stage+1}.{block}.fuse_layers",
            ),
            "head": "downsamp_modules final_layer classifier",
        },
    ),
    "Res2Net": Family(
        marker="layer1.0.convs.0.weight",
        parts={
            "stem": "conv1 bn1",
            "stages.*.blocks.*": "layer{stage+1}.{block}: conv1 bn1 convs.0 bns.0 convs.1 bns.1 convs.2 bns.2 "
            "conv3 bn3 downsample.0? downsample.1?",
            "head": "fc",
        },
    ),
    "ResNet, ResNeXt or SE-ResNet": Family(
        marker="layer1.0.conv3.weight",
        parts={
            "stem": "conv1 bn1",
            "stages.*.blocks.*": f"layer{{stage+1}}.{{block}}: {_BOTTLENECK}",
            "head": "fc",
        },
    ),
    "MobileNetV2 or EfficientNet": Family(
        marker="blocks.1.0.conv_pwl.weight",
        parts={
            "stem": "conv_stem bn1",
            "stages.0.blocks.*": f"blocks.{{stage}}.{{block}}: {_SEPARABLE}",
            "stages.*.blocks.*": f"blocks.{{stage}}.{{block}}: {_INVERTED}",
            "head": "conv_head bn2 classifier",
        },
    ),
    "MobileNetV1": Family(
        marker="blocks.0.0.conv_dw.weight",
        parts={
            "stem": "conv_stem bn1",
            "stages.*.blocks.*": f"blocks.{{stage}}.{{block}}: {_SEPARABLE}",
            "head": "classifier",
        },
    ),
    "Xception": Family(
        marker="block1.rep.0.conv1.weight",
        parts={
            "stem": "conv1 bn1 conv2 bn2",
            "stages.*.blocks.*": ("block{number+1}.rep.*: conv1? pointwise? .?", "block{number+1}: skip? skipbn?"),
            "head": "conv3.conv1 conv3.pointwise bn3 conv4.conv1 conv4.pointwise bn4 fc",
        },
    ),
    "ShuffleNetV2": Family(
        marker="stage2.0.branch1.0.weight",
        parts={
            "stem": "conv1",
            "stages.*.blocks.*": "stage{stage+2}.{block}: branch1? branch2",
            "head": "conv5 fc",
        },
    ),
}
