"""The weights of timm's and torchvision's networks in ours, and whether both networks are then the same.

names.py says how a family's table is written; mixing.py, convolutional.py and transformers.py hold the tables;
loading.py copies, comparison.py compares.
"""

from archspec.weights.comparison import LARGEST_DIFFERENCE, Comparison, reference_network, verify_against_timm
from archspec.weights.families import FAMILIES, TIMM_MODELS
from archspec.weights.loading import load_timm_weights
from archspec.weights.names import Family

__all__ = [
    "FAMILIES",
    "LARGEST_DIFFERENCE",
    "TIMM_MODELS",
    "Comparison",
    "Family",
    "load_timm_weights",
    "reference_network",
    "verify_against_timm",
]
