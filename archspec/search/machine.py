"""What this machine is: versions and devices come out, as plain data for provenance and for `archspec doctor`."""

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from archspec.errors import StudyError

PACKAGES = ("archspec-nas", "torch", "timm", "optuna", "pydantic", "sqlalchemy", "numpy", "plotly")


def installed(package: str) -> str | None:
    """The version of a distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def chosen_device(asked: str) -> str:
    """`auto` is CUDA where there is one. Raises StudyError when CUDA is asked for and there is none."""
    import torch

    available = torch.cuda.is_available()
    if asked == "cuda" and not available:
        raise StudyError("device cuda is asked for, but torch finds no CUDA device here; use auto or cpu")
    return "cuda" if asked != "cpu" and available else "cpu"


DECIDES_TIMES = ("device", "accelerator", "processor", "threads")
"""The facts of an environment on which the speed of a network depends."""


def processor() -> str:
    """The model of the processor; the kind where Linux does not say which."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, Any]:
    """Versions and processor, without torch."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "processors": os.cpu_count(),
        "packages": {name: installed(name) for name in PACKAGES},
    }


def environment(device: str) -> dict[str, Any]:
    """Versions, processor, threads and accelerator: what a result needs beside its seed to be made again."""
    import torch

    facts = versions() | {"threads": torch.get_num_threads(), "device": device}
    if device == "cuda":
        facts["accelerator"] = torch.cuda.get_device_name()
    return facts


# Where Linux counts the processes that it killed for memory: of this container, else of this host.
_KILL_COUNTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control", "/proc/vmstat")


def kernel_kills() -> int:
    """How many processes the kernel has killed for memory so far; 0 where it does not say."""
    for path in _KILL_COUNTS:
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:
            continue
        found = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
        if found:
            return int(found[0])
    return 0


def process_place() -> str:
    """Where this process is: host, what the host calls itself since it booted, process and when that began."""
    return ", ".join((platform.node()[:60], _epoch_of_processes(), f"process {os.getpid()}", _begun(os.getpid())))


def is_gone(place: str) -> bool:
    """Whether the process of a `process_place` is known to have ended: one of this host that is no longer there.

    False where that cannot be known: of another host or container, and where there is no /proc.
    """
    parts = place.split(", ")
    if len(parts) != 4 or not parts[1] or parts[1] != _epoch_of_processes():
        return False
    return _begun(int(parts[2].removeprefix("process "))) != parts[3]


def is_running(process: int) -> bool:
    """Whether a process of this host has not ended."""
    return bool(_begun(process))


def name_process(name: str) -> None:
    """What `ps` and `top` call this process: at most 15 characters; nothing where there is no /proc."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def _epoch_of_processes() -> str:
    """What process numbers count in: this boot of this host, and this container of it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _begun(process: int) -> str:
    """When a process began, in ticks since the boot; empty when there is none (or only its exit code is left)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]  # fields 3 and 22 of proc(5), the name may hold spaces
