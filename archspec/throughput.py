"""Names of networks go in; images per second, forward and forward+backward, measured in turns in one run, come out."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from archspec.api import compile as compile_spec
from archspec.api import program_of


@dataclass(frozen=True)
class Throughput:
    """Images per second (medians over rounds) and ratios to the first network (medians of each round's ratio)."""

    name: str
    forward: float
    training: float
    forward_ratio: float
    training_ratio: float


@dataclass(frozen=True)
class Contender:
    """A module and the images that it is timed on."""

    name: str
    module: nn.Module
    images: Tensor


def contender(spec: str, batch: int, device: str) -> Contender:
    """A compiled network with random images of its own size."""
    program = program_of(spec)
    module = compile_spec(program, seed=0).to(device)
    generator = torch.Generator().manual_seed(0)
    shape = (batch, program.image.channels, program.image.height, program.image.width)
    images = torch.randn(shape, generator=generator).to(device, memory_format=torch.channels_last)
    return Contender(program.name, module, images)


def measure(names: Sequence[str], batch: int, rounds: int, device: str) -> list[Throughput]:
    """Time networks in turns, so that a noisy machine is noisy for all of them alike."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return compare([contender(name, batch, device) for name in names], rounds)


def compare(contenders: Sequence[Contender], rounds: int) -> list[Throughput]:
    """Time contenders in turns; the first round warms up and is not counted."""
    forward: list[list[float]] = [[] for _ in contenders]
    training: list[list[float]] = [[] for _ in contenders]
    for turn in range(rounds + 1):
        for index, each in enumerate(contenders):
            seconds = _timed(each, _forward), _timed(each, _training_step)
            if turn:
                forward[index].append(len(each.images) / seconds[0])
                training[index].append(len(each.images) / seconds[1])
    return [
        Throughput(
            each.name,
            statistics.median(forward[index]),
            statistics.median(training[index]),
            _ratio(forward[index], forward[0]),
            _ratio(training[index], training[0]),
        )
        for index, each in enumerate(contenders)
    ]


def _ratio(ours: list[float], first: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, first, strict=True))


def _timed(each: Contender, run: Callable[[Contender], None]) -> float:
    started = time.perf_counter()
    run(each)
    if each.images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _forward(each: Contender) -> None:
    each.module.eval()
    with torch.inference_mode():
        each.module(each.images)


def _training_step(each: Contender) -> None:
    each.module.train()
    each.module(each.images).square().mean().backward()
    each.module.zero_grad(set_to_none=True)
