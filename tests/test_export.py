"""Ten networks, three of them random points of the space, out of archspec in every format: same outputs, same names."""

import ast
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import archspec
from archspec.cli.app import app
from archspec.errors import ExportError, SpecError, WeightsError
from archspec.export import formats
from archspec.export.formats import LARGEST_DIFFERENCE, export, plain_module
from archspec.export.kinds import Format
from archspec.export.source import StandAlone, stand_alone
from archspec.schema.load import load
from archspec.schema.network import Network
from archspec.search.space import load_space, point, sample

ROOT = Path(__file__).parent.parent
NAMED = (
    "swin_nano", "i_dynamic_nano", "d_dw_conv_nano", "pvt_nano", "criss_cross_nano", "multi_scale_conv_nano",
    "outlook_nano",
)  # fmt: skip
DRAWN = {"drawn_3": 3, "drawn_5": 5, "drawn_8": 8}


def network_of(name: str) -> Network:
    """A named network, or the point of the nano space that a seed draws."""
    if name not in DRAWN:
        return load(name)
    space = load_space(ROOT / "search_spaces" / "connectivity_nano.yaml")
    rng = random.Random(DRAWN[name])
    while True:
        try:
            network = point(space, sample(space, rng)).network
            archspec.cost(network)
        except SpecError:
            continue
        return network.model_copy(update={"name": name})


def shallow(name: str) -> Network:
    """Of a named network two stages, where each block of their pattern stands once: exporters take seconds a block."""
    network = network_of(name)
    if name in DRAWN:
        return network
    stages = [stage.model_copy(update={"depth": len(stage.block_names)}) for stage in network.stages[:2]]
    return network.model_copy(update={"stages": stages})


TEN = (*NAMED, *DRAWN)
# A class token, and logits from the centre, are as many as the batch.
OF_ANY_BATCH = ("deit_small", "weight_static_and_dynamic")

LOADER = """
import importlib.util, pathlib, sys
import torch
from safetensors.torch import load_file

sys.modules["archspec"] = None  # importing it raises ImportError, also where it is installed
for folder in sys.argv[1:]:
    (file,) = pathlib.Path(folder).glob("*.py")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    network = list(vars(module).values())[-1]()
    network.load_state_dict(load_file(file.with_suffix(".safetensors")))
    given = load_file(file.with_name("expected.safetensors"))
    with torch.no_grad():
        found = network.eval()(given["images"])
    difference = (found - given["logits"]).abs().max() / given["logits"].abs().max()
    print(file.stem, float(difference))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The stand-alone file of each network in a folder of its own, with outputs of the compiled one beside it."""
    found = {}
    for name in TEN:
        network = network_of(name)
        folder = tmp_path_factory.mktemp(name)
        found[name] = export(network, Format.python, folder / f"{name}.py", seed=4).file
        compiled = archspec.compile(network, seed=4).eval()
        images = torch.randn(3, 3, *network.input.height_width, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            save_file({"images": images, "logits": compiled(images)}, folder / "expected.safetensors")
    return found


def test_a_stand_alone_file_needs_no_archspec(files: dict[str, Path], tmp_path: Path) -> None:
    folders = [str(file.parent) for file in files.values()]
    command = [sys.executable, "-I", "-c", LOADER, *folders]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    differences = dict(line.split() for line in done.stdout.splitlines())
    assert set(differences) == set(TEN)
    assert all(float(found) <= LARGEST_DIFFERENCE for found in differences.values()), differences


@pytest.mark.parametrize("config", [["--isolated"], ["--config", str(ROOT / "pyproject.toml")]])
def test_ruff_has_nothing_to_say(files: dict[str, Path], config: list[str]) -> None:
    for words in (["check", *config], ["format", "--check", *config]):
        command = [sys.executable, "-m", "ruff", *words, *map(str, files.values())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_stand_alone_file_holds_only_what_its_network_needs(files: dict[str, Path]) -> None:
    swin, pvt = files["swin_nano"].read_text(), files["pvt_nano"].read_text()
    assert "class Reduction" in pvt
    assert "class Reduction" not in swin
    assert "relative_bias" in swin
    assert "relative_bias" not in pvt
    assert all("archspec" not in line for line in swin.splitlines() if "import" in line)
    assert len(swin.splitlines()) < 400


# Residuals with and without drop path, a predictor with its norm and one without, gates, groups, joins, class tokens.
VARIED = (
    "swin_tiny",
    "rednet_50",
    "efficientnet_b0",
    "res2net_50",
    "shufflenet_v2",
    "hrnet_w18",
    "volo_d1",
    "deit_small",
)


def calls_in(tree: ast.Module) -> dict[str, set[str | int]]:
    """Of each class, the names and places of arguments that some call of it or of a kind of it gives."""
    given: dict[str, set[str | int]] = {}
    kinds = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    own = [(ast.unparse(kind.bases[0]), call) for kind in kinds if kind.bases for call in ast.walk(kind)]
    every = [
        (name, call) for name, call in own if isinstance(call, ast.Call) and "super().__init__" in ast.unparse(call)
    ]
    every += [(ast.unparse(call.func), call) for call in ast.walk(tree) if isinstance(call, ast.Call)]
    for name, call in every:
        assert isinstance(call, ast.Call)
        words = given.setdefault(name, set())
        words.update((keyword.arg or "" for keyword in call.keywords), range(len(call.args)))
    return given


def dead_options(source: str) -> list[str]:
    """Arguments that nothing reads, and those that may be left out and always are."""
    tree = ast.parse(source)
    given = calls_in(tree)
    dead = []
    for kind in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        words = given.get(kind.name, set())
        for field in (node for node in kind.body if isinstance(node, ast.AnnAssign) and node.value):
            name = ast.unparse(field.target)  # how a window slides is one thing, though its stride may be 1 throughout
            dead += [f"{kind.name}.{name}"] if name not in (*words, "stride", "dilation") else []
        for made in (node for node in kind.body if isinstance(node, ast.FunctionDef)):
            read = {node.id for node in ast.walk(made) if isinstance(node, ast.Name)}
            places, more = made.args.args[1:], made.args.kwonlyargs
            dead += [
                f"{kind.name}.{made.name} does not read {each.arg}" for each in (*places, *more) if each.arg not in read
            ]
            optional = [*places[len(places) - len(made.args.defaults) :], *more] if made.name == "__init__" else []
            for each in optional:
                at = places.index(each) if each in places else ""
                must = each in more and made.args.kw_defaults[more.index(each)] is None
                dead += [f"{kind.name}({each.arg})"] if not must and not {each.arg, at} & words else []
    return dead


@pytest.mark.parametrize("name", [*TEN, *VARIED])
def test_a_stand_alone_file_has_no_dead_options(name: str) -> None:
    assert dead_options(stand_alone(network_of(name)).source) == []


def test_a_network_may_be_called_none() -> None:
    made = stand_alone(network_of("swin_nano").model_copy(update={"name": "none"}))
    assert made.name == "NoneNetwork"
    assert plain_module(made).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 20)


def test_blocks_that_repeat_are_one_class_in_a_loop() -> None:
    made = stand_alone(load("swin_tiny")).source
    assert made.count("class PlainBlock") == 1
    assert made.count("class ShiftedBlock") == 1
    assert "for i in range(4, 10, 2)" in made


@pytest.mark.parametrize("name", [*TEN, *OF_ANY_BATCH])
def test_torch_export_is_read_again_without_our_kernels(name: str, tmp_path: Path) -> None:
    done = export(shallow(name), Format.torch_export, tmp_path / f"{name}.pt2", seed=4)
    assert done.difference <= LARGEST_DIFFERENCE
    assert "archspec" not in str(torch.export.load(done.file).graph)


@pytest.mark.parametrize("name", [*TEN, *OF_ANY_BATCH])
def test_onnx_runs_in_onnxruntime(name: str, tmp_path: Path) -> None:
    import onnx

    done = export(shallow(name), Format.onnx, tmp_path / f"{name}.onnx", seed=4)
    assert done.difference <= LARGEST_DIFFERENCE
    model = onnx.load(str(done.file))
    assert next(each.version for each in model.opset_import if each.domain == "") == done.opset
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_the_checkpoint_beside_it_is_the_compiled_network_s(files: dict[str, Path]) -> None:
    weights = load_file(files["swin_nano"].with_suffix(".safetensors"))
    compiled = archspec.compile("swin_nano", seed=4).state_dict()
    assert list(weights) == sorted(compiled)
    assert all(torch.equal(weights[name], compiled[name]) for name in compiled)


def test_given_weights_go_along(files: dict[str, Path], tmp_path: Path) -> None:
    weights = files["swin_nano"].with_suffix(".safetensors")
    done = export(load("swin_nano"), Format.python, tmp_path / "again.py", weights=weights)
    assert done.seed is None
    given, written = load_file(weights), load_file(done.checkpoint)
    assert all(torch.equal(given[name], written[name]) for name in given)
    with pytest.raises(WeightsError, match="swin_nano"):
        export(load("pvt_nano"), Format.python, tmp_path / "other.py", weights=weights)
    assert not (tmp_path / "other.py").exists()


def test_a_file_with_other_outputs_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(network: Network, weights: str | None = None) -> StandAlone:
        made = stand_alone(network, weights)
        return StandAlone(made.source.replace("x + super()", "x - super()"), made.name)

    monkeypatch.setattr(formats, "stand_alone", wrong)
    with pytest.raises(ExportError, match="other outputs"):
        export(load("swin_nano"), Format.python, tmp_path / "wrong.py")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_no_seed_gives_are_not_written_over(files: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "swin_nano.py"
    for seed in (0, 1):  # weights from a seed may go: it gives them again
        trained = export(load("swin_nano"), Format.python, file, seed=seed).checkpoint
    tensors = {name: tensor + 1 for name, tensor in load_file(trained).items()}
    save_file(tensors, trained)
    with pytest.raises(ExportError, match=f"--weights {re.escape(str(trained))}"):
        export(load("swin_nano"), Format.python, file)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in load_file(trained).items())
    for _ in range(2):
        export(load("swin_nano"), Format.python, file, weights=trained)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in load_file(trained).items())


def test_a_script_of_the_same_name_is_not_written_over(tmp_path: Path) -> None:
    mine = tmp_path / "swin_nano.py"
    mine.write_text("print('mine')")
    with pytest.raises(ExportError, match="was not written by archspec"):
        export(load("swin_nano"), Format.python, mine)
    assert mine.read_text() == "print('mine')"
    assert list(tmp_path.iterdir()) == [mine]


def test_a_file_is_not_written_over_its_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="where the checkpoint goes"):
        export(load("swin_nano"), Format.python, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_stand_alone_network_trains(files: dict[str, Path]) -> None:
    made = stand_alone(network_of("i_dynamic_nano"))
    network = plain_module(made).train()
    network(torch.randn(2, 3, 32, 32)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "mixer.py"
    done = CliRunner().invoke(app, ["export", "mixer_nano", "--format", "python", "-o", str(file)])
    assert done.exit_code == 0, done.output
    assert file.exists()
    assert file.with_suffix(".safetensors").exists()
    assert "seed 0" in done.output
