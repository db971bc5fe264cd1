"""The data of every figure against examples made by hand, and the command that writes the pages."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from archspec import reference
from archspec.cli.app import app
from archspec.compiler import build
from archspec.draw.comparison import Region, Row, comparison_data, costs_by_stage_data
from archspec.draw.connections import Drawn, distinct, drawn
from archspec.draw.footprint import draw_footprint, footprint_data
from archspec.draw.matrix import ABSENT, draw_matrix, matrix_data
from archspec.draw.pictures import Wanted, network_page
from archspec.draw.values import measured
from archspec.errors import DrawingError, SpecError
from archspec.ir import Connect, Feature, Pair, Program
from archspec.resolve import resolve
from archspec.schema.load import load
from archspec.testing.layers import Layer

RUNNER = CliRunner()
DEPTHWISE = {
    "connectivity": {"space": {"sliding": 3}, "channels": "separate"},
    "sharing": {"positions": "offsets"},
    "weights": "static",
}
SHIFTED = {
    "connectivity": {"space": {"window": {"size": 2, "shift": 1}}, "channels": "separate"},
    "sharing": {"positions": "none", "channels": {"groups": 2}},
    "weights": {"attention": {}},
}


def alone(written: dict[str, object], source: Feature) -> Drawn:
    """A layer by itself."""
    (op,) = Layer(written, source).connections
    return Drawn(Program("layer", source, 2, (op,)), op, (source.height, source.width))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A photograph's stand-in: a gradient with a disc, of another shape than the network's."""
    y, x = np.mgrid[0:48, 0:64]
    pixels = np.stack([4 * x, 5 * y, 255 * ((x - 32) ** 2 + (y - 20) ** 2 < 150)], -1)
    path = tmp_path / "image.png"
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


# --- the connection matrix


def test_matrix_of_a_depthwise_convolution() -> None:
    """3 taps on a row of 4 positions: three diagonals of one value each; a kernel a channel."""
    matrix = matrix_data(alone(DEPTHWISE, Feature(1, 4, 2)))
    # Only the middle row of the kernel meets the map, so 3 of its 9 taps are there.
    assert matrix.positions.tolist() == [
        [1, 2, ABSENT, ABSENT],
        [0, 1, 2, ABSENT],
        [ABSENT, 0, 1, 2],
        [ABSENT, ABSENT, 0, 1],
    ]
    assert matrix.channels.tolist() == [[0, ABSENT], [ABSENT, 1]]
    assert (matrix.entries, matrix.classes, matrix.tied) == (10, 3, True)
    assert matrix.share == 10 / 16
    assert matrix.outgoing == ("(0, 0)", "(0, 1)", "(0, 2)", "(0, 3)")


def test_matrix_of_attention_in_shifted_windows() -> None:
    """4x4 positions, windows of 2 moved by 1: a corner alone, edges in pairs, the middle in fours; nothing is tied."""
    matrix = matrix_data(alone(SHIFTED, Feature(4, 4, 4)))
    joined = matrix.positions != ABSENT
    assert joined.sum(1).reshape(4, 4).tolist() == [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]
    assert np.flatnonzero(joined[5]).tolist() == [5, 6, 9, 10]
    assert not matrix.tied
    assert matrix.classes == matrix.entries == 36
    assert matrix.channels.diagonal().tolist() == [0, 0, 1, 1]


def test_padding_is_named() -> None:
    """A map of 3 in windows of 2 is padded to 4."""
    matrix = matrix_data(
        alone({**SHIFTED, "connectivity": {"space": {"window": 2}, "channels": "separate"}}, Feature(3, 3, 4))
    )
    assert len(matrix.outgoing) == 9
    assert len(matrix.incoming) == 16
    assert sum("padding" in name for name in matrix.incoming) == 7
    assert matrix.incoming[3] == "(0, 3) padding"


@pytest.mark.parametrize("written", [DEPTHWISE, SHIFTED])
def test_values_are_those_of_the_oracle(written: dict[str, object]) -> None:
    from archspec.draw.values import _layers
    from archspec.testing.samples import draw

    op = alone(written, Feature(4, 4, 4)).connection
    sample = draw(op, seed=0, batch=1)
    layers = _layers(op, sample.parameters, sample.x.flatten(1, 2))
    dense = reference.dense(op, sample.parameters, sample.x)
    dense = dense[0] if dense.ndim == 4 else dense
    assert np.allclose(layers[0], dense.abs().mean(0))
    one_a_kernel = dense[:: op.source.channels // op.kernels]
    assert np.allclose(layers[1:], one_a_kernel)


def test_values_of_an_image_are_what_the_network_makes_of_it(image: Path) -> None:
    """Attention sums to one over what is read, and every image gives other weights."""
    network = load("swin_nano")
    found = drawn(network, "stages.1.blocks.1.0.1")
    values = measured(found, image)
    assert np.allclose(values.layers.sum(-1), 1, atol=1e-5)
    assert values.names == ("mean magnitude", "head 1 of 4", "head 2 of 4", "head 3 of 4", "head 4 of 4")
    with Image.open(image) as opened:
        opened.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image)
    assert not np.allclose(values.layers, measured(found, image).layers)


def test_values_need_an_image_that_can_be_read(tmp_path: Path) -> None:
    found = drawn(load("swin_nano"), "stages.0.blocks.0.0.1")
    with pytest.raises(DrawingError, match="name an image"):
        measured(found)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no")
    with pytest.raises(DrawingError, match=r"cannot read .*broken\.png"):
        measured(found, tmp_path / "broken.png")


def test_weights_of_the_network_are_resized_with_it(tmp_path: Path) -> None:
    from archspec.artifacts import save_weights

    program = resolve(load("dw_conv_nano"))
    module = build(program, seed=7)
    save_weights(module, tmp_path / "w.safetensors", {"digest": program.digest})
    found = drawn(load("dw_conv_nano"), "stages.0.blocks.0.0.3", (16, 16))
    values = measured(found, weights=tmp_path / "w.safetensors", own=program)
    kernel = module.state_dict()["stages.0.blocks.0.0.3.weight"]
    inside = values.layers[1].reshape(8, 8, 8, 8)[4, 4, 1:8, 1:8]
    assert np.allclose(inside, kernel[0].numpy())


# --- which connections, at which size


def test_each_kind_of_connection_is_drawn_once() -> None:
    assert [op.path for op in distinct(resolve(load("swin_tiny")))] == [
        "stages.0.blocks.0.0.1",
        "stages.0.blocks.1.0.1",
        "stages.3.blocks.0.0.1",
    ]


@pytest.mark.parametrize(
    ("name", "path", "input_size", "side"),
    [
        ("swin_tiny", "stages.0.blocks.1.0.1", (56, 56), 14),  # two windows of 7
        ("swin_tiny", "stages.3.blocks.0.0.1", (224, 224), 7),  # a window that covers the map, so at no other size
        ("resnet_50", "stages.0.blocks.0.0.0.3", (32, 32), 8),
    ],
)
def test_a_legible_size(name: str, path: str, input_size: Pair, side: int) -> None:
    found = drawn(load(name), path)
    assert (found.program.image.height, found.program.image.width) == input_size
    assert found.connection.source.height == side


def test_a_misspelt_connection_gets_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"nearest: .*stages\.0\.blocks\.0\.0\.1"):
        drawn(load("swin_tiny"), "stages.0.blocks.0.0.11")


# --- footprints


def test_footprint_of_a_kernel_at_the_border() -> None:
    found = alone(DEPTHWISE, Feature(4, 4, 2))
    data = footprint_data(found, matrix_data(found))
    assert data.counts.reshape(4, 4).tolist() == [[4, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]]
    assert data.reads[0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert data.centre(6) == (1, 2)
    figure = draw_footprint(data)
    assert len(figure.frames) == len(figure.layout.sliders[0].steps) == 16


def test_footprint_of_a_stride_stands_where_it_reads() -> None:
    """Patches of 2: position (1, 0) of y covers rows 2, 3 and columns 0, 1 of x."""
    written = {
        "connectivity": {"space": {"sliding": {"size": 2, "stride": 2}}, "channels": "full"},
        "sharing": {"positions": "offsets"},
        "weights": "static",
    }
    found = alone(written, Feature(4, 4, 2))
    data = footprint_data(found, matrix_data(found))
    assert np.argwhere(data.reads[2]).tolist() == [[2, 0], [2, 1], [3, 0], [3, 1]]
    assert data.centre(2) == (2.5, 0.5)


def test_footprint_of_padding() -> None:
    """A halo of 1 around windows of 2 on 4x4: the map begins at (-1, -1), and what is beyond it is not counted."""
    written = {**SHIFTED, "connectivity": {"space": {"halo": {"size": 2, "halo": 1}}, "channels": "separate"}}
    found = alone(written, Feature(4, 4, 4))
    data = footprint_data(found, matrix_data(found))
    assert data.origin == (-1, -1)
    assert data.reads.shape == (16, 6, 6)
    assert data.reads[0].sum() == 16
    assert data.counts[0] == 9


# --- two networks


def test_equal_networks_have_no_mark() -> None:
    program = resolve(load("swin_nano"))
    data = comparison_data(program, program)
    assert data.differing == 0
    assert data.difference.equal


def test_what_differs_is_marked_and_nothing_else() -> None:
    """Swin's stage 1 beside that of DW-Conv.: one attention becomes one depth-wise convolution."""
    data = comparison_data(resolve(load("swin_nano")), resolve(load("dw_conv_nano")))
    blocks = {region.title: region for region in data.regions}
    rows = blocks["Block 1 of stages 1, 2"].rows
    changed = [row for row in rows if any(axis == "space" for axis, _, _ in row.changed)]
    (row,) = changed
    assert (row.before, row.after) == ("attention over window 4x4", "static over sliding 7x7")
    assert ("space", "window 4x4", "sliding 7x7") in row.changed
    assert {axis for axis, _, _ in row.changed} >= {
        "space",
        "sharing over positions",
        "sharing over channels",
        "weights",
    }
    assert Row(1, "gelu", "gelu") in rows
    assert Row(1, None, "relu") in rows
    assert all(row.same for row in blocks["Into stages 2, 3"].rows)


def test_costs_by_stage_add_up() -> None:
    old, new = resolve(load("swin_nano")), resolve(load("dw_conv_nano"))
    found = comparison_data(old, new).difference
    costs = costs_by_stage_data(found)
    assert costs.regions == ("stem", "stage 1", "stage 2", "stage 3", "head")
    assert costs.totals("params") == (found.cost_before.params, found.cost_after.params)
    assert costs.totals("macs") == (found.cost_before.macs, found.cost_after.macs)


def test_networks_of_other_depths_are_aligned() -> None:
    data = comparison_data(resolve(load("deit_small")), resolve(load("swin_tiny")))
    alone = [row for region in data.regions for row in region.rows if row.before is None]
    assert alone
    assert all(isinstance(region, Region) and region.rows for region in data.regions)


# --- the command


def test_draw_writes_a_page(tmp_path: Path, image: Path) -> None:
    output = tmp_path / "page.html"
    words = ["draw", "dw_conv_nano", "-o", str(output), "--image", str(image), "--json"]
    result = RUNNER.invoke(app, words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"files": [str(output)], "figures": ["matrix-1", "footprint-1", "fields"]}
    assert "7x7" in output.read_text()
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize(
    "words",
    [
        ["swin_nano", "dw_conv_nano", "pvt_nano"],
        ["swin_nano", "dw_conv_nano", "--size", "32"],
        ["swin_nano", "--size", "-3"],
    ],
)
def test_wrong_words_are_refused(words: list[str], tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["draw", *words, "-o", str(tmp_path / "page.html")])
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_named_connections_are_drawn_at_the_size_asked_for() -> None:
    page = network_page(load("swin_nano"), Wanted(("stages.1.blocks.0.1.1.first",), (64, 64)))
    assert [section.name for section in page.sections] == ["matrix-1", "footprint-1", "fields"]
    assert "map 16×16, input 64×64 (its own: 32×32)" in page.sections[0].text


def test_a_matrix_says_what_it_holds() -> None:
    found = alone(DEPTHWISE, Feature(4, 4, 2))
    assert isinstance(found.connection, Connect)
    figure = draw_matrix(matrix_data(found))
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["16 × 16 positions: 100 entries (39.1%), 9 values", "2 × 2 channels: 2 kernels"]
