"""Every file that archspec ships is read, resolved and run: spaces, studies, examples, the YAML of the README."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from archspec.schema.source import read_text
from archspec.search.files import check_file
from archspec.search.space import SearchSpace, count, load_space, named_points
from archspec.search.study import load_study

ROOT = Path(__file__).parent.parent
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NANO = {"swin_nano", "dw_conv_nano", "d_dw_conv_nano", "i_dynamic_nano", "mixer_nano"}
TINY = {
    "swin_tiny", "dw_conv_tiny", "d_dw_conv_tiny", "i_dynamic_tiny", "static_swin_tiny", "static_swin_tiny_shared",
}  # fmt: skip
PART_OF_A_STUDY = "study: 1\nname: part\nspace: connectivity_nano\nbudget: {trials: 9}\n"


def test_the_shipped_files_are_these() -> None:
    assert [path.stem for path in SPACES] == [
        "connectivity_full",
        "connectivity_nano",
        "connectivity_tiny",
        "figure3_heads",
        "table_nano",
    ]
    assert [path.stem for path in STUDIES] == ["imagefolder_proxy", "imagenet_proxy", "quickstart", "table_nano"]


@pytest.mark.parametrize("path", [*SPACES, *STUDIES], ids=lambda path: path.stem)
def test_a_shipped_file_is_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert check_file(path) == {"search_spaces": "search space", "studies": "study"}[path.parent.name]


def space_named(name: str) -> SearchSpace:
    return load_space(ROOT / "search_spaces" / f"{name}.yaml")


@pytest.mark.parametrize(("name", "inside"), [("connectivity_nano", NANO), ("connectivity_tiny", TINY)])
def test_the_named_networks_lie_in_their_space(name: str, inside: set[str]) -> None:
    space = space_named(name)
    assert inside <= set(named_points(space))
    assert count(space) > 10**6


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_and_its_space_are_found_from_anywhere(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    study = load_study(path)
    assert load_space(study.space, beside=study.source_folder).genes


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path) -> None:
    result = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_the_yaml_of_the_readme_is_read_as_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    kinds = []
    for number, block in enumerate(blocks):
        if "connect:" in block.splitlines()[0]:  # a layer, shown alone
            assert set(read_text(block)) == {"connect"}
            continue
        file = tmp_path / f"{number}.yaml"
        whole = re.match(r"(archspec|space|study):", block)
        file.write_text(block if whole else PART_OF_A_STUDY + block)
        kinds.append(check_file(file) if whole else f"part of a {check_file(file)}")
    assert kinds == ["network", "search space", "study", *["part of a study"] * 4]


def test_the_layer_of_the_readme_is_legal_with_each_key_it_shows() -> None:
    from archspec.schema.layer import ConnectLayer

    text = (ROOT / "README.md").read_text()
    block = next(block for block in re.findall(r"```yaml\n(.*?)```", text, re.S) if block.startswith("connect:"))
    shown = yaml.safe_load(block)["connect"]
    assert set(shown) == set(ConnectLayer.model_fields) - {"init"}
    legal = {key: value for key, value in shown.items() if key not in ("width", "rank")}
    ConnectLayer.model_validate(legal)
