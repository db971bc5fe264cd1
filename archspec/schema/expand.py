"""Shorthands go in (linear, mlp, patch, merge); the layers that they stand for come out, all three axes written."""

from archspec.schema.axes import Connectivity, Sharing, Sliding, SlidingOptions
from archspec.schema.layer import ConnectLayer, HiddenSize
from archspec.schema.nesting import with_inner
from archspec.schema.network import Downsample, MergeDownsample, Network, PatchStem, Stage, Stem
from archspec.schema.simple import (
    ClassToken,
    Connect,
    Gather,
    Linear,
    LinearLayer,
    Mlp,
    MlpLayer,
    Norm,
    Normalise,
    PositionEmbedding,
)
from archspec.schema.steps import Step

_POINTWISE = Connectivity(space="point", channels="full")
_EVERYWHERE = Sharing(positions="offsets")


def expand_layer(step: Step) -> Step:
    """`linear` and `mlp` as the connection layers that they are; any other step as it stands."""
    if isinstance(step, Linear):
        return Connect(connect=expand_linear(step.linear))
    if isinstance(step, Mlp):
        return Connect(connect=_mlp(step.mlp))
    return step


def expand_steps(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Every `linear` and `mlp` of a list as the connection layer that it is, inside other steps too."""
    return tuple(with_inner(expand_layer(step), expand_steps) for step in steps)


def expand_linear(layer: LinearLayer) -> ConnectLayer:
    """A 1x1 convolution: every position reads itself, in all channels, with the same weights everywhere."""
    return ConnectLayer(
        connectivity=_POINTWISE,
        sharing=_EVERYWHERE,
        weights="static",
        width=layer.width,
        bias=layer.bias,
        init=layer.init,
    )


def _mlp(layer: MlpLayer) -> ConnectLayer:
    return ConnectLayer(
        connectivity=_POINTWISE,
        sharing=_EVERYWHERE,
        weights="static",
        bias=layer.bias,
        rank=HiddenSize(ratio=layer.ratio, act=layer.act),
        init=layer.init,
    )


def _norm(norm: Norm | None) -> tuple[Step, ...]:
    return () if norm is None else (Normalise(norm=norm),)


def expand_stem(stem: Stem | None) -> tuple[Step, ...]:
    """Patch embedding is a convolution whose windows do not overlap: size = stride."""
    if not isinstance(stem, PatchStem):
        return stem or ()
    space = Sliding(sliding=SlidingOptions(size=stem.patch, stride=stem.patch, padding="end"))
    patches = ConnectLayer(
        connectivity=Connectivity(space=space, channels="full"),
        sharing=_EVERYWHERE,
        weights="static",
        width="stage",
        bias=stem.bias,
        init=stem.init,
    )
    tokens: tuple[Step, ...] = (ClassToken(class_token=True),) if stem.class_token else ()
    if stem.position_embedding:
        tokens += (PositionEmbedding(position_embedding=True),)
    return (Connect(connect=patches), *_norm(stem.norm), *tokens)


def expand_downsample(downsample: Downsample) -> tuple[Step, ...]:
    """Patch merging concatenates patches, normalises, and projects to the width of the next stage."""
    if not isinstance(downsample, MergeDownsample):
        return downsample
    linear = Linear(linear=LinearLayer(width="stage", bias=downsample.bias, init=downsample.init))
    return (Gather(gather=downsample.merge), *_norm(downsample.norm), linear)


def expand(network: Network) -> Network:
    """The same network with every shorthand written out; named blocks stay under their names."""
    update: dict[str, object] = {
        "stages": tuple(_expand_stage(stage) for stage in network.stages),
        "blocks": {name: expand_steps(block) for name, block in network.blocks.items()},
    }
    if network.stem:
        update["stem"] = expand_steps(expand_stem(network.stem))
    if network.downsample:
        update["downsample"] = expand_steps(expand_downsample(network.downsample))
    if network.head.steps:
        update["head"] = network.head.model_copy(update={"steps": expand_steps(network.head.steps)})
    return network.model_copy(update=update)


def _expand_stage(stage: Stage) -> Stage:
    if stage.downsample is None:
        return stage
    return stage.model_copy(update={"downsample": expand_steps(expand_downsample(stage.downsample))})
