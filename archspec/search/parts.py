"""One evaluation of a table in progress goes in; a part file beside the table comes out, whole or not there."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def alone(lock: Path) -> Iterator[bool]:
    """Whether this process has the file; the lock goes with the process."""
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
        lock.unlink(missing_ok=True)


def write_part(file: Path, content: dict[str, Any]) -> None:
    """Write a part so that it is whole or not there, also when the process or the machine dies."""
    temporary = file.with_suffix(f".{os.getpid()}.partial")
    file.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("w") as handle:
        json.dump(content, handle, default=str)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, file)


def read_parts(folder: Path) -> Iterator[dict[str, Any]]:
    """All parts there are, by name."""
    for file in sorted(folder.glob("*-*.json")):
        yield json.loads(file.read_text())
