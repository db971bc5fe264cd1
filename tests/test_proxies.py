"""Proxies against what their formulas give by hand on networks of two matrices, and where they are refused."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from archspec.api import program_of
from archspec.costs import cost
from archspec.ir import Program
from archspec.resolve import resolve
from archspec.results.records import EpochRecord
from archspec.schema.load import network_from
from archspec.schema.source import read_text
from archspec.search.data.config import DataConfig
from archspec.search.data.load import open_data
from archspec.search.proxies.batches import training_batches
from archspec.search.proxies.canonical import canonical
from archspec.search.proxies.table import BY_NAME, CURVE_PROXIES, PROXIES

Array = NDArray[np.float64]


def program(*steps: str, head: str = "{pool: mean, bias: false}") -> Program:
    """y = V steps(x) on an image of one position and three colours."""
    listed = "".join(f"\n    - {step}" for step in steps)
    text = f"""
archspec: 1
name: two_matrices
input: {{size: 1, channels: 3}}
classes: 2
stages: [{{width: 3, depth: 1, block: only}}]
head: {head}
blocks:
  only:{listed}
"""
    return resolve(network_from(read_text(text, "two matrices")))


LINEAR, RELU = "linear: {bias: false}", "act: relu"
TWO = program(LINEAR, RELU)


def weights(of: Program, seed: int) -> tuple[Array, Array]:
    """W (3, 3) and V (2, 3) of the canonical start, as numbers."""
    found = [
        p.detach().double().numpy().reshape(p.shape[0], -1) for p in canonical(of, seed).parameters() if p.dim() > 1
    ]
    assert [each.shape for each in found] == [(3, 3), (2, 3)]
    return found[0], found[1]


def batch(seed: int, size: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, 3, 1, 1, generator=generator), torch.randint(0, 2, (size,), generator=generator)


def gradients(w: Array, v: Array, images: Tensor, labels: Tensor) -> tuple[Array, Array]:
    """Of the mean cross-entropy, by the chain rule."""
    x = images.double().numpy().reshape(len(images), 3)
    hidden = np.maximum(x @ w.T, 0)
    logits = hidden @ v.T
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    error = (shares - np.eye(2)[labels.numpy()]) / len(x)
    inner = (error @ v) * (x @ w.T > 0)
    return inner.T @ x, error.T @ hidden


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradients_by_hand(seed: int) -> None:
    w, v = weights(TWO, seed)
    one, other = batch(10 + seed), batch(20 + seed)
    of_w, of_v = gradients(w, v, *one)
    norms = np.linalg.norm(of_w) + np.linalg.norm(of_v)
    assert BY_NAME["grad_norm"].score(TWO, [one], seed) == pytest.approx(norms, rel=1e-4)
    saliency = np.abs(w * of_w).sum() + np.abs(v * of_v).sum()
    assert BY_NAME["snip"].score(TWO, [one], seed) == pytest.approx(saliency, rel=1e-4)
    expected = 0.0
    for first, second in zip(gradients(w, v, *one), gradients(w, v, *other), strict=True):
        deviation = np.abs(first - second) / 2  # of two numbers, of the population
        there = deviation > 1e-12
        expected += math.log(((np.abs(first) + np.abs(second)) / 2)[there] @ (1 / deviation[there]))
    assert BY_NAME["zico"].score(TWO, [one, other], seed) == pytest.approx(expected, rel=1e-3)


def test_synflow_is_the_flow_through_every_matrix() -> None:
    w, v = (np.abs(each) for each in weights(TWO, 3))
    flow = (v @ w).sum()  # of an image of ones; each of the two matrices carries all of it
    assert BY_NAME["synflow"].score(TWO, [batch(0)], 3) == pytest.approx(math.log10(2 * flow), rel=1e-6)


def test_naswot_counts_relus_that_are_alike() -> None:
    w, _ = weights(TWO, 4)
    images, labels = batch(5, size=3)
    codes = images.double().numpy().reshape(3, 3) @ w.T > 0
    kernel = np.array([[np.sum(a == b) for b in codes] for a in codes], dtype=float)
    sign, value = np.linalg.slogdet(kernel)
    found = BY_NAME["naswot"].score(TWO, [(images, labels)], 4)
    assert found == (pytest.approx(value) if sign else None)
    same = images[:1].repeat(2, 1, 1, 1)
    assert BY_NAME["naswot"].score(TWO, [(same, labels[:2])], 4) is None  # one region: the determinant is 0


def test_jacob_cov_by_hand() -> None:
    w, v = weights(TWO, 6)
    images, labels = batch(7, size=3)
    x = images.double().numpy().reshape(3, 3)
    jacobians = np.array([((v.sum(0) * (w @ each > 0)) @ w) for each in x])
    values = np.linalg.eigvalsh(np.corrcoef(jacobians)) + 1e-5
    expected = -np.sum(np.log(values) + 1 / values)
    assert BY_NAME["jacob_cov"].score(TWO, [(images, labels)], 6) == pytest.approx(expected, rel=0.02)


def test_zen_by_hand() -> None:
    normed = program(LINEAR, "norm: batch", RELU)
    w, _ = weights(normed, 8)
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn((16, 3, 1, 1), generator=generator).double().numpy().reshape(16, 3) for _ in range(2))

    def given(images: Array) -> tuple[Array, Array]:
        inside = images @ w.T
        return np.maximum((inside - inside.mean(0)) / np.sqrt(inside.var(0) + 1e-5), 0), inside

    (before, inside), (after, _) = given(x), given(x + 0.01 * noise)
    expected = math.log(np.abs(after - before).sum(1).mean()) + 0.5 * math.log(inside.var(0).mean())
    assert BY_NAME["zen"].score(normed, [batch(0, size=16)], 8) == pytest.approx(expected, rel=1e-3)


def test_counts() -> None:
    for name in ("swin_nano", "mixer_nano"):
        found = program_of(name)
        assert BY_NAME["params"].score(found, [], 0) == cost(found).params
        assert BY_NAME["macs"].score(found, [], 0) == cost(found).macs
    assert BY_NAME["acts"].score(TWO, [], 0) == 3 + 2


def test_the_start_is_canonical() -> None:
    """What a spec says of its start is no part of a score: it would rank initialisers."""
    layered = program(f"residual: [{LINEAR}, {RELU}, {{scale: {{init: 1.0e-6}}}}]")
    plain = program(f"residual: [{LINEAR}, {RELU}, {{scale: {{init: 1.0}}}}]")
    one = [batch(1)]
    for name in ("grad_norm", "snip"):
        assert BY_NAME[name].score(layered, one, 0) == pytest.approx(BY_NAME[name].score(plain, one, 0))
    assert BY_NAME["snip"].score(layered, one, 0) != BY_NAME["snip"].score(layered, one, 1)
    w, _ = weights(TWO, 0)
    assert 0.2 < w.std() < 1.0  # 1/sqrt(3), not 0.02


@pytest.mark.parametrize(
    ("name", "steps", "kind", "reason"),
    [
        ("synflow", (LINEAR, RELU), "valid", ""),
        ("synflow", (LINEAR, "norm: batch", RELU), "valid", ""),
        ("synflow", (LINEAR, "norm: layer", RELU), "refused", "layer norm"),
        ("synflow", (LINEAR, "act: gelu"), "refused", "gelu"),
        ("naswot", (LINEAR, RELU), "valid", ""),
        ("naswot", (LINEAR, RELU, LINEAR, "act: gelu"), "doubtful", "gelu"),
        ("naswot", (LINEAR, "act: gelu"), "refused", "no relu"),
        ("zen", (LINEAR, "norm: batch", RELU), "valid", ""),
        ("zen", (LINEAR, RELU), "refused", "no batch norm"),
        ("zen", (LINEAR, "norm: batch", "norm: layer"), "refused", "layer norm"),
        ("zico", (LINEAR, RELU), "valid", ""),
    ],
)
def test_where_a_proxy_means_something(name: str, steps: tuple[str, ...], kind: str, reason: str) -> None:
    found = BY_NAME[name].verdict(program(*steps))
    assert (found.kind, reason in found.reason) == (kind, True)
    scored = BY_NAME[name].score(program(*steps), [batch(3), batch(4)], 0)
    assert scored is None or kind != "refused"


def test_attention_is_refused_or_warned() -> None:
    swin = program_of("swin_nano")
    kinds = {proxy.name: proxy.verdict(swin).kind for proxy in PROXIES}
    assert kinds["synflow"] == kinds["naswot"] == kinds["zen"] == "refused"
    assert kinds["grad_norm"] == kinds["zico"] == kinds["snip"] == "doubtful"
    assert kinds["params"] == kinds["macs"] == kinds["acts"] == "valid"


def test_real_networks_have_finite_scores_that_a_seed_repeats() -> None:
    data = open_data(DataConfig(name="fractal", size=32, train=64, val=32))
    batches = training_batches(data, 2, 8, seed=0)
    assert [x.shape for x, _ in batches] == [(8, 3, 32, 32)] * 2
    assert not torch.equal(batches[0][0], batches[1][0])
    for name in ("swin_nano", "d_dw_conv_nano", "outlook_nano"):
        for proxy in PROXIES:
            found = proxy.score(program_of(name), batches, 0)
            assert (found is None) == (proxy.verdict(program_of(name)).kind == "refused")
            assert found == proxy.score(program_of(name), batches, 0)


def test_learning_curves() -> None:
    curve = tuple(EpochRecord(n, train_loss=4.0 / n, val_loss=3.0 / n, val_accuracy=0.1 * n) for n in (1, 2, 4))
    found = {proxy.name: proxy.function(curve, 2) for proxy in CURVE_PROXIES}
    assert found == pytest.approx({"accuracy": 0.2, "sotl": -6.0, "val_area": -4.5})
    assert all(proxy.function(curve, 4) is None for proxy in CURVE_PROXIES)  # not trained so long
    (sotl,) = (proxy for proxy in CURVE_PROXIES if proxy.name == "sotl")
    assert (sotl.verdict(is_stream=True).kind, sotl.verdict(is_stream=False).kind) == ("valid", "doubtful")
