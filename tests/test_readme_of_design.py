"""The design page's own words: its named network and its axis value are added to a copy of the package, and run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "archspec" / "README.md").read_text()
BLOCK = re.compile(r"<!-- (file|edit|run)(?:: (.*?))? -->\n```\w+\n(.*?)```", re.S)
EDIT = re.compile(r"(\S+), (after|before|in place of): (.*)")


def edit(root: Path, what: str, code: str) -> None:
    """Put code before, after or in place of the one line that the page names."""
    found = EDIT.fullmatch(what)
    assert found, f"not an edit: {what}"
    path, where, anchor = found.groups()
    lines = (root / path).read_text().splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if line.strip() == anchor]
    assert places, f"{path} has no line {anchor!r}"
    start = places[0] + (where == "after")
    lines[start : start + (where == "in place of")] = [code]
    (root / path).write_text("".join(lines))


def test_the_named_network_and_the_axis_value_of_the_page_work(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "archspec", tmp_path / "archspec", ignore=shutil.ignore_patterns("__pycache__"))
    blocks = [match.groups() for match in BLOCK.finditer(PAGE)]
    assert [kind for kind, _, _ in blocks].count("run") == 1
    for kind, what, code in blocks:
        if kind == "file":
            (tmp_path / what).write_text(code)
        elif kind == "edit":
            edit(tmp_path, what, code)
    script = next(code for kind, _, code in blocks if kind == "run")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    assert "column | channels separate" in ran.stdout
    assert "multiply-adds: 700" in ran.stdout
    assert "Cost(params=" in ran.stdout


def test_without_its_kernel_the_axis_value_is_refused(tmp_path: Path) -> None:
    """The example proves something only if leaving a part out breaks it."""
    shutil.copytree(ROOT / "archspec", tmp_path / "archspec", ignore=shutil.ignore_patterns("__pycache__"))
    for match in BLOCK.finditer(PAGE):
        kind, what, code = match.groups()
        if kind == "edit" and "rules.py" not in what:
            edit(tmp_path, what, code)
        elif kind == "run":
            script = code
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert "no kernel accepts this connection" in ran.stderr
