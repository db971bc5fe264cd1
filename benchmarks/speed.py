"""Speed of the named networks beside timm's models and beside each other: ratios, measured in turns in one run.

    python benchmarks/speed.py            # batch 4, 224 px, all cores; about 6 minutes on two cores
    python benchmarks/speed.py --quick    # two rounds; a look, not a measurement

Each group is run in turns, so that a noisy machine is noisy for all of it alike; a ratio is the median over rounds of
the ratio within a round. Trust ratios of one run, never a single time.
"""

import argparse

import timm
import torch

from archspec.cli.output import print_table
from archspec.throughput import Contender, compare, contender
from archspec.weights import TIMM_MODELS

# (the measure, the network, least ratio forward, least ratio forward + backward)
GOALS = (
    ("timm swin_tiny", "swin_tiny", 1.0, 1.0),
    ("timm mixer_b16", "mixer_b16", 1.0, 1.0),
    ("timm deit_small", "deit_small", 1.0, 1.0),
    ("swin_tiny", "dw_conv_tiny", 1.25, 1.25),
    ("dw_conv_tiny", "d_dw_conv_tiny", 0.9, 0.9),
    ("dw_conv_tiny", "i_dynamic_tiny", 0.6, 0.6),
)
GROUPS = (
    ("timm swin_tiny", "swin_tiny", "dw_conv_tiny", "d_dw_conv_tiny", "i_dynamic_tiny"),
    ("timm mixer_b16", "mixer_b16"),
    ("timm deit_small", "deit_small"),
)


def made(name: str, batch: int) -> Contender:
    """`timm NAME` is timm's model of our network NAME, as its users run it: images in torch's own format."""
    if not name.startswith("timm "):
        return contender(name, batch, "cpu")
    module = timm.create_model(TIMM_MODELS[name.removeprefix("timm ")])
    images = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    return Contender(name, module, images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--batch", type=int, default=4)
    arguments = parser.parse_args()
    found = {}
    for group in GROUPS:
        rows = compare([made(name, arguments.batch) for name in group], rounds=2 if arguments.quick else 9)
        found |= {row.name: row for row in rows}
        print_table(
            ("network", "forward img/s", "forward+backward img/s", f"forward / {group[0]}", "both / it"),
            [[r.name, r.forward, r.training, r.forward_ratio, r.training_ratio] for r in rows],
        )
        print()
    rows = []
    for measure, name, forward, training in GOALS:
        ratios = (
            found[name].forward_ratio / found[measure].forward_ratio,
            found[name].training_ratio / found[measure].training_ratio,
        )
        met = ratios[0] >= forward and ratios[1] >= training
        rows.append([f"{name} / {measure}", ratios[0], forward, ratios[1], training, met])
    print_table(("ratio", "forward", "goal", "forward+backward", "goal", "met"), rows)


if __name__ == "__main__":
    main()
