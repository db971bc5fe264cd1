"""A timm state dict goes in; the same weights are in our module, and both networks give the same outputs.

Our parameters were laid out so that loading is renaming: shapes differ by axes of length one at most. For each family a
table says, part by part, timm's names in the order of our table of parameters.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from archspec import ir
from archspec.compiler import build
from archspec.errors import Problem, SpecError, WeightsError, nearest
from archspec.module import Network
from archspec.resolve import resolve
from archspec.schema.load import load

LARGEST_DIFFERENCE = 1e-4
"""Of the largest magnitude: what float32 allows two orders of the same sums."""

TIMM_MODELS = {
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


def _both(*names: str) -> tuple[str, ...]:
    """The weight and the bias of each name."""
    return tuple(f"{name}.{part}" for name in names for part in ("weight", "bias"))


@dataclass(frozen=True)
class Family:
    """timm's names of one family. `marker` is a name that only its state dicts have, `ignored` what is no parameter."""

    marker: str
    stem: tuple[str, ...]
    block: tuple[str, ...]
    head: tuple[str, ...]
    block_prefix: str = "blocks.{block}."
    downsample: tuple[str, ...] = ()
    ignored: str = "$^"


FAMILIES = {
    "Swin": Family(
        marker="layers.0.blocks.0.attn.relative_position_bias_table",
        stem=_both("patch_embed.proj", "patch_embed.norm"),
        downsample=(*_both("layers.{stage}.downsample.norm"), "layers.{stage}.downsample.reduction.weight"),
        block_prefix="layers.{stage}.blocks.{block}.",
        block=(
            *_both("norm1", "attn.qkv"),
            "attn.relative_position_bias_table",
            *_both("attn.proj", "norm2", "mlp.fc1", "mlp.fc2"),
        ),
        head=_both("norm", "head.fc"),
        ignored=r".*\.(relative_position_index|attn_mask)",
    ),
    "Mixer": Family(
        marker="blocks.0.mlp_tokens.fc1.weight",
        stem=_both("stem.proj"),
        block=_both("norm1", "mlp_tokens.fc1", "mlp_tokens.fc2", "norm2", "mlp_channels.fc1", "mlp_channels.fc2"),
        head=_both("norm", "head"),
    ),
    "ResMLP": Family(
        marker="blocks.0.linear_tokens.weight",
        stem=_both("stem.proj"),
        block=(
            *("norm1.alpha", "norm1.beta", *_both("linear_tokens"), "ls1"),
            *("norm2.alpha", "norm2.beta", *_both("mlp_channels.fc1", "mlp_channels.fc2"), "ls2"),
        ),
        head=("norm.alpha", "norm.beta", *_both("head")),
    ),
    "ViT or DeiT": Family(
        marker="cls_token",
        stem=(*_both("patch_embed.proj"), "cls_token", "pos_embed"),
        block=_both("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"),
        head=_both("norm", "head"),
    ),
}


def load_timm_weights(module: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Copy the weights of timm's Swin, Mixer, ResMLP, DeiT or ViT of the same architecture into a compiled network.

    Raises:
        WeightsError: another family or architecture, a tensor missing, left over or of another shape. The module is
            then as it was.
    """
    if not isinstance(module, Network):
        raise WeightsError(f"weights load into a compiled network, found {type(module).__name__}")
    family = _family(state_dict)
    table = ir.parameter_table(module.program)
    pairs = dict(_pairs(family, table))
    missing = [name for name in pairs.values() if name not in state_dict]
    left = [name for name in state_dict if name not in set(pairs.values()) and not re.fullmatch(family.ignored, name)]
    if missing or left:
        raise WeightsError(
            f"timm's weights are of another architecture than {module.program.name}\n"
            f"    missing: {', '.join(missing[:3]) or 'none'}\n    left over: {', '.join(left[:3]) or 'none'}"
        )
    wrong = [
        f"{ours} {table[ours].shape} from {theirs} {tuple(state_dict[theirs].shape)}"
        for ours, theirs in pairs.items()
        if not _same_but_for_ones(table[ours].shape, tuple(state_dict[theirs].shape))
    ]
    if wrong:
        raise WeightsError(f"shapes differ ({len(wrong)} tensors), first: {'; '.join(wrong[:3])}")
    own = module.state_dict()
    with torch.no_grad():
        for ours, theirs in pairs.items():
            own[ours].copy_(state_dict[theirs].reshape(table[ours].shape))


def _family(state_dict: Mapping[str, Tensor]) -> Family:
    for family in FAMILIES.values():
        if family.marker in state_dict:
            return family
    raise WeightsError(f"not a state dict of timm's {', '.join(FAMILIES)}; first names: {list(state_dict)[:3]}")


def _same_but_for_ones(ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
    return [size for size in ours if size != 1] == [size for size in theirs if size != 1]


def _pairs(family: Family, table: Mapping[str, ir.Parameter]) -> Iterator[tuple[str, str]]:
    """Our names with timm's, part by part: the parts are read off our names, their order is the table's."""
    parts: dict[str, list[str]] = {}
    for name in table:
        found = re.match(r"(stages\.\d+\.(downsample|blocks\.\d+)|stem|head)\.", name)
        parts.setdefault(found.group(1) if found else name, []).append(name)
    for part, ours in parts.items():
        theirs = _their_names(family, part)
        if len(ours) != len(theirs):
            raise WeightsError(f"{part} has {len(ours)} parameters here and {len(theirs)} in timm's model")
        yield from zip(ours, theirs, strict=True)


def _their_names(family: Family, part: str) -> list[str]:
    if part in ("stem", "head"):
        return list(family.stem if part == "stem" else family.head)
    _, stage, *rest = part.split(".")
    if rest == ["downsample"]:
        return [name.format(stage=stage) for name in family.downsample]
    prefix = family.block_prefix.format(stage=stage, block=rest[-1])
    return [prefix + name for name in family.block]


# ------------------------------------------------------------------ is it the same network?


@dataclass(frozen=True)
class Comparison:
    """How far two networks with the same weights differ, relative to the largest magnitude."""

    name: str
    timm_model: str
    parameters: int
    output_difference: float
    gradient_difference: float

    @property
    def equal(self) -> bool:
        """Whether outputs and gradients with respect to the images agree as float32 can."""
        return max(self.output_difference, self.gradient_difference) <= LARGEST_DIFFERENCE


def verify_against_timm(name: str, seed: int = 0) -> Comparison:
    """Randomise timm's model, load its weights into ours, and compare outputs and gradients on random images.

    Raises SpecError for a network that timm has not, naming those that it has.
    """
    import timm

    if name not in TIMM_MODELS:
        rule = "timm has no such network; verify takes one of " + ", ".join(TIMM_MODELS)
        raise SpecError([Problem(rule, name, nearest=nearest(name, TIMM_MODELS))])
    ours = build(resolve(load(name)), seed=seed).eval()
    theirs = timm.create_model(TIMM_MODELS[name]).eval()
    generator = torch.Generator().manual_seed(seed)
    _randomise(theirs, generator)
    load_timm_weights(ours, theirs.state_dict())
    image = ours.program.image
    images = torch.randn(2, image.channels, image.height, image.width, generator=generator)
    outputs, gradients = zip(*(_answer(each, images, seed) for each in (ours, theirs)), strict=True)
    count = sum(parameter.numel() for parameter in ours.parameters())
    return Comparison(name, TIMM_MODELS[name], count, _difference(*outputs), _difference(*gradients))


def _randomise(module: nn.Module, generator: torch.Generator) -> None:
    """No parameter stays zero or tiny: biases, relative biases, layer scales and heads must all show in the output."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            deviation = 0.5 if "relative_position" in name or re.search(r"ls\d$", name) else 0.02
            parameter.add_(deviation * torch.randn(parameter.shape, generator=generator))


def _answer(module: nn.Module, images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    images = images.clone().requires_grad_()
    logits = module(images)
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed + 1))
    (gradient,) = torch.autograd.grad((logits * direction).sum(), images)
    return logits.detach(), gradient


def _difference(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()
