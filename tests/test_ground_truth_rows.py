"""The table of archspec/zoo/README.md against the rows of the project's ground truth and the files; closed forms."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import archspec
from archspec.costs import op_costs
from archspec.resolve import resolve
from archspec.schema.network import Input
from archspec.search.space import count, load_space, named_points

ROOT = Path(__file__).parents[1]
README = (ROOT / "archspec" / "zoo" / "README.md").read_text()

# Every row of the ground truth of arXiv 2106.04263 that is a network, a layer, a source of weights or an idea.
ROWS = {
    "network": """
        resnet-38-basic resnet-72-basic resnet-106-basic resnet-50 resnet-101 resnet-152 hrnet-w18 hrnet-w32
        hrnet-w48 mixer-b16 mixer-l16 resmlp-12 resmlp-24 resmlp-36 gmlp-ti gmlp-s gmlp-b vit-b16-384
        vit-l16-384 deit-s deit-b deit-b-384 pvt-s pvt-m pvt-l swin-t swin-b dw-conv-t dw-conv-b d-dw-conv-t
        d-dw-conv-b i-dynamic-t i-dynamic-b swin-t-static-window swin-t-static-shared dw-conv-t-chshare
        swin-t-norpb swin-t-384-w7 swin-t-384-w12 dw-t-384-k7 dw-t-384-k12 swin-t-se dw-t-se swin-t-ln
        swin-t-bn swin-t-ccbn dw-t-ln dw-t-bn dw-t-ccbn dw-t-plus-dw dw-t-plus-dw-se volo-d1 volo-d1-localsa
        dw-conv-d1 svt-s dw-conv-s swin-b-22k dw-b-22k d-dw-b-22k
    """,
    "sweep": """
        swin-t-cpg1 swin-t-cpg2 swin-t-cpg3 swin-t-cpg4 swin-t-cpg6 swin-t-cpg8 swin-t-cpg12 swin-t-cpg16
        swin-t-cpg24 swin-t-cpg32 swin-t-cpg48 swin-t-cpg96
    """,
    "layer": """
        layer-mlp layer-lr-mlp layer-conv layer-conv1x1 layer-chsep-mlp layer-attention layer-local-attention
        layer-dw layer-d-dw layer-i-dw layer-sep-mlp layer-pyramid layer-ms-conv layer-ccnet layer-isa
    """,
    "weight-source": """
        weight-inhomogeneous weight-dot-product weight-rel-pos weight-static-plus-dynamic weight-post-conv
        weight-pre-conv weight-pre-conv-general weight-homogeneous
    """,
    "graph-system": """
        graph-res2net graph-mobilenetv1 graph-mobilenetv2 graph-efficientnet graph-xception graph-shufflenetv2
        graph-igc graph-involution graph-lightconv graph-resnext graph-senet
    """,
    "potential-study": """
        study-balance study-attn-maps study-dynamic-pointwise study-conv-style-mlp study-genet
        study-lite-hrnet study-equivariance
    """,
}
GROUP_WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 96)


def table() -> dict[str, tuple[tuple[str, ...], str]]:
    """Row -> (named points, remark)."""
    found = re.findall(r"^\| ([a-z0-9-]+) \| ((?:`\w+`(?:, )?)*) \| (.*) \|$", README, re.M)
    assert len({row for row, *_ in found}) == len(found)
    return {row: (tuple(re.findall(r"`(\w+)`", points)), remark.strip()) for row, points, remark in found}


@pytest.mark.parametrize("kind", ROWS)
def test_every_row_is_a_named_point_or_says_why_not(kind: str) -> None:
    rows = table()
    for row in ROWS[kind].split():
        points, remark = rows[row]
        assert points or remark, row
        assert set(points) <= set(archspec.names()), row


def test_the_table_has_no_other_rows_and_every_file_is_in_it() -> None:
    assert set(table()) == {row for rows in ROWS.values() for row in rows.split()}
    assert set(archspec.names()) == set(re.findall(r"`(\w+)`", README))


def test_rows_that_share_a_named_point_say_so() -> None:
    rows = table()
    for row, (points, remark) in rows.items():
        shared = [other for other, (theirs, _) in rows.items() if other != row and set(points) & set(theirs)]
        assert not shared or remark or any(rows[other][1] for other in shared), (row, shared)


# ------------------------------------------------------------------ Figure 3


def test_the_sweep_over_channels_per_head_is_one_search_space() -> None:
    space = load_space(ROOT / "search_spaces" / "figure3_heads.yaml")
    names = {
        f"{kind}swin_tiny_group_width_{width}" for kind in ("", "static_") for width in GROUP_WIDTHS if width != 32
    }
    assert count(space) == 2 * len(GROUP_WIDTHS)
    assert names | {"swin_tiny", "static_swin_tiny"} == set(named_points(space))


# ------------------------------------------------------------------ single layers

# On a map of 8 x 8 positions with 16 channels, windows of 3 x 3 or 4 x 4, 2 heads, 4 groups, rank 32.
N, C, K, W, HEADS, G, R = 64, 16, 9, 16, 2, 4, 32
PREDICTED = C * C // 4
CLOSED_FORMS = {
    "layer_mlp": ((N * C) ** 2, (N * C) ** 2),
    "layer_low_rank_mlp": (R * (N * C + N * C), R * (N * C + N * C)),
    "layer_convolution": (K * C * C, N * K * C * C),
    "layer_pointwise_convolution": (C * C, N * C * C),
    "layer_token_mixing": (N * N, N * N * C),
    "layer_attention": (3 * C * C, 3 * N * C * C + 2 * N * N * C),
    "layer_local_attention": (3 * C * C + 7 * 7 * HEADS, 3 * N * C * C + 2 * N * W * C),
    "layer_depthwise_convolution": (K * C, N * K * C),
    "layer_dynamic_depthwise_convolution": (
        PREDICTED + 2 * C // 4 + C // 4 * K * C + K * C,
        N * K * C + PREDICTED + K * C * C // 4,
    ),
    "layer_inhomogeneous_dynamic_convolution": (
        PREDICTED + C // 4 + 2 * C // 4 + C // 4 * K * G + K * G,
        N * (PREDICTED + C // 4 * K * G + K * C),
    ),
    "layer_separable_mlp": (N * N + C * C, N * N * C + N * C * C),
    "layer_pyramid": (K * C * 2 * C, N // 4 * K * C * 2 * C),
    # Row and column cross twice at the position itself: H + W places, one of them masked.
    "layer_criss_cross_attention": (3 * C * C, 3 * N * C * C + 2 * N * (8 + 8) * C),
    "layer_interlaced_attention": (6 * C * C, 6 * N * C * C + 4 * N * W * C),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_a_layer_costs_what_its_closed_form_says(name: str) -> None:
    program = resolve(archspec.load(name))
    rows = [row for row in op_costs(program) if row.path.startswith("stages.0.blocks.0.")]
    assert (sum(row.params for row in rows), sum(row.macs for row in rows)) == CLOSED_FORMS[name]


# ------------------------------------------------------------------ translation equivariance (Appendix C)


def moved_with_its_input(name: str, shift: int) -> bool:
    """Whether the first connection's output moves by `shift` with its input, away from the borders."""
    module = archspec.compile(name, seed=0).eval()
    layer = next(each for path, each in module.named_modules() if path.startswith("stages") and is_spatial(each))
    height, width, channels = layer.op.source.height, layer.op.source.width, layer.op.source.channels
    x = torch.randn(1, height, width, channels, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
        before, after = layer(x), layer(x.roll((shift, shift), dims=(1, 2)))
    inside = slice(4 + shift, -4)
    difference = (before.roll((shift, shift), dims=(1, 2)) - after)[:, inside, inside].abs().max()
    return bool(difference < 1e-4 * before.abs().max())


def is_spatial(module: torch.nn.Module) -> bool:
    space = getattr(getattr(module, "op", None), "space", None)
    return type(space).__name__ in ("Sliding", "Window")


@pytest.mark.parametrize(
    ("name", "shift", "expected"),
    [
        ("neighbourhood_attention_nano", 1, True),
        ("neighbourhood_attention_nano", 3, True),
        ("dw_conv_nano", 1, True),
        ("dw_conv_nano", 3, True),
        ("swin_nano", 1, False),
        ("swin_nano", 4, True),
    ],
)
def test_dense_windows_move_with_any_shift_and_tiled_ones_by_a_window(name: str, shift: int, expected: bool) -> None:
    assert moved_with_its_input(name, shift) is expected


# ------------------------------------------------------------------ token mixing that runs at other sizes


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("study_convolution_style_resmlp", (224, 160, (96, 128))), ("study_convolution_style_mixer", (32, 64, (24, 40)))],
)
def test_tables_over_offsets_make_token_mixing_run_at_other_sizes(name: str, sizes: tuple[Any, ...]) -> None:
    """One set of weights serves every size: the names and shapes of the parameters stay as they are."""
    networks = [archspec.load(name).model_copy(update={"input": Input(size=size)}) for size in sizes]
    state = archspec.compile(networks[0], seed=0).state_dict()
    for network in networks:
        module = archspec.compile(network, seed=1)
        module.load_state_dict(state)
        height, width = network.input.height_width
        images = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            logits = module.eval()(images)
        assert logits.shape == (1, network.classes)
        assert logits.isfinite().all()
