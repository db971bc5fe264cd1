"""Layers as written against their normal form: equal meanings are equal ops, and what cannot stand says why.

What is illegal wherever it stands is in test_legality; here is what depends on the options, or on the map.
"""

from typing import Any

import pytest

from archspec import ir
from archspec.ir import Connect, Feature, Full, Point, Reduced, Sliding, Window
from archspec.normal import Illegal, Place, width_of
from archspec.schema.layer import StageRatio, WidthDivide, WidthRatio
from archspec.testing import Layer

MAP = Feature(6, 8, 12)
TOKEN = Feature(6, 8, 12, class_tokens=1)
ROW, ONE = Feature(1, 8, 12), Feature(1, 1, 12)


def op(space: Any, source: Feature = MAP, weights: Any = "static", **more: Any) -> Connect:
    sharing = {"positions": more.pop("positions", "none"), "channels": more.pop("share", {"groups": 3})}
    channels = more.pop("channels", "separate")
    written = {"connectivity": {"space": space, "channels": channels}, "sharing": sharing, "weights": weights}
    (found,) = Layer(written | more, source).connections
    return found


def attention(**options: Any) -> dict[str, Any]:
    return {"attention": options}


# ------------------------------------------------------------------ one meaning, one op

HALO = {"size": [3, 4], "halo": [1, 0]}


@pytest.mark.parametrize(
    ("space", "source", "weights", "expected"),
    [
        ({"halo": HALO}, MAP, "static", Window((3, 4), (0, 0), False, False, (1, 0))),
        ({"halo": HALO | {"padding": "masked"}}, MAP, "attention", Window((3, 4), (0, 0), True, False, (1, 0))),
        # Only attention masks; others read zeros beyond the map, which is nothing.
        ({"halo": HALO | {"padding": "masked"}}, MAP, "static", Window((3, 4), (0, 0), False, False, (1, 0))),
        ({"halo": {"size": [3, 4], "halo": 0}}, MAP, "attention", Window((3, 4), (0, 0), False)),
        ({"halo": {"size": 9, "halo": 0}}, MAP, "attention", Full()),
        ({"halo": {"size": 9, "halo": 1}}, MAP, "attention", Window((6, 8), (0, 0), False, False, (1, 1))),
        ({"halo": {"size": 1, "halo": 0}}, MAP, "static", Point()),
        ({"grid": [3, 4]}, MAP, "attention", Window((3, 4), (0, 0), False, True)),
        ({"grid": {"size": [3, 4], "padding": "masked"}}, MAP, "attention", Window((3, 4), (0, 0), False, True)),
        ({"grid": {"size": [4, 4], "padding": "masked"}}, MAP, "attention", Window((4, 4), (0, 0), True, True)),
        ({"grid": [6, 9]}, MAP, "attention", Full()),
        # A side that is whole, or of one position, is not interlaced; with only such sides it is a window.
        ({"grid": [6, 1]}, MAP, "attention", Window((6, 1), (0, 0), False)),
        ({"grid": [6, 4]}, MAP, "attention", Window((6, 4), (0, 0), False, True)),
        ({"grid": 1}, MAP, "static", Point()),
        ({"grid": 1}, MAP, "attention", Window((1, 1), (0, 0), False)),
        ("cross", ROW, "static", Full()),
        ("cross", ONE, "static", Point()),
        ("cross", ONE, "attention", Full()),
        ({"pooled": 2}, MAP, "attention", Reduced((2, 2), "convolution", True)),
        ({"pooled": {"ratio": 1, "by": "mean", "norm": "none"}}, MAP, "attention", Full()),
        ({"pooled": {"ratio": 1, "by": "mean"}}, MAP, "attention", Reduced((1, 1), "mean", True)),
        ({"pooled": 1}, MAP, "attention", Reduced((1, 1), "convolution", True)),
        # Nothing is looked up by offset: how large the tables would be means nothing.
        ({"full": {"largest": 9}}, MAP, "attention", Full()),
        ({"full": {"largest": 9}}, MAP, attention(relative_bias=True), Full((9, 9))),
        ({"full": {"largest": 9}}, MAP, attention(centre=True), Full((9, 9))),
        ({"full": {"largest": [6, 8]}}, MAP, attention(centre=True), Full()),
        ({"full": {"largest": 9}}, ONE, "static", Point()),
        ({"sliding": 1}, MAP, "attention", Window((1, 1), (0, 0), False)),
        ({"sliding": 1}, MAP, "outlook", Sliding((1, 1), (1, 1), (1, 1), (0, 0))),
    ],
)
def test_spaces(space: Any, source: Feature, weights: Any, expected: ir.Space) -> None:
    assert op(space, source, weights).space == expected


def test_tables_over_offsets_keep_their_size_on_one_position() -> None:
    assert op({"full": {"largest": 9}}, ONE, positions="offsets").weight_shape == (3, 17, 17)


def test_one_halo_window_has_nothing_to_share_with() -> None:
    space = {"halo": {"size": 8, "halo": 1}}
    assert op(space) == op(space, positions="windows")
    assert op(space).share_positions == "windows"


def test_a_bare_word_is_its_default_options() -> None:
    assert op("full", weights={"static": {}}) == op("full")
    assert op({"sliding": 3}, weights={"outlook": {}}) == op({"sliding": 3}, weights="outlook")


def test_outlook_windows_further_apart_than_the_map_are_one() -> None:
    far = op({"sliding": 3}, weights={"outlook": {"stride": 100}})
    assert far == op({"sliding": 3}, weights={"outlook": {"stride": [6, 8]}})
    assert far.weights.grid(MAP) == (1, 1)  # type: ignore[union-attr]


def test_queries_from_the_class_token_give_one_position() -> None:
    found = op("full", TOKEN, attention(queries="class_token"))
    assert (found.target, found.token_asks) == (Feature(1, 1, 12), True)
    assert not op("full", TOKEN, "attention").token_asks


def test_one_channel_is_separate_to_predicted_weights_and_full_to_static_ones() -> None:
    single, more = Feature(2, 3, 1), {"positions": "offsets", "share": "none"}
    assert op("point", single, "pooled", channels="full", **more) == op("point", single, "pooled", **more)
    assert op("point", single, channels="full", **more) == op("point", single, **more)


# ------------------------------------------------------------------ what cannot stand

STRIDE = {"sliding": {"size": 3, "stride": 2}}
SOFTMAX = {"static": {"normalise": "softmax"}}


@pytest.mark.parametrize(
    ("space", "source", "weights", "rule", "found", "nearest"),
    [
        (STRIDE, MAP, "attention", "stride must be 1, and padding same", "stride 2", "size: [3, 3]"),
        (
            {"sliding": {"size": 3, "padding": "none"}},
            MAP,
            "attention",
            "padding same",
            "padding none",
            "size: [3, 3]",
        ),
        (
            {"sliding": {"size": 3, "dilation": 2, "stride": 3}},
            MAP,
            "outlook",
            "stride must be 1, dilation 1",
            "stride 3, dilation 2",
            "size: [3, 3]",
        ),
        ({"sliding": [4, 3]}, MAP, "outlook", "its size must be odd", "4x3", "size: [3, 3]"),
        ({"sliding": {"size": 3, "padding": "none"}}, MAP, "local", "same or end", "padding none", "padding: end"),
        ({"pooled": [3, 9]}, MAP, "static", "at least one position", "3x9 on a map of 6x8", "ratio: [3, 8]"),
        ({"pooled": 2}, MAP, attention(relative_bias=True), "no relative bias", "relative_bias", "space: full"),
        ({"pooled": 2}, MAP, attention(centre=True, post_convolution=3), "no relative", "centre, post_", "space: full"),
        ({"pooled": 2}, MAP, attention(pre_convolution={"size": 3}), "no relative", "pre_", "weights: attention"),
        ("cross", MAP, attention(post_convolution=3), "needs a rectangle", "post_convolution 3", "post_convolution: 0"),
        ({"full": {"largest": [9, 7]}}, MAP, attention(relative_bias=True), "tables", "9x7", "largest: [9, 8]"),
        ("cross", TOKEN, "static", "class token has no place", "cross", "space: full"),
        ({"pooled": 2}, TOKEN, "attention", "class token has no place", "pooled", "space: full"),
        ({"halo": HALO}, TOKEN, "attention", "class token has no place", "halo", "space: full"),
        ({"grid": 2}, TOKEN, "attention", "class token has no place", "grid", "space: full"),
        ({"sliding": 3}, TOKEN, "attention", "class token has no place", "sliding", "space: full"),
        ("full", TOKEN, attention(centre=True), "class token has no place", "full, centre", "space: full"),
        ("full", TOKEN, attention(pre_convolution={"size": 1}), "class token has no place", "pre_", "space: full"),
        ("full", TOKEN, attention(post_convolution=1), "class token has no place", "post_", "space: full"),
        ("full", MAP, attention(queries="class_token"), "need a class_token step", "no class token", "queries: all"),
        ("cross", MAP, attention(queries="class_token"), "the space must be full", "cross", "space: full"),
        ("point", MAP, SOFTMAX, "over one position", "point", "normalise: none"),
        ({"sliding": {"size": 1, "stride": 2}}, MAP, SOFTMAX, "over one position", "sliding", "normalise: none"),
    ],
)
def test_what_cannot_stand_says_why(
    space: Any, source: Feature, weights: Any, rule: str, found: str, nearest: str
) -> None:
    with pytest.raises(Illegal) as caught:
        op(space, source, weights)
    assert rule in caught.value.rule
    assert found in caught.value.found
    assert any(nearest in choice for choice in caught.value.nearest), caught.value.nearest


@pytest.mark.parametrize("weights", [SOFTMAX, {"pooled": {"normalise": "softmax"}}])
def test_a_softmax_needs_neighbours_side_by_side(weights: Any) -> None:
    with pytest.raises(Illegal, match="share weights over offsets"):
        op("full", weights=weights, positions="offsets")
    op({"sliding": 3}, weights=weights, positions="offsets")
    op({"window": 3}, weights=weights, positions="windows")


def test_a_softmax_needs_separate_channels() -> None:
    with pytest.raises(Illegal, match="channels must be separate"):
        op({"sliding": 3}, weights=SOFTMAX, channels="full", share="none")


# ------------------------------------------------------------------ widths


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (None, 12),
        (5, 5),
        ("stage", 20),
        ("classes", 7),
        (WidthRatio(ratio=0.25), 3),
        (WidthDivide(divide=3), 4),
        (StageRatio(stage_ratio=1.5), 30),
    ],
)
def test_widths(width: Any, expected: int) -> None:
    assert width_of(width, Place("layer", MAP, 20, "normal", classes=7)) == expected


@pytest.mark.parametrize(
    ("width", "rule", "found"),
    [
        (WidthDivide(divide=5), "must divide", "12 channels in 5 parts"),
        (WidthRatio(ratio=0.1), "whole number", "0.1 x 12 channels = 1.2"),
        (StageRatio(stage_ratio=0.03), "whole number", "0.03 x 20 channels = 0.6"),
        ("classes", "inside a network", "classes"),
    ],
)
def test_widths_that_do_not_come_out(width: Any, rule: str, found: str) -> None:
    with pytest.raises(Illegal) as caught:
        width_of(width, Place("layer", MAP, 20, "normal"))
    assert rule in caught.value.rule
    assert found in caught.value.found


def test_divisors_are_offered() -> None:
    with pytest.raises(Illegal) as caught:
        width_of(WidthDivide(divide=5), Place("layer", MAP, 20, "normal"))
    assert set(caught.value.nearest) == {"4", "6", "3"}
