"""A spec goes in; its stage feature maps come out, for detection and segmentation: what a backbone is.

maps      program -> which maps there are (no torch)
backbone  plan -> the module that gives them
"""

from archspec.features.maps import FeatureMap as FeatureMap
from archspec.features.maps import feature_maps as feature_maps
