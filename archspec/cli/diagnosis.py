"""Nothing goes in; findings about this environment come out: versions, devices, data, storage, the name clash."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from archspec.cli import clash
from archspec.errors import ArchspecError
from archspec.search.machine import PACKAGES, installed

ENOUGH_SPACE_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `broken` stops work, `note` is worth knowing."""

    what: str
    state: Literal["good", "note", "broken"]
    found: str


def diagnose() -> list[Finding]:
    """Look at everything; a look that fails is a finding, not an error."""
    findings = []
    for what, look in LOOKS:
        try:
            findings.append(Finding(what, *look()))
        except (ArchspecError, ImportError, OSError, RuntimeError) as error:
            findings.append(Finding(what, "broken", f"{type(error).__name__}: {error}"))
    return findings


Look = Callable[[], tuple[Literal["good", "note", "broken"], str]]


def _versions() -> tuple[Literal["good", "broken"], str]:
    found = {name: installed(name) for name in PACKAGES}
    missing = [name for name, version in found.items() if version is None and name != "archspec-nas"]
    text = ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())
    return ("broken" if missing else "good"), text


def _torch() -> tuple[Literal["good", "note"], str]:
    import torch

    if torch.cuda.is_available():
        return "good", f"CUDA: {torch.cuda.get_device_name()}"
    return "note", f"no CUDA device; CPU with {torch.get_num_threads()} threads"


def _timm() -> tuple[Literal["good"], str]:
    # On machines with a CPU build of torch, torchvision (and with it timm) may fail to import.
    import timm

    return "good", f"timm {timm.__version__} imports"


def _data() -> tuple[Literal["good", "note"], str]:
    from archspec.search.data.cache import cache_folder

    folder = cache_folder()
    state: Literal["good", "note"] = "good" if os.access(_existing(folder), os.W_OK) else "note"
    return state, f"fractal and relation are embedded; decoded images are kept in {folder}"


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def _storage() -> tuple[Literal["good"], str]:
    from archspec.results.store import Store

    with tempfile.TemporaryDirectory() as folder:
        Store.open(f"sqlite:///{folder}/probe.db", create=True).close()
    postgresql = installed("psycopg")
    return "good", f"SQLite works; PostgreSQL driver psycopg {postgresql or 'missing'}"


def _disk() -> tuple[Literal["good", "note"], str]:
    free = shutil.disk_usage(".").free
    return ("good" if free > ENOUGH_SPACE_BYTES else "note"), f"{free / 1e9:.0f} GB free here"


def _name() -> tuple[Literal["good", "broken"], str]:
    return ("broken", "the other `archspec` is installed too") if clash() else ("good", "only archspec-nas is here")


LOOKS: tuple[tuple[str, Look], ...] = (
    ("versions", _versions),
    ("device", _torch),
    ("timm", _timm),
    ("data", _data),
    ("storage", _storage),
    ("disk", _disk),
    ("name", _name),
)
