"""Shorthands go in (linear, mlp, patch, merge); the layers that they stand for come out, all three axes written."""

from archspec.schema.axes import Connectivity, Sharing, Sliding, SlidingOptions
from archspec.schema.network import Downsample, MergeDownsample, Network, PatchStem, Stage, Stem
from archspec.schema.steps import (
    Block,
    Branch,
    ClassToken,
    Connect,
    ConnectLayer,
    Gather,
    HiddenSize,
    Linear,
    LinearLayer,
    Mlp,
    MlpLayer,
    Norm,
    Normalise,
    PositionEmbedding,
    Residual,
    Sequence,
    Step,
)

_POINTWISE = Connectivity(space="point", channels="full")
_EVERYWHERE = Sharing(positions="offsets")


def expand_step(step: Step) -> Step:
    """`linear` and `mlp` as the connection layers that they are; any other step as it stands."""
    if isinstance(step, Linear):
        return Connect(connect=expand_linear(step.linear))
    if isinstance(step, Mlp):
        return Connect(connect=_mlp(step.mlp))
    return step


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


def expand_stem(stem: Stem) -> tuple[Step, ...]:
    """Patch embedding is a convolution whose windows do not overlap: size = stride."""
    if not isinstance(stem, PatchStem):
        return stem
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
    """The same network with every shorthand written out."""
    stages = tuple(_expand_stage(stage) for stage in network.stages)
    blocks = {name: _expand_block(block) for name, block in network.blocks.items()}
    downsample = _expand_steps(expand_downsample(network.downsample)) if network.downsample else None
    update = {
        "stem": _expand_steps(expand_stem(network.stem)),
        "downsample": downsample,
        "stages": stages,
        "blocks": blocks,
    }
    return network.model_copy(update=update)


def _expand_stage(stage: Stage) -> Stage:
    if stage.downsample is None:
        return stage
    return stage.model_copy(update={"downsample": _expand_steps(expand_downsample(stage.downsample))})


def _expand_block(block: Block) -> Block:
    return tuple(_expand_branch(branch) for branch in block)


def _expand_branch(branch: Branch) -> Branch:
    if isinstance(branch, Residual):
        return Residual(residual=_expand_steps(branch.residual))
    return Sequence(sequence=_expand_steps(branch.sequence))


def _expand_steps(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(expand_step(step) for step in steps)
