"""What modules are, measured: the axes one by one; ties and holes planted by hand."""

import pytest
import torch
import yaml
from torch import Tensor, nn

import archspec
from archspec.errors import ProbeError
from archspec.ir import Connect, Feature, Point
from archspec.module import Layer as Compiled
from archspec.probe.facts import Facts, Footprint, Hole, Map, NearestSpec, Space
from archspec.probe.spaces import fit
from archspec.testing import Layer

# ------------------------------------------------------------------ the axes, one by one


@pytest.mark.parametrize(
    ("module", "space"),
    [
        (nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4), "sliding 3x3, dilation 2x2"),
        (nn.Conv2d(4, 4, (1, 5), padding=(0, 2), groups=4), "sliding 1x5"),
        (nn.Conv2d(4, 6, 2, stride=2), "sliding 2x2, stride 2x2"),
        (nn.AdaptiveAvgPool2d(1), "full"),
        (nn.GELU(), "point"),
    ],
)
def test_spaces_of_torch_modules(module: nn.Module, space: str) -> None:
    torch.manual_seed(0)
    assert str(archspec.probe(module, (4, 12, 12)).space).replace("mean", "full") == space


def test_windows_halos_and_grids_are_read_off_footprints() -> None:
    def prints(reads: object) -> list[Footprint]:
        every = [(r, c) for r in range(12) for c in range(12)]
        return [Footprint(i, tuple(j for j in every if reads(i, j))) for i in every]  # type: ignore[operator]

    def window(i: tuple[int, int], j: tuple[int, int]) -> bool:
        return all((a - 2) // 4 == (b - 2) // 4 for a, b in zip(i, j, strict=True))

    def halo(i: tuple[int, int], j: tuple[int, int]) -> bool:
        return all(4 * (a // 4) - 1 <= b < 4 * (a // 4) + 5 for a, b in zip(i, j, strict=True))

    def grid(i: tuple[int, int], j: tuple[int, int]) -> bool:
        return all(a % 3 == b % 3 for a, b in zip(i, j, strict=True))

    here = Map(12, 12, 1)
    assert fit(prints(window), here, here)[0].space == Space("window", (4, 4), shift=(2, 2))
    assert fit(prints(halo), here, here)[0].space == Space("halo", (4, 4), halo=(1, 1))
    assert fit(prints(grid), here, here)[0].space == Space("grid", (4, 4))


def test_groups_and_shuffled_groups() -> None:
    torch.manual_seed(0)
    plain = archspec.probe(nn.Conv2d(8, 8, 3, padding=1, groups=2), (8, 8, 8)).channels
    assert (plain.kind, plain.groups, plain.permuted) == ("groups", ((0, 1, 2, 3), (4, 5, 6, 7)), False)
    mixed = nn.Sequential(nn.ChannelShuffle(2), nn.Conv2d(8, 8, 3, padding=1, groups=2))
    shuffled = archspec.probe(mixed, (8, 8, 8)).channels
    assert (shuffled.kind, shuffled.permuted) == ("groups", True)


def test_activations_and_norms_around_a_convolution_leave_it_static() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8)
    norm.running_mean.normal_()
    found = archspec.probe(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), norm, nn.ReLU()), (8, 12, 12))
    assert (found.dependence.words, found.dependence.elementwise, found.affine) == ("static", True, False)
    assert (found.row and found.row.layer, found.ties.positions) == ("Conv.", "offsets")


# ------------------------------------------------------------------ planted ties and holes


def depthwise_with(change: object) -> nn.Conv2d:
    torch.manual_seed(0)
    module = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
    with torch.no_grad():
        change(module.weight)  # type: ignore[operator]
    return module


def test_two_channels_that_share_a_kernel_are_named() -> None:
    found = archspec.probe(depthwise_with(lambda weight: weight[5].copy_(weight[2])), (8, 9, 9))
    assert (found.ties.channels, found.ties.channel_groups) == ("none", ((2, 5),))
    assert (found.row and found.row.layer) == "Depth-wise conv."


def test_a_channel_that_reads_nothing_is_named() -> None:
    found = archspec.probe(depthwise_with(lambda weight: weight[3].zero_()), (8, 9, 9), redraw="none")
    assert Hole("channel", channels=(3,)) in found.holes


class Cut(nn.Module):
    """A convolution from which an output position, an input position and one entry are cut off."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(4, 4, 3, padding=1, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        keep_input, keep_output = torch.ones(2, 9, 9, dtype=x.dtype).unbind()
        keep_input[2, 3] = 0
        keep_output[6, 6] = 0
        return self.convolution(x * keep_input) * keep_output


def test_positions_cut_off_are_named() -> None:
    found = archspec.probe(Cut(), (4, 9, 9))
    assert str(found.space) == "sliding 3x3"
    assert set(found.holes) == {Hole("output", output=(6, 6)), Hole("input", input=(2, 3))}


class OddPosition(nn.Module):
    """A depth-wise convolution whose kernel is another one at one position."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.usual, self.odd = (nn.Conv2d(4, 4, 3, padding=1, groups=4) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        here = torch.zeros(9, 9, dtype=torch.bool)
        here[4, 1] = True
        return torch.where(here, self.odd(x), self.usual(x))


def test_a_position_with_a_kernel_of_its_own_is_named() -> None:
    found = archspec.probe(OddPosition(), (4, 9, 9))
    assert (found.ties.positions, found.ties.odd_positions) == ("offsets", ((4, 1),))


class OneDynamicHead(nn.Module):
    """Four heads over all positions, of which one has weights of queries and keys and the others parameters."""

    def __init__(self, dynamic: int, project: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dynamic = dynamic
        self.weights = nn.Parameter(torch.randn(4, 36, 36))
        self.query, self.key = nn.Linear(16, 4), nn.Linear(16, 4)
        self.output = nn.Linear(16, 16) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1, 2)
        weights = self.weights.expand(len(x), -1, -1, -1).clone()
        weights[:, self.dynamic] = (self.query(tokens) @ self.key(tokens).mT).softmax(-1)
        y = weights @ tokens.unflatten(-1, (4, 4)).transpose(1, 2)
        return self.output(y.transpose(1, 2).flatten(2)).unflatten(1, (6, 6))


@pytest.mark.parametrize("head", [0, 2])
def test_weights_that_change_in_one_head_only_are_named(head: int) -> None:
    found = archspec.probe(OneDynamicHead(head, project=False), (6, 6, 16), layout="nhwc")
    assert found.dependence.channels == tuple(range(4 * head, 4 * head + 4))
    assert found.dependence.words == "dynamic pairwise"


def test_one_dynamic_head_behind_a_projection_is_counted() -> None:
    found = archspec.probe(OneDynamicHead(1, project=True), (6, 6, 16), layout="nhwc")
    assert (found.dependence.channels, found.dependence.dimensions) == (None, 4)


# ------------------------------------------------------------------ Appendix C


@pytest.mark.parametrize(
    ("name", "kind", "period"),
    [
        ("neighbourhood_attention_nano", "any", (1, 1)),
        ("dw_conv_nano", "any", (1, 1)),
        ("swin_nano", "blocks", (4, 4)),
        ("mixer_nano", "none", None),
    ],
)
def test_translation_equivariance(name: str, kind: str, period: tuple[int, int] | None) -> None:
    found = first_spatial(name).equivariance
    assert (found.kind, found.period) == (kind, period)


def first_spatial(name: str) -> Facts:
    network = archspec.compile(name, seed=0)
    for part in network.modules():
        op = getattr(part, "op", None)
        if (
            isinstance(part, Compiled)
            and isinstance(op, Connect)
            and "stages" in op.path
            and not isinstance(op.space, Point)
        ):
            return archspec.probe(part, (op.source.height, op.source.width, op.source.channels), layout="nhwc")
    raise AssertionError(name)


# ------------------------------------------------------------------ limits


def test_what_cannot_be_told_apart_is_said() -> None:
    torch.manual_seed(0)
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(36, 72), nn.GELU(), nn.Linear(72, 36), nn.Unflatten(2, (6, 6)))
    found = archspec.probe(tokens, (4, 6, 6))
    assert (found.dependence.words, found.row) == ("unknown", None)
    assert any("could not be told apart" in note for note in found.notes)


@pytest.mark.parametrize(
    ("module", "shape", "words"),
    [
        (nn.Conv2d(4, 4, 3), (5, 8, 8), "does not run on maps"),
        (nn.Conv2d(4, 4, 3), (4,), "takes shapes"),
        (nn.Dropout(), (4, 8, 8), None),
        (nn.LSTM(4, 4), (4, 8, 8), "does not run on maps"),
    ],
)
def test_what_is_no_map_of_maps_is_refused_in_words(
    module: nn.Module, shape: tuple[int, ...], words: str | None
) -> None:
    if words is None:
        assert archspec.probe(module, shape).space.kind == "point"
        return
    with pytest.raises(ProbeError, match=words):
        archspec.probe(module, shape)


def test_a_module_is_left_as_it_was() -> None:
    module = nn.Conv2d(4, 4, 3, padding=1).train()
    before = module.weight.detach().clone()
    archspec.probe(module, (4, 8, 8), redraw="all")
    assert module.training
    assert torch.equal(before, module.weight)
    assert module.weight.requires_grad


def test_the_nearest_spec_resolves_to_the_same_measurement() -> None:
    layer = archspec.compile("layer_local_attention", seed=0).get_submodule("stages.0.blocks.0")
    found = archspec.probe(layer, (8, 8, 16), layout="nhwc")
    assert isinstance(found.nearest, NearestSpec)
    written = yaml.safe_load(found.nearest.yaml)["connect"]
    (op,) = Layer(written, Feature(8, 8, 16)).connections
    assert str(op.space) == "window(4x4, shift 0x0)"
