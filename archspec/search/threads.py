"""A network and a batch go in; the number of CPU threads that trains it fastest here, now, comes out.

More threads are not always faster: on shared cores a small network can train ten times slower on two threads than on
one, because each waits for the other at every operation. So it is measured, once per study.
"""

import os
import statistics
import time

from archspec.ir import Program

WARM_UP_STEPS, TIMED_STEPS = 2, 5


def processors_here() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fastest_threads(program: Program, batch: int, processors: int) -> int:
    """1 or `processors`, whichever trains faster; leaves torch's setting as it found it."""
    import torch

    before = torch.get_num_threads()
    try:
        seconds = {count: _seconds(program, batch, count) for count in sorted({1, processors})}
    finally:
        torch.set_num_threads(before)
    return min(seconds, key=seconds.__getitem__)


def _seconds(program: Program, batch: int, threads: int) -> float:
    import torch
    from torch.nn import functional as F

    from archspec.compiler import build

    torch.set_num_threads(threads)
    image = program.image
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build(program, seed=0).train()
        images = torch.randn(batch, image.channels, image.height, image.width)
        labels = torch.randint(program.classes, (batch,))
    seconds = []
    for step in range(WARM_UP_STEPS + TIMED_STEPS):
        started = time.perf_counter()
        F.cross_entropy(module(images), labels).backward()
        if step >= WARM_UP_STEPS:
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
