"""Facts planted into modules by hand, measured: in channels, in positions, far away, at borders, behind gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archspec
from archspec.errors import ProbeError
from archspec.probe.facts import Facts, Hole

Function = Callable[[Any, Tensor], Tensor]


class Made(nn.Module):
    """A module of one function of itself and the map; tensors given by name are its buffers, modules its parts."""

    def __init__(self, function: Function, **parts: Tensor | nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def depthwise(change: Callable[[Tensor], object] = lambda weight: None) -> nn.Conv2d:
    torch.manual_seed(0)
    module = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
    with torch.no_grad():
        change(module.weight)
    return module


def masked(module: nn.Module, position: tuple[int, int], channel: int | None = None) -> nn.Module:
    """A module on 9x9x8 maps of which one output position is cut off, in one channel or in all."""
    keep = torch.ones(8, 9, 9)
    keep[slice(None) if channel is None else channel, position[0], position[1]] = 0
    return Made(lambda self, x: self.inner(x) * self.keep, inner=module, keep=keep)


# ------------------------------------------------------------------ channels


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_two_channels_that_share_a_kernel_are_named_at_any_scale(scale: float) -> None:
    found = archspec.probe(depthwise(lambda weight: (weight[6].copy_(weight[1]), weight.mul_(scale))), (8, 9, 9))
    assert found.ties.channel_groups == ((1, 6),)


@pytest.mark.parametrize(
    "change",
    [lambda weight: weight[6].copy_(-weight[1]), lambda weight: weight[6].copy_(1.001 * weight[1])],
    ids=["sign", "nearly"],
)
def test_kernels_that_are_almost_one_are_not_one(change: Callable[[Tensor], object]) -> None:
    assert archspec.probe(depthwise(change), (8, 9, 9)).ties.channel_groups == ()


def test_kernels_of_other_sign_before_an_activation_are_not_one() -> None:
    module = nn.Sequential(depthwise(lambda weight: weight[6].copy_(-weight[1])), nn.GELU())
    found = archspec.probe(module, (8, 9, 9))
    assert (found.dependence.words, found.ties.channel_groups) == ("static", ())


@pytest.mark.parametrize("around", [nn.Identity(), nn.ReLU()], ids=["affine", "relu"])
@pytest.mark.parametrize("position", [(4, 4), (2, 6)])
def test_a_position_cut_off_in_one_channel_is_named(position: tuple[int, int], around: nn.Module) -> None:
    found = archspec.probe(nn.Sequential(masked(depthwise(), position, channel=5), around), (8, 9, 9))
    assert str(found.space) == "sliding 3x3"
    assert found.holes == (Hole("output", output=position, channels=(5,)),)


def test_a_position_cut_off_in_one_channel_of_a_convolution_is_named() -> None:
    torch.manual_seed(0)
    found = archspec.probe(masked(nn.Conv2d(8, 8, 3, padding=1), (2, 6), channel=5), (8, 9, 9))
    assert (found.holes, found.row and found.row.layer) == ((Hole("output", output=(2, 6), channels=(5,)),), "Conv.")


def test_the_middle_may_be_what_is_cut_off() -> None:
    found = archspec.probe(masked(depthwise(), (4, 4)), (8, 9, 9))
    assert found.holes == (Hole("output", output=(4, 4)),)
    assert (found.row and found.row.layer, found.channels.kind) == ("Depth-wise conv.", "separate")


class HeadsOfTwoWindows(nn.Module):
    """Neighbourhood attention: one head reads 3x3 positions, the other 7x7."""

    reads: Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query, self.key = nn.Linear(16, 16), nn.Linear(16, 16)
        places = torch.cartesian_prod(torch.arange(9), torch.arange(9))
        far = (places[:, None] - places).abs().amax(-1)
        self.register_buffer("reads", torch.stack([far <= 1, far <= 3]))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1, 2)
        query, key, value = (
            each.unflatten(-1, (2, 8)).transpose(1, 2) for each in (self.query(tokens), self.key(tokens), tokens)
        )
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=self.reads)
        joined: Tensor = y.transpose(1, 2).flatten(2)
        return joined.reshape(len(x), 9, 9, 16)


def test_heads_with_windows_of_their_own_are_parts() -> None:
    found = archspec.probe(HeadsOfTwoWindows(), (9, 9, 16), layout="nhwc")
    parts = {part.channels: (str(part.facts.space), part.facts.dependence.words) for part in found.parts}
    assert parts == {
        tuple(range(8)): ("sliding 3x3", "dynamic pairwise"),
        tuple(range(8, 16)): ("sliding 7x7", "dynamic pairwise"),
    }
    assert found.row is not None
    assert found.row.layer == "Local attention"


def test_a_partial_convolution_is_a_convolution_and_untouched_channels() -> None:
    torch.manual_seed(0)
    module = Made(
        lambda self, x: torch.cat([self.convolution(x[:, :4]), x[:, 4:]], 1), convolution=nn.Conv2d(4, 4, 3, padding=1)
    )
    found = archspec.probe(module, (16, 9, 9))
    parts = {part.channels: (str(part.facts.space), part.facts.channels.kind, part.reads) for part in found.parts}
    first, rest = tuple(range(4)), tuple(range(4, 16))
    assert parts == {first: ("sliding 3x3", "full", first), rest: ("point", "separate", rest)}
    assert found.row is None


# ------------------------------------------------------------------ positions


def test_a_far_away_edge_is_named() -> None:
    def function(self: Any, x: Tensor) -> Tensor:
        y = self.inner(x).clone()
        y[:, :, 1, 1] += 0.1 * x[:, :, 7, 8]
        return y

    found = archspec.probe(Made(function, inner=depthwise()), (8, 9, 9))
    assert found.holes == (Hole("extra", (1, 1), (7, 8)),)


@pytest.mark.parametrize("hole", [(17, 23), (0, 5), (39, 39)])
def test_a_hole_in_a_large_map_is_found_without_measuring_every_row(hole: tuple[int, int]) -> None:
    keep = torch.ones(40, 40)
    keep[hole] = 0
    module = Made(lambda self, x: self.inner(x) * self.keep, inner=depthwise(), keep=keep)
    found = archspec.probe(module, (8, 40, 40))
    assert found.holes == (Hole("output", output=hole),)
    assert found.evidence.positions < 400


@pytest.mark.parametrize(("size", "words"), [((4, 4), "causal"), ((1, 20), "causal")])
def test_a_causal_mask_is_seen(size: tuple[int, int], words: str) -> None:
    torch.manual_seed(0)

    def function(self: Any, x: Tensor) -> Tensor:
        query, key, value = self.project(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.output(y.transpose(1, 2).flatten(2))

    module = Made(function, project=nn.Linear(16, 48), output=nn.Linear(16, 16))
    found = archspec.probe(module, (size[0] * size[1], 16), layout="nlc", grid=size)
    assert (str(found.space), found.dependence.words, found.holes) == (words, "dynamic pairwise", ())


def test_weights_may_be_tied_inside_each_row_of_the_map() -> None:
    def function(self: Any, x: Tensor) -> Tensor:
        read = F.unfold(x, 3, padding=1).unflatten(2, (9, 9)).unflatten(1, (6, 9))
        return torch.einsum("bckhw,hck->bchw", read, self.kernels)

    found = archspec.probe(Made(function, kernels=normal(9, 6, 9)), (6, 9, 9))
    assert (str(found.space), found.ties.positions) == ("sliding 3x3", "rows")
    assert (found.equivariance.kind, found.equivariance.period) == ("axis", (0, 1))


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda self, x: self.weights * x.sum((2, 3), keepdim=True), "outputs"),
        (lambda self, x: (self.weights * x).sum((2, 3), keepdim=True).expand_as(x), "inputs"),
    ],
    ids=["outputs", "inputs"],
)
def test_all_entries_of_a_position_may_be_one(function: Function, kind: str) -> None:
    found = archspec.probe(Made(function, weights=normal(6, 6)), (4, 6, 6))
    assert (str(found.space), found.ties.positions, found.ties.channels) == ("full", kind, "all")


@pytest.mark.parametrize(
    ("mirror", "expected"), [((-1,), ("left-right",)), ((-2,), ("up-down",)), ((-1, -2), ("point",))]
)
def test_a_kernel_that_is_its_mirror_image_is_named(mirror: tuple[int, ...], expected: tuple[str, ...]) -> None:
    kernel = normal(8, 1, 3, 3)
    module = Made(lambda self, x: F.conv2d(x, self.kernel, padding=1, groups=8), kernel=kernel + kernel.flip(mirror))
    assert archspec.probe(module, (8, 9, 9)).ties.mirrored == expected
    assert archspec.probe(depthwise(), (8, 9, 9)).ties.mirrored == ()


def test_weights_that_repeat_every_second_position_move_by_two() -> None:
    def function(self: Any, x: Tensor) -> Tensor:
        row, column = torch.meshgrid(torch.arange(12) % 2, torch.arange(12) % 2, indexing="ij")
        read = F.unfold(x, 3, padding=1).unflatten(2, (12, 12)).unflatten(1, (6, 9))
        return torch.einsum("bckhw,hwck->bchw", read, self.kernels[2 * row + column])

    found = archspec.probe(Made(function, kernels=normal(4, 6, 9)), (6, 12, 12))
    assert (found.equivariance.kind, found.equivariance.period) == ("blocks", (2, 2))


@pytest.mark.parametrize(
    ("mode", "ring", "border"), [("circular", True, False), ("reflect", False, True), ("replicate", False, True)]
)
def test_what_a_convolution_does_at_the_border_is_named(mode: str, ring: bool, border: bool) -> None:
    torch.manual_seed(0)
    module = nn.Conv2d(6, 6, 3, padding=1, groups=6, padding_mode=mode)  # type: ignore[arg-type]
    found = archspec.probe(module, (6, 10, 10))
    assert (found.space.kind, found.space.size, found.space.cyclic) == ("sliding", (3, 3), ring)
    assert (found.ties.positions, found.ties.border, found.ties.odd_positions) == ("offsets", border, ())
    assert (found.equivariance.kind, found.row and found.row.layer) == ("any", "Depth-wise conv.")


# ------------------------------------------------------------------ what gradients do not show, and precision


@pytest.mark.parametrize(
    "function",
    [
        lambda self, x: x * x.mean((2, 3), keepdim=True).detach(),
        lambda self, x: x + x.roll(1, 2).detach(),
        lambda self, x: x + x.roll(1, 3).round(),
    ],
    ids=["detached gate", "detached neighbour", "rounded neighbour"],
)
def test_what_gradients_do_not_show_is_said(function: Function) -> None:
    assert any("gradient" in note for note in archspec.probe(Made(function), (6, 8, 8)).notes)


def test_gradients_show_all_of_a_convolution_with_an_activation() -> None:
    found = archspec.probe(nn.Sequential(depthwise(), nn.ReLU()), (8, 9, 9))
    assert not any("gradient" in note for note in found.notes)


@pytest.mark.parametrize("order", [0, 1], ids=["before", "after"])
def test_an_activation_that_switches_one_channel_off_makes_no_holes(order: int) -> None:
    torch.manual_seed(0)
    parts = [nn.ReLU(inplace=True), nn.Conv2d(1, 1, 3, padding=1)]
    found = archspec.probe(nn.Sequential(*parts[:: -1 if order else 1]), (1, 10, 10))
    assert (str(found.space), found.holes, found.dependence.words) == ("sliding 3x3", (), "static")
    assert found.ties.positions == "offsets"


class InSinglePrecision(nn.Module):
    """A convolution that asks for float32, of a kernel that is no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = normal(8, 1, 3, 3)
        self.kernel[6] = self.kernel[1]

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x.float(), self.kernel.to(torch.float32), padding=1, groups=8).to(x.dtype)


def test_a_module_that_asks_for_single_precision_is_measured_in_double() -> None:
    found = archspec.probe(InSinglePrecision(), (8, 9, 9))
    assert (found.affine, found.ties.channel_groups, found.holes) == (True, ((1, 6),), ())
    assert torch.get_default_dtype() == torch.float32


def test_a_module_in_half_precision_is_measured_in_double() -> None:
    found = archspec.probe(depthwise(lambda weight: weight[6].copy_(weight[1])).half(), (8, 9, 9))
    assert (found.affine, found.ties.channel_groups) == (True, ((1, 6),))


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Made(lambda self, x: F.dropout(x, 0.5)), "draws random numbers"),
        (Made(lambda self, x: x - x.mean(0, keepdim=True)), "mixes the images of a batch"),
        (Made(lambda self, x: x.sum()), "give a map"),
        (Made(lambda self, x: torch.fft.fft2(x)), "real numbers"),
        (nn.LazyConv2d(4, 3), "call it on one map first"),
    ],
    ids=["random", "batch", "number", "complex", "no weights yet"],
)
def test_what_cannot_be_measured_is_refused_in_words(module: nn.Module, words: str) -> None:
    with pytest.raises(ProbeError, match=words):
        archspec.probe(module, (4, 8, 8))


def test_facts_of_parts_are_plain_data() -> None:
    from dataclasses import asdict

    found: Facts = archspec.probe(HeadsOfTwoWindows(), (9, 9, 16), layout="nhwc")
    assert [part["facts"]["space"]["kind"] for part in asdict(found)["parts"]] == ["sliding", "sliding"]
