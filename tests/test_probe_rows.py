"""Table 1 of the paper, measured: by probing compiled layers."""

import pytest
from torch import Tensor, nn

import archspec
from archspec.probe.facts import Space
from archspec.schema.network import Network

# (named layer, module in it) -> row of Table 1 as arXiv 2106.04263 has it (sections 2.3 to 2.5, Eq. 8 to 15):
# (row, spatial sparsity, channels separate, sharing, weights, representation of the window)
TABLE_1 = {
    "layer_mlp": ("MLP", "none", "none", "none", "static", "vector"),
    "layer_low_rank_mlp": ("Low-rank MLP", "low rank", "low rank", "none", "static", "vector"),
    "layer_convolution": ("Conv.", "non-local", "none", "positions", "static", "vector"),
    "layer_pointwise_convolution": ("1x1 Conv.", "full", "none", "positions", "static", "vector"),
    "layer_token_mixing": ("Channel-separable MLP", "none", "yes", "channels", "static", "vector"),
    "layer_attention": ("Attention", "none", "yes", "channels", "dynamic pairwise", "set"),
    "layer_local_attention": ("Local attention", "non-local", "yes", "channels", "dynamic pairwise", "set"),
    "layer_depthwise_convolution": ("Depth-wise conv.", "non-local", "yes", "positions", "static", "vector"),
    "layer_dynamic_depthwise_convolution": (
        "Dynamic depth-wise conv.", "non-local", "yes", "positions", "dynamic homogeneous", "vector",
    ),
    "layer_inhomogeneous_dynamic_convolution": (
        "Inhomogeneous dynamic conv.", "non-local", "yes", "channels", "dynamic inhomogeneous", "vector",
    ),
    "layer_separable_mlp": ("Separable MLP", "none", "Kronecker", "channels", "static", "vector"),
    "layer_pyramid": ("Pyramid", "low rank", "none", "positions", "static", "vector"),
    "layer_criss_cross_attention": (
        "Criss-cross attention", "Kronecker of x and y axes", "yes", "channels", "dynamic pairwise", "set",
    ),
}  # fmt: skip
EDITS = {"layer_separable_mlp": 1}
"""Axis edits to the nearest connect step: a Kronecker product takes two."""


def layer(name: str) -> nn.Module:
    return archspec.compile(name, seed=0).get_submodule("stages.0.blocks.0")


@pytest.mark.parametrize("name", TABLE_1)
def test_the_rows_of_table_1_are_what_compiled_layers_measure(name: str) -> None:
    found = archspec.probe(layer(name), (8, 8, 16), layout="nhwc")
    row = found.row
    assert row is not None
    measured = (row.layer, row.spatial, row.channel, row.sharing, row.weights, row.representation)
    assert (measured, row.differences) == (TABLE_1[name], ())
    assert found.nearest is not None
    assert len(found.nearest.edits) == EDITS.get(name, 0)


def test_interlaced_attention_is_measured_factor_by_factor() -> None:
    first, second = layer("layer_interlaced_attention").children()
    grid, window = (archspec.probe(each, (8, 8, 16), layout="nhwc") for each in (first, second))
    assert grid.row is not None
    assert (grid.row.layer, grid.row.differences) == ("Interlaced attention", ())
    assert str(grid.space) == "grid 4x4"
    assert window.row is not None
    assert window.row.layer == "Local attention"


def test_multi_scale_parallel_convolution_is_measured_branch_by_branch() -> None:
    """Eq. 17: its branches have rank N, N/4, N/16 and N/64 over the N positions."""
    spec = archspec.load("multi_scale_conv_nano").model_dump(mode="json", exclude_none=True)
    spec["input"]["size"] = 16
    spec["stem"][0]["connect"]["width"] = 4
    spec["stages"] = [{"width": 4, "depth": 1, "block": "unit"}]
    del spec["blocks"]["halve"]
    network = archspec.compile(Network.model_validate(spec), seed=0)
    branches = network.get_submodule("stages.0.blocks.0.0.0").children()
    found = [archspec.probe(each, (16, 16, 4), layout="nhwc") for each in branches]
    rows = [(each.row.layer, each.ties.positions, each.row.spatial) for each in found[:3] if each.row is not None]
    pyramid = ("Pyramid", "windows", "low rank")
    assert rows == [("Conv.", "offsets", "non-local"), pyramid, pyramid]
    assert [each.space for each in found[1:3]] == [Space("halo", (n, n), halo=(n, n)) for n in (2, 4)]
    ranks = [f"W has rank {rank} over the 256 incoming positions" for rank in (64, 16, 4)]
    assert [each.notes[0] for each in found[1:]] == ranks


def test_a_wrong_kernel_changes_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    right = layer("layer_depthwise_convolution")
    kernel = next(part for part in right.modules() if hasattr(part, "kernel")).kernel

    def wrong(op: object, parameters: object, x: Tensor, training: bool) -> Tensor:
        y: Tensor = kernel(op, parameters, x, training)  # type: ignore[operator]
        return y + y.mean(-1, keepdim=True)

    for part in right.modules():
        if hasattr(part, "kernel"):
            monkeypatch.setattr(part, "kernel", wrong)
    found = archspec.probe(right, (8, 8, 16), layout="nhwc")
    assert found.row is not None
    assert (found.row.layer, found.row.exact) != ("Depth-wise conv.", True)
