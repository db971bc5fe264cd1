"""What a network is, in words: every named one; the index of named networks; equal and nearest ones."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import archspec
from archspec import ir
from archspec.cli.app import app
from archspec.relations import index
from archspec.relations.difference import distance
from archspec.relations.explanation import Explanation, blocks, explain
from archspec.relations.index import FILE, index_text, named
from archspec.relations.nearest import at_least, nearest
from archspec.relations.reading import form_of
from archspec.relations.table1 import ROWS, row_of
from archspec.relations.words import connection_name, connection_words
from archspec.resolve import resolve
from archspec.schema.load import load, network_from, network_yaml
from archspec.schema.source import read_text


def explained(name: str) -> Explanation:
    return explain(load(name), named())


def text_of(found: Explanation) -> str:
    return "\n".join(line.text for block in found.blocks for line in block.lines)


def test_the_index_is_what_the_files_and_the_code_make_of_it() -> None:
    assert FILE.read_text() == index_text(), "run `python -m archspec.relations.index` and commit named.json"


def test_a_network_that_is_not_in_the_index_is_resolved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = json.loads(FILE.read_text())
    data["networks"].pop("swin_nano")
    data["networks"]["dw_conv_nano"] |= {"file": "of another text", "digest": "wrong"}
    stale = tmp_path / "named.json"
    stale.write_text(json.dumps(data))
    true = named()
    monkeypatch.setattr(index, "FILE", stale)
    found = named.__wrapped__()
    assert found == true
    assert found["dw_conv_nano"].signature.digest == archspec.digest("dw_conv_nano")


@pytest.mark.parametrize("name", archspec.names())
def test_every_named_network_is_explained(name: str) -> None:
    program = resolve(load(name))
    found = list(blocks(program))
    assert sum(block.name.startswith("block") for block in found) >= 1
    spatial = [line for block in found for line in block.lines if line.axes]
    known = named()[name]
    assert {line.form for line in spatial} <= set(known.forms)
    assert all(len(line.axes) == 3 and line.row is not None for line in spatial)
    texts = [text for block in found for line in block.lines for text in (line.text, *line.axes)]
    assert not any("{" in text or "None" in text or "=" in text for text in texts)


def test_swin_is_said_in_words() -> None:
    found = explained("swin_tiny")
    text = text_of(found)
    assert "local attention over 7x7 windows" in text
    assert "local attention over shifted 7x7 windows" in text
    block = next(block for block in found.blocks if block.name == "block B")
    assert block.where == "stage 1 (block 2), stage 2 (block 2), stage 3 (blocks 2, 4, 6)"
    line = block.lines[2]
    assert str(line.row) == "Local attention"
    assert line.axes == (
        "each position reads the 7x7 window it stands in (shifted 3x3), in its own channel",
        "every position has weights of its own, from one predictor, shared within 3 heads of 32 channels",
        "weights are predicted from pairs of positions: query times key, after a softmax, plus a bias for each "
        "relative position (Eq. 21)",
    )
    assert found.equals == ("swin_tiny",)
    assert [stage.depth for stage in found.stages] == [0, 2, 2, 6, 2, 0]
    assert [placement.nodes for placement in found.placements] == [("Local ViT",), ("ViT",)]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("layer_mlp", "MLP"),
        ("layer_low_rank_mlp", "Low-rank MLP"),
        ("layer_convolution", "Conv."),
        ("layer_pointwise_convolution", "1x1 Conv."),
        ("layer_token_mixing", "Channel-separable MLP"),
        ("layer_attention", "Attention"),
        ("layer_local_attention", "Local attention"),
        ("layer_depthwise_convolution", "Depth-wise conv."),
        ("layer_dynamic_depthwise_convolution", "Dynamic depth-wise conv."),
        ("layer_inhomogeneous_dynamic_convolution", "Inhomogeneous dynamic conv."),
        ("layer_criss_cross_attention", "Local attention"),
        ("layer_pyramid", "Conv., of low rank over space"),
    ],
)
def test_single_layers_are_their_rows_of_table_1(name: str, row: str) -> None:
    assert str(row_of(max(named()[name].forms, key=named()[name].forms.__getitem__))) == row


def test_rows_of_table_1_are_all_different() -> None:
    assert len(set(ROWS.values())) == len(ROWS) == 10


def test_a_renamed_copy_is_the_named_network_and_a_changed_one_is_near_it() -> None:
    text = network_yaml(load("dw_conv_nano")).replace("name: dw_conv_nano", "name: mine")
    same = explain(network_from(read_text(text, "mine")), named())
    assert same.equals == ("dw_conv_nano",)
    changed = explain(network_from(read_text(text.replace("sliding: 7", "sliding: 5"), "mine")), named())
    assert changed.equals == ()
    first = changed.nearest[0]
    assert (first.near.name, first.near.axis_edits, first.near.other_edits) == ("dw_conv_nano", 1, 0)
    assert str(first.edits[0]) == "space: sliding 7x7 → sliding 5x5"


@pytest.mark.parametrize("name", ["swin_tiny", "mixer_nano", "resnet_50", "hrnet_w18", "layer_convolution"])
def test_the_nearest_are_the_nearest_of_all(name: str) -> None:
    """The bound saves alignments and must not lose a network."""
    found = named()[name].signature
    every = {other: distance(found, each.signature) for other, each in named().items() if other != name}
    best = sorted(every.items(), key=lambda item: (item[1], item[0]))[:3]
    assert [(near.name, (near.axis_edits, near.other_edits)) for near in nearest(found, named())] == best
    for other, (axis_edits, _) in every.items():
        assert at_least(found, named()[other].signature) <= axis_edits


def test_words_follow_the_axes() -> None:
    """Each value of an axis is said differently."""
    (op,) = [op for op in ir.walk(resolve(load("layer_depthwise_convolution")).ops) if _mixes(op)]
    assert connection_name(op) == "depth-wise convolution 3x3"
    grouped = replace(op, channels="groups", channel_groups=4, share_channels="none", kernels=1)
    assert connection_name(grouped) == "grouped convolution 3x3"
    assert "its group of 4 channels" in connection_words(grouped)[0]
    shared = replace(op, share_channels="all", kernels=1)
    assert "shared by all channels" in connection_words(shared)[1]
    assert str(row_of(form_of(grouped))) == "nearest Conv., with channels: full → groups"


def _mixes(op: ir.Op) -> bool:
    return isinstance(op, ir.Connect) and not isinstance(op.space, ir.Point)


def test_hrnet_repeats_itself_in_a_few_lines() -> None:
    found = [block for block in blocks(resolve(load("hrnet_w18"))) if block.name.startswith("block")]
    assert any(line.text == "4 times:" for line in found[2].lines)
    assert any(line.text == "each of stream 0 and stream 1:" for line in found[2].lines)


def test_the_command_prints_text_and_json(tmp_path: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(app, ["explain", "d_dw_conv_nano"])
    assert result.exit_code == 0, result.output
    for words in ("dynamic depth-wise convolution 3x3", "one set per image (homogeneous)", "Dynamic DW-S Conv."):
        assert words in result.stdout
    data = json.loads(runner.invoke(app, ["explain", "d_dw_conv_nano", "--json"]).stdout)
    assert data["equals"] == ["d_dw_conv_nano"]
    assert data["cost"]["params"] == archspec.cost("d_dw_conv_nano").params
    assert len(data["nearest"]) == 3
