"""Which families of networks there are: the tables of all files of this package in one."""

from collections.abc import Mapping

from archspec.weights import convolutional, mixing, transformers
from archspec.weights.names import Family

# The first family whose marker is there is taken: a class token alone says no more than ViT, so that comes last.
FAMILIES: Mapping[str, Family] = {**transformers.FAMILIES, **convolutional.FAMILIES, **mixing.FAMILIES}

TIMM_MODELS: Mapping[str, str] = {**mixing.MODELS, **transformers.MODELS, **convolutional.MODELS}
"""The reference of a named network: a name of timm's, or of torchvision's after `torchvision:`."""
