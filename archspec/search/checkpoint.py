"""The state of a run in, a file that a crash cannot tear out; and back.

A file is a line of magic, a line with the SHA-256 of the rest, and the rest: a `torch.save` of tensors and
plain values. The one before is kept beside it (`.previous`) and is read when the newest is damaged.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from archspec.search.failure import TrainingFailed
from archspec.search.learning_curve import EpochResult
from archspec.search.optimisation import Optimisation
from archspec.search.recipe import Recipe

MAGIC = b"archspec checkpoint 1\n"

_LOG = logging.getLogger(__name__)


def previous(path: Path) -> Path:
    """Where the checkpoint before the newest lies."""
    return path.with_name(path.name + ".previous")


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state so that, whenever the process dies, the newest whole one can be read.

    Raises:
        TrainingFailed: the file cannot be written (cause `error`).
    """
    buffer = BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    temporary = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as handle:
            handle.write(MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n")
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        if path.exists():
            os.replace(path, previous(path))
        os.replace(temporary, path)
    except OSError as error:
        # On a full disk half a file is in the way of everything else.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise TrainingFailed(f"the checkpoint {path} cannot be written: {error}", "error") from error


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """The newest whole state, on the CPU; None if there is none. A damaged file is passed over, with a log
    entry.
    """
    for candidate in (path, previous(path)):
        try:
            return _read(candidate)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RuntimeError, EOFError, UnpicklingError) as error:
            _LOG.warning("the checkpoint %s is damaged and is passed over: %s", candidate, error)
    return None


def remove_checkpoint(path: Path) -> None:
    """Remove all files of a checkpoint, also of one that is not there."""
    for file in (path, previous(path), path.with_name(f".{path.name}.partial")):
        file.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    head, digest, rest = (
        content[: len(MAGIC)],
        content[len(MAGIC) : len(MAGIC) + 64],
        content[len(MAGIC) + 65 :],
    )
    if head != MAGIC:
        raise ValueError("not a checkpoint of this version")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        raise ValueError("the checksum does not match")
    state: dict[str, Any] = torch.load(BytesIO(rest), map_location="cpu", weights_only=True)
    return state


class RunCheckpoint:
    """The checkpoint of one run: of a module, a recipe, a seed and data, and of nothing else."""

    def __init__(
        self,
        path: Path,
        module: torch.nn.Module,
        recipe: Recipe,
        seed: int,
        data_digest: str,
        identity: str,
        earlier: Sequence[Path] = (),
        on_unsaved: Callable[[TrainingFailed], None] | None = None,
    ) -> None:
        self._path, self._earlier, self._on_unsaved = path, earlier, on_unsaved
        shapes = [(name, list(value.shape)) for name, value in module.state_dict().items()]
        facts: dict[str, Any] = {f"recipe.{key}": value for key, value in recipe.fingerprint.items()}
        facts |= {"seed": seed, "data": data_digest, "identity": identity}
        facts |= {"parameters": hashlib.sha256(json.dumps(shapes).encode()).hexdigest()}
        self._facts = json.dumps(facts, sort_keys=True)

    def save(self, history: list[EpochResult], optimisation: Optimisation) -> None:
        """Write the learning curve so far and everything that the next step depends on.

        Raises:
            TrainingFailed: the file cannot be written (cause `error`), and nobody is to be told instead.
        """
        curve = [asdict(result) for result in history]
        try:
            write_checkpoint(self._path, {"facts": self._facts, "history": curve} | optimisation.state())
        except TrainingFailed as error:
            if self._on_unsaved is None:
                raise
            self._on_unsaved(error)
            return
        for path in self._earlier:
            remove_checkpoint(path)

    def read(self) -> tuple[list[EpochResult], dict[str, Any]]:
        """The learning curve so far, and the state for `Optimisation.restore`; both empty without a checkpoint.

        Raises:
            TrainingFailed: the checkpoint is of another run (cause `error`).
        """
        found = (read_checkpoint(path) for path in (self._path, *self._earlier))
        state = next((each for each in found if each is not None), None)
        if state is None:
            return [], {}
        if state["facts"] != self._facts:
            then, now = json.loads(state["facts"]), json.loads(self._facts)
            differing = [f"{key} ({then.get(key)} then, {now[key]} now)" for key in now if then.get(key) != now[key]]
            raise TrainingFailed(f"the checkpoint {self._path} is of another run: {'; '.join(differing)}", "error")
        return [EpochResult(**result) for result in state["history"]], state
