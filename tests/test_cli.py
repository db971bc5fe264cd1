"""The commands as a user runs them: output, JSON, exit codes, messages without tracebacks, and the README in step."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import archspec
from archspec.cli import clash
from archspec.cli.app import COMMANDS, app
from archspec.schema.legality import all_combinations
from studies import SPACE, write_study

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """A real process: what a user sees, with its exit code."""
    command = [sys.executable, "-c", "from archspec.cli import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_commands_are_these() -> None:
    assert list(COMMANDS) == [
        "list", "show", "check", "space", "schema", "draw", "explain", "diff", "graph",
        "compile", "verify", "resize", "export", "probe",
        "train", "search", "report", "promote", "tabulate", "attribute", "audit", "bench", "doctor",
    ]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_help_with_an_example_and_is_in_the_readme(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: archspec {command}" in result.output
    assert f"`archspec {command}" in README


def test_the_readme_names_no_command_that_does_not_exist() -> None:
    in_text = re.findall(r"`archspec ([a-z]+)", README)
    in_blocks = re.findall(r"^(?:\S*/)?archspec ([a-z]+)", README, re.M)
    assert {*in_text, *in_blocks} == set(COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'timm', 'optuna', 'plotly', 'sqlalchemy'}"
    code = f"import sys; from archspec.cli.app import app; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_a_file_that_cannot_be_written_is_no_traceback() -> None:
    found = run("resize", "swin_nano", "--size", "48", "-o", "/proc/none/larger.yaml")
    assert found.returncode == 1
    assert found.stderr.startswith("archspec: /proc/none")
    assert "Traceback" not in found.stderr


def test_list_is_every_named_network() -> None:
    found = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in found] == list(archspec.names())
    assert next(row for row in found if row["name"] == "swin_tiny")["params"] == 28288354


@pytest.mark.parametrize("stage", ["spec", "ir", "plan", "cost"])
def test_show_prints_every_stage(stage: str) -> None:
    plain = run("show", "dw_conv_nano", "--stage", stage)
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout
    assert json.loads(run("show", "dw_conv_nano", "--stage", stage, "--json").stdout)


def test_three_mistakes_are_three_errors_at_their_lines(tmp_path: Path) -> None:
    text = re.search(r"<!-- run: mine.yaml -->\n```yaml\n(.*?)```", README, re.S)
    assert text is not None
    lines = text.group(1).splitlines()
    mistakes = {"classes: 20": "clases: 20", "weights: static": "weights: statik", "act: relu": "act: rellu"}
    places = []
    for right, wrong in mistakes.items():
        number = next(i for i, line in enumerate(lines) if right in line)
        lines[number] = lines[number].replace(right, wrong)
        places.append(number + 1)
    file = tmp_path / "mine.yaml"
    file.write_text("\n".join(lines))
    result = run("check", str(file))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for place, name in zip(places, ("classes", "static", "relu"), strict=True):
        (line,) = [i for i, found in enumerate(result.stderr.splitlines()) if found.startswith(f"{file}:{place}:")]
        assert name in "\n".join(result.stderr.splitlines()[line : line + 3])


def test_the_readme_network_is_valid(tmp_path: Path) -> None:
    text = re.search(r"<!-- run: mine.yaml -->\n```yaml\n(.*?)```", README, re.S)
    assert text is not None
    file = tmp_path / "mine.yaml"
    file.write_text(text.group(1))
    result = run("check", str(file))
    assert (result.returncode, result.stdout) == (0, f"{file}: a valid network\n")


@pytest.mark.parametrize(
    "words",
    [
        ("show", "swin_tinny"),
        ("check", "no_such_file.yaml"),
        ("compile", "swin_tinny", "-o", "x.safetensors"),
        ("search", "no_such_study"),
        ("report", "no_such_study"),
        ("promote", "no_such_study", "3"),
        ("train", "dw_conv_nano", "--data", "no_such_data"),
        ("train", "dw_conv_nano", "--set", "recipe.learning_rate=1"),
        ("bench", "no_such_network"),
        ("verify", "dw_conv_nano"),
        ("space", "no_such_space"),
    ],
)
def test_bad_words_are_told_without_a_traceback(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr + result.stdout
    assert result.stderr.strip()


def test_the_nearest_name_is_named() -> None:
    assert "swin_tiny" in run("show", "swin_tinny").stderr


def test_space_without_a_file_decides_every_combination() -> None:
    rows = json.loads(run("space", "--json").stdout)
    assert len(rows) == len(set(all_combinations())) > 1000
    assert all(row["verdict"] == "legal" or row["nearest legal"] for row in rows)


def test_compile_writes_weights_that_load(tmp_path: Path) -> None:
    from archspec.artifacts import load_weights

    file = tmp_path / "dw.safetensors"
    assert run("compile", "dw_conv_nano", "-o", str(file)).returncode == 0
    module = archspec.compile("dw_conv_nano", seed=1)
    load_weights(module, file, archspec.digest("dw_conv_nano"))
    same = archspec.compile("dw_conv_nano", seed=0).state_dict()
    assert all((tensor == same[name]).all() for name, tensor in module.state_dict().items())


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    from archspec.artifacts import load_weights
    from archspec.errors import WeightsError

    file = tmp_path / "dw.safetensors"
    assert run("compile", "dw_conv_nano", "-o", str(file)).returncode == 0
    with pytest.raises(WeightsError, match="dw_conv_nano"):
        load_weights(archspec.compile("mixer_nano", seed=1), file, archspec.digest("mixer_nano"))
    with pytest.raises(WeightsError, match="does not fit"):
        load_weights(archspec.compile("mixer_nano", seed=1), file)
    file.write_bytes(b"not safetensors at all")
    with pytest.raises(WeightsError, match="cannot read"):
        load_weights(archspec.compile("mixer_nano", seed=1), file)


@pytest.mark.parametrize("language", ["network", "space", "study"])
def test_schema_is_a_json_schema(language: str) -> None:
    import jsonschema

    schema = json.loads(run("schema", language).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)


def test_every_named_network_passes_the_json_schema() -> None:
    import jsonschema
    import yaml

    from archspec.schema.load import spec_path

    validator = jsonschema.Draft202012Validator(json.loads(run("schema", "network").stdout))
    for name in archspec.names():
        data = json.loads(json.dumps(yaml.safe_load(spec_path(name).read_text())))
        assert not list(validator.iter_errors(data)), name


def test_doctor_finds_nothing_broken_here() -> None:
    result = run("doctor", "--json")
    assert {row["what"] for row in json.loads(result.stdout)} >= {"versions", "device", "data", "storage", "name"}
    assert result.returncode == 0, result.stdout


def test_the_other_archspec_in_one_environment_stops_the_command(tmp_path: Path) -> None:
    """A real installed distribution of that name, as pip leaves it."""
    facts = tmp_path / "archspec-0.2.7.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: archspec\nVersion: 0.2.7\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from archspec.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code, "list"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 1
    assert "archspec 0.2.7" in result.stderr
    assert clash() is None


def test_a_study_that_names_what_there_is_not_is_refused_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "study: 1\nname: misspelt\nspace: conectivity_nano\nreferences: [swin_nano, swin_nanno]\nbudget: {trials: 1}\n"
    )
    heavy = "{'torch', 'timm', 'optuna', 'plotly', 'sqlalchemy'}"
    code = f"""
import sys
from archspec.cli import main
sys.argv = ['archspec', 'search', {str(file)!r}]
try:
    main()
finally:
    print(sorted({heavy} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "[]\n"), result.stderr
    said = result.stderr.splitlines()
    assert said[0].startswith(f"{file}:3:8: space: a search space is ")
    assert said[2].startswith("    nearest: connectivity_nano, ")
    assert said[3].startswith(f"{file}:4:25: references.1: a network is named")
    assert said[5].startswith("    nearest: swin_nano")


def test_a_value_of_the_command_line_is_found_there() -> None:
    said = run("search", "studies/quickstart.yaml", "--set", "space=nothing_like_it").stderr
    assert said.startswith("--set space:1:8: space: a search space is ")
    said = run("search", "studies/quickstart.yaml", "--set", "recipe.epochs=none").stderr
    assert said.startswith("--set recipe.epochs:1:8: recipe.epochs: ")


def test_a_space_that_is_searched_to_its_end_is_reported(tmp_path: Path) -> None:
    one_axis = SPACE.replace("{choose: [8, 12, 16]}", "8").replace("{range: [1, 2]}", "1")
    study = write_study(tmp_path, space=one_axis)
    words = ["--set", f"output={study.folder}", "--set", "recipe.epochs=1", "--set", "budget.trials=50"]
    result = run("search", str(tmp_path / "study.yaml"), *words)
    assert result.returncode == 0, result.stderr
    assert "no feasible point of the space is left to evaluate: the study is over before its budget" in result.stderr
    assert "small: 6 trials" in result.stdout
    assert (study.folder / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("objectives=[{maximise: accuracy}, {minimize: macs}]", "the only key here is minimise"),
        ("storage=mysql://host/db", "results are stored in SQLite or PostgreSQL"),
    ],
)
def test_what_a_study_cannot_mean_is_told_before_anything_is_made(change: str, said: str, tmp_path: Path) -> None:
    result = run("search", "studies/quickstart.yaml", "--set", change, "--set", f"output={tmp_path / 'out'}")
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()
