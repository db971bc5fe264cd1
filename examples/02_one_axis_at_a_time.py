"""The same network with one axis changed at a time: what changes in meaning, and what it costs."""

import archspec
from archspec.schema.load import network_from
from archspec.schema.source import read_text

TEMPLATE = """
archspec: 1
name: one_axis
input: {{size: 32}}
classes: 10
stem: {{patch: 4}}
stages: [{{width: 64, depth: 2, block: mix}}]
head: {{norm: layer}}
blocks:
  mix:
    - residual:
        - norm: layer
        - connect:
            connectivity: {{space: {space}, channels: {channels}}}
            sharing: {{positions: {positions}, channels: {shared}}}
            weights: {weights}
"""
LAYERS = {
    "convolution": ("{sliding: 3}", "full", "offsets", "none", "static"),
    "grouped convolution": ("{sliding: 3}", "{groups: 8}", "offsets", "none", "static"),
    "depth-wise convolution": ("{sliding: 3}", "separate", "offsets", "none", "static"),
    "dynamic depth-wise": ("{sliding: 3}", "separate", "offsets", "none", "pooled"),
    "inhomogeneous dynamic": ("{sliding: 3}", "separate", "none", "{groups: 8}", "local"),
    "static local": ("{window: 4}", "separate", "windows", "{groups: 8}", "static"),
    "local attention": ("{window: 4}", "separate", "none", "{groups: 8}", "attention"),
    "attention": ("full", "separate", "none", "{groups: 8}", "attention"),
    "token mixing": ("full", "separate", "none", "all", "static"),
}

for name, (space, channels, positions, shared, weights) in LAYERS.items():
    text = TEMPLATE.format(space=space, channels=channels, positions=positions, shared=shared, weights=weights)
    network = network_from(read_text(text, name))
    cost = archspec.cost(network)
    print(f"{name:<24} {cost.params:>8,} parameters {cost.macs:>10,} macs   digest {archspec.digest(network)[:8]}")
