"""Compile and time the named networks beside timm's; a table of ratios, each with what it must reach, comes out.

    python benchmarks/speed.py                 every claim, nine rounds
    python benchmarks/speed.py --quick         three rounds instead of nine
    python benchmarks/speed.py hrnet_w18       only what is claimed of this network

Every named network that timm (or torchvision) has too stands beside its own. Networks that are compared run in turns
in one process, so a noisy machine is noisy for both; a ratio is the median over rounds of the ratio within a round.
Batch 4, the network's own image size, float32, as many threads as torch takes by itself. timm's networks drop paths as
often as ours do. It exits with 1 if a ratio is below what it must reach.
"""

import argparse
import sys
import time
from dataclasses import dataclass

import timm
import torch

from archspec.api import compile as compile_spec
from archspec.api import program_of
from archspec.ir import DropPath, walk
from archspec.throughput import Contender, compare, contender
from archspec.weights import TIMM_MODELS, reference_network

BATCH, ROUNDS, QUICK_ROUNDS = 4, 9, 3


@dataclass(frozen=True)
class Claim:
    """That `name` is at least `least` times as fast as `other` (timm's own network where that is `timm`)."""

    name: str
    other: str
    least: float


AT_LEAST = 0.9
"""What any named network must reach of timm's; some are held to more."""
OF_TIMM = {name: AT_LEAST for name in sorted(TIMM_MODELS)} | {"swin_tiny": 1.0, "mixer_b16": 1.0, "deit_small": 1.0}
CLAIMS: tuple[Claim, ...] = (
    *(Claim(name, "timm", least) for name, least in OF_TIMM.items()),
    Claim("dw_conv_tiny", "swin_tiny", 1.25),
    Claim("d_dw_conv_tiny", "dw_conv_tiny", 0.9),
    Claim("i_dynamic_tiny", "dw_conv_tiny", 0.6),
)
LONGEST_COMPILATION = 2.0  # seconds, for swin_tiny


def timm_contender(name: str) -> Contender:
    """timm's or torchvision's network, with our rate of drop path and images of the same size."""
    program = program_of(name)
    rates = [op.rate for op in walk(program.ops) if isinstance(op, DropPath)]
    module = reference_network(name, **({"drop_path_rate": max(rates)} if rates else {}))
    shape = (BATCH, program.image.channels, program.image.height, program.image.width)
    return Contender(f"timm's {name}", module, torch.randn(shape, generator=torch.Generator().manual_seed(0)))


def check(claim: Claim, rounds: int) -> bool:
    """Measure one claim and print its row."""
    other = timm_contender(claim.name) if claim.other == "timm" else contender(claim.other, BATCH, "cpu")
    first, second = compare([other, contender(claim.name, BATCH, "cpu")], rounds)
    ratios = second.forward_ratio, second.training_ratio
    met = min(ratios) >= claim.least
    speeds = f"{second.forward:8.1f} {second.training:8.1f}   {first.forward:8.1f} {first.training:8.1f}"
    row = f"{claim.name:16} / {first.name:18} {speeds}   {ratios[0]:8.3f} {ratios[1]:8.3f}"
    print(f"{row}   >= {claim.least:.2f} {'met' if met else 'MISSED'}", flush=True)
    return met


def compilation() -> bool:
    """Time the compilation of swin_tiny, with torch imported and used."""
    started = time.perf_counter()
    compile_spec("swin_tiny", seed=0)
    seconds = time.perf_counter() - started
    met = seconds <= LONGEST_COMPILATION
    print(f"compile swin_tiny: {seconds:.2f} s   <= {LONGEST_COMPILATION} {'met' if met else 'MISSED'}", flush=True)
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds instead of {ROUNDS}")
    parser.add_argument("names", nargs="*", help="only the claims about these networks")
    options = parser.parse_args()
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    print(f"torch {torch.__version__}, timm {timm.__version__}, {torch.get_num_threads()} threads, {rounds} rounds")
    met = [compilation()]
    print(f"{'images/s':45} forward training    forward training    ratio of forward, training")
    met += [check(claim, rounds) for claim in CLAIMS if not options.names or claim.name in options.names]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
