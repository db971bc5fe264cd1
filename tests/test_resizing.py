"""A network at another size: the spec, its weights, the command, and what cannot be converted."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import archspec
from archspec import ir
from archspec.artifacts import load_weights, save_weights
from archspec.cli.app import app
from archspec.errors import SpecError, WeightsError
from archspec.resizing.networks import resized
from archspec.resizing.weights import over_grid, resized_weights
from archspec.resolve import resolve
from archspec.schema.network import Network


def network(block: list[object], size: object = 8, **more: object) -> Network:
    written: dict[str, object] = {
        "archspec": 1,
        "name": "small",
        "input": {"size": size, "channels": 6},
        "classes": 3,
        "stem": {"patch": 1},
        "stages": [{"width": 6, "depth": 1, "block": "one"}],
        "blocks": {"one": [{"sequence": block}]},
    }
    return Network.model_validate(written | more)


def layer(space: object, positions: str = "none", channels: str = "all", weights: object = "static") -> object:
    return {
        "connect": {
            "connectivity": {"space": space, "channels": "separate"},
            "sharing": {"positions": positions, "channels": channels},
            "weights": weights,
        }
    }


def moved(small: Network, size: tuple[int, int], window: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
    old, new = resolve(small), resolve(resized(small, size, window))
    return resized_weights(archspec.compile(old, seed=1).state_dict(), old, new)


@pytest.mark.parametrize(
    ("name", "window", "named"),
    [
        ("swin_tiny", None, "swin_tiny_384_window7"),
        ("swin_tiny", (12, 12), "swin_tiny_384_window12"),
        ("dw_conv_tiny", None, "dw_conv_tiny_384"),
        ("dw_conv_tiny", (12, 12), "dw_conv_tiny_384_12x12"),
        ("deit_base", None, "deit_base_384"),
    ],
)
def test_the_networks_of_table_5_are_the_resized_ones(name: str, window: tuple[int, int] | None, named: str) -> None:
    wanted = archspec.load(named)
    made = resized(archspec.load(name), (384, 384), window)
    # The paper retrains at 384 px with another drop path.
    assert archspec.digest(made.model_copy(update={"drop_path": wanted.drop_path})) == archspec.digest(wanted)


def test_only_the_largest_windows_and_kernels_are_replaced() -> None:
    local, small = layer({"sliding": 5}, "offsets", "none"), layer({"sliding": 3}, "offsets", "none")
    shifted = layer({"window": {"size": 5, "shift": 2}}, weights="attention")
    made = resized(network([local, small, shifted]), (12, 16), (7, 9))
    text = json.dumps(made.model_dump(mode="json", exclude_unset=True)["blocks"])
    assert '{"sliding": {"size": [7, 9]}}' in text
    assert '{"sliding": {"size": 3}}' in text or '{"sliding": 3}' in text
    assert '{"window": {"size": [7, 9], "shift": [3, 4]}}' in text
    assert made.input.size == (12, 16)
    assert made.name == "small_12x16"


def test_a_network_without_windows_says_so() -> None:
    with pytest.raises(SpecError, match="this network has none"):
        resized(network([layer("full")]), (16, 16), (7, 7))


def test_tensors_that_fit_stay_as_they_are() -> None:
    small = network([layer({"sliding": 3}, "offsets", "none"), {"norm": "batch"}, {"mlp": {}}])
    old = archspec.compile(small, seed=1).state_dict()
    new = moved(small, (11, 13))
    assert all(torch.equal(old[name], new[name]) for name in old)


def test_relative_bias_and_position_embedding_are_interpolated_as_timm_does() -> None:
    from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table_simple

    attention = layer({"window": 4}, channels="none", weights={"attention": {"relative_bias": True}})
    small = network([{"class_token": True}, {"position_embedding": True}])
    old, new = archspec.compile(small, seed=1).state_dict(), moved(small, (5, 9))
    (name,) = [name for name in old if old[name].shape == (65, 6)]
    theirs = resample_abs_pos_embed(old[name][None], [5, 9], [8, 8], 1, antialias=False)
    assert torch.allclose(new[name], theirs[0], atol=1e-6)

    windows = network([attention])
    old, new = archspec.compile(windows, seed=1).state_dict(), moved(windows, (12, 12), (6, 6))
    (name,) = [name for name in old if name.endswith("relative_bias")]
    theirs = resize_rel_pos_bias_table_simple(old[name], (6, 6), (121, 6))
    assert torch.allclose(new[name], theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "positions", "name"),
    [("static", "offsets", "weight"), ({"attention": {"relative_bias": True}}, "none", "relative_bias")],
)
def test_tables_over_a_cross_are_interpolated_along_both_arms(weights: object, positions: str, name: str) -> None:
    """A table of squared offsets (ten times as large down as across) still grows, the same both ways."""
    small = network([layer("cross", positions, "none", weights)])
    old, new = resolve(small), resolve(resized(small, (16, 12)))
    tables = {each: torch.zeros(row.shape) for each, row in ir.parameter_table(old).items()}
    path, axis = f"stages.0.blocks.0.0.0.{name}", 1 if weights == "static" else 0
    offsets = torch.arange(-7.0, 8.0)
    table = torch.cat([offsets**2, 10 * offsets[offsets != 0] ** 2])
    tables[path] = table.expand(6, -1).movedim(-1, axis).contiguous()
    found = resized_weights(tables, old, new)[path].movedim(axis, -1)[0]
    across, above, below = found.split((23, 15, 15))
    assert (across[12:].diff() > 0).all()
    assert (below.diff() > 0).all()
    assert below[0] > across[12]
    torch.testing.assert_close(across, across.flip(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(above, below.flip(0), rtol=1e-4, atol=1e-4)
    assert float(below[-1] / across[-1]) == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(
    "one",
    [
        layer({"sliding": 5}, "offsets", "none"),
        layer({"sliding": 5}, "none", "none"),
        layer({"window": 4}, "windows", "none"),
        layer({"window": 4}, "none", "all"),
        layer({"window": 4}, "offsets", "none"),
        layer({"grid": 4}, "windows", "none"),
        layer("full"),
        layer("full", "offsets", "none"),
    ],
)
def test_static_weights_keep_what_they_give_on_a_constant_map(one: object) -> None:
    """A constant kernel sums a constant map to the same number away from the border, whatever the size."""
    small = network([one])
    old, new = resolve(small), resolve(resized(small, (16, 16), None if "full" in str(one) else (7, 7)))
    constant = {name: torch.ones(row.shape) for name, row in ir.parameter_table(old).items()}
    found = resized_weights(constant, old, new)
    (op,) = [op for op in ir.walk(new.ops) if op.path == "stages.0.blocks.0.0.0"]
    (before,) = [op for op in ir.walk(old.ops) if op.path == "stages.0.blocks.0.0.0"]
    expected = before.neighbours / op.neighbours  # type: ignore[attr-defined]
    assert torch.allclose(found[f"{op.path}.weight"], torch.full_like(found[f"{op.path}.weight"], expected))
    assert torch.equal(found[f"{op.path}.bias"], torch.ones_like(found[f"{op.path}.bias"]))


def test_a_predicted_kernel_is_interpolated_where_it_is_predicted() -> None:
    """Resizing the predictor is resizing what it predicts: interpolation is linear."""
    pooled = layer({"sliding": 3}, "offsets", "none", weights={"pooled": {"reduction": 2}})
    small = network([pooled])
    old, new = archspec.compile(small, seed=1).state_dict(), moved(small, (8, 8), (5, 5))
    hidden = torch.randn(3, generator=torch.Generator().manual_seed(0))
    path = "stages.0.blocks.0.0.0.predict.weight"
    before, after = (old[path] @ hidden).view(9, 6), (new[path] @ hidden).view(25, 6)
    assert torch.allclose(over_grid(before, 0, (3, 3), (5, 5)) * 9 / 25, after, atol=1e-6)


def test_other_networks_and_other_tensors_are_refused() -> None:
    first, second = resolve(network([layer("full")])), resolve(network([{"mlp": {}}]))
    with pytest.raises(WeightsError, match="not one network at two sizes"):
        resized_weights({}, first, second)
    wrong = {name: torch.zeros(1) for name in ir.parameter_table(first)}
    with pytest.raises(WeightsError, match="is no tensor of small"):
        resized_weights(wrong, first, first)


def test_the_command_writes_the_network_and_its_weights(tmp_path: Path) -> None:
    module = archspec.compile("swin_nano", seed=3)
    weights = tmp_path / "in.safetensors"
    save_weights(module, weights, {"name": "swin_nano", "digest": archspec.digest("swin_nano")})
    output = tmp_path / "larger.yaml"
    words = ["resize", "swin_nano", "--size", "48x64", "--weights", str(weights), "-o", str(output)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    larger = archspec.compile(output)
    load_weights(larger, output.with_suffix(".safetensors"), archspec.digest(output))
    assert larger(torch.randn(2, 3, 48, 64)).shape == module(torch.randn(2, 3, 32, 32)).shape


@pytest.mark.parametrize("name", ["my network.yaml", "384.yaml", f"{'long' * 30}.yaml"])
def test_a_file_whose_name_is_no_name_of_a_network_is_refused(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["resize", "swin_nano", "--size", "48", "-o", str(tmp_path / name)])
    assert isinstance(result.exception, SpecError)
    assert Path(name).stem[:40] in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_the_network_is_not_written_over_its_weights(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["resize", "swin_nano", "--size", "48", "-o", str(tmp_path / "x.safetensors")])
    assert result.exit_code == 2
    assert "a YAML file" in result.output
    weights = tmp_path / "x.safetensors"
    save_weights(archspec.compile("swin_nano", seed=0), weights, {})
    before = weights.read_bytes()
    words = ["resize", "swin_nano", "--size", "48", "--weights", str(weights), "-o", str(tmp_path / "x.yaml")]
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, weights.read_bytes()) == (2, before)


def test_folders_are_made(tmp_path: Path) -> None:
    output = tmp_path / "new" / "larger.yaml"
    result = CliRunner().invoke(app, ["resize", "swin_nano", "--size", "48", "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert archspec.load(output).name == "larger"


@pytest.mark.parametrize("size", ["384x", "x", "wide", "1x2x3", "0", "-4"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    result = CliRunner().invoke(app, ["resize", "swin_nano", "--size", size])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
