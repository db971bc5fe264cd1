"""What this machine is: versions and devices come out, as plain data for provenance and for `archspec doctor`."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
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


def environment(device: str) -> dict[str, Any]:
    """Versions, processor, threads and accelerator: what a result needs beside its seed to be made again."""
    import torch

    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
        "packages": {name: installed(name) for name in PACKAGES},
    }
    if device == "cuda":
        facts["accelerator"] = torch.cuda.get_device_name()
    return facts
