"""What each option of a recipe does, and what wrong recipes are told."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from archspec.search.augment import create_batch_maker, crop_flip, flip
from archspec.search.optimisation import Optimisation, create_optimizer
from archspec.search.recipe import Recipe
from archspec.search.train import (
    TrainingFailed,
    check_recipe,
)
from tests.trained import CLASSES, image_data, module

pytestmark = pytest.mark.usefixtures("one_thread")


def test_biases_and_norms_are_not_decayed() -> None:
    groups = create_optimizer(module(), Recipe(weight_decay=0.3)).param_groups
    assert {(group["weight_decay"], value.ndim > 1) for group in groups for value in group["params"]} == {
        (0.0, False),
        (0.3, True),
    }


def test_the_learning_rate_follows_the_recipe() -> None:
    def rates(**more: Any) -> list[float]:
        recipe = Recipe(lr=1.0, optimizer="sgd", **more)
        net = nn.Linear(2, 2)
        optimisation = Optimisation(net, recipe, [10] * recipe.epochs, torch.device("cpu"))
        found = []
        for number in range(1, recipe.epochs * 10 + 1):
            found.append(optimisation.lr)
            optimisation.step(torch.zeros(2, 2), torch.tensor([0, 1]), number)
        return found

    cosine = [0.5 + 0.5 * np.cos(np.pi * step / 20) for step in range(20)]
    assert rates(epochs=2) == pytest.approx(cosine)
    assert rates(epochs=2, schedule="constant") == [1.0] * 20
    steps = rates(epochs=2, schedule="step", decay_epochs=0.5, decay_rate=0.5)
    assert steps == pytest.approx([1.0] * 5 + [0.5] * 5 + [0.25] * 5 + [0.125] * 5)
    assert rates(epochs=2, warmup_epochs=0.5)[:6] == pytest.approx([0.001, 0.2008, 0.4006, 0.6004, 0.8002, cosine[5]])


def test_input_is_normalised_and_channels_last() -> None:
    data = image_data()
    maker = create_batch_maker(Recipe(), 8, CLASSES, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), torch.device("cpu"))
    x, target = maker.plain(*data.train.take(np.arange(4)))
    assert x.shape == (4, 3, 8, 8)
    assert x.is_contiguous(memory_format=torch.channels_last)
    wanted = (data.train.take(np.arange(4))[0] / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    np.testing.assert_allclose(x.permute(0, 2, 3, 1), wanted, rtol=1e-4, atol=1e-5)
    assert target.tolist() == [0, 1, 2, 0]


def test_flips_and_shifts_move_pixels_only() -> None:
    images = np.arange(40 * 16 * 16 * 3, dtype=np.uint32).reshape(40, 16, 16, 3).astype(np.uint8)
    flipped = flip(images, np.random.default_rng(0))
    kinds = [int((f == i).all()) + 2 * int((f == i[:, ::-1]).all()) for f, i in zip(flipped, images, strict=True)]
    assert set(kinds) == {1, 2}
    shifted = crop_flip(images, np.random.default_rng(0))
    assert shifted.shape == images.shape
    centre = images[0, 6:10, 6:10]
    windows = [shifted[0, 4 + y : 8 + y, 4 + x : 8 + x] for y in range(5) for x in range(5)]
    assert any((w == centre).all() or (w == centre[:, ::-1]).all() for w in windows)


WRONG_RECIPES: dict[str, tuple[dict[str, Any], str]] = {
    "augment": ({"augment": "rand-m9-q2"}, "unknown augmentation"),
    "odd mixup": ({"mixup": 0.2, "batch": 5}, "must be even"),
    "warm-up": ({"epochs": 2, "warmup_epochs": 2.0}, "less than epochs"),
    "least rate": ({"lr": 0.1, "min_lr": 0.2}, "above lr"),
    "batch of one": ({"batch": 1}, "greater than or equal"),
    "unknown key": ({"learning_rate": 0.1}, "Extra inputs"),
    "rate": ({"lr": float("inf")}, "finite"),
}


@pytest.mark.parametrize("case", WRONG_RECIPES)
def test_wrong_recipes_say_what_is_wrong(case: str) -> None:
    section, words = WRONG_RECIPES[case]
    with pytest.raises(ValidationError, match=words):
        Recipe(**section)


@pytest.mark.parametrize(
    ("section", "device", "words"),
    [
        ({"optimizer": "adamx"}, "cpu", "adamx"),
        ({"optimizer": "adahessian"}, "cpu", "second derivatives"),
        ({"precision": "float16"}, "cpu", "needs CUDA"),
        ({}, "abacus", "no device"),
        ({}, "cuda:99", "no device"),
    ],
)
def test_what_fails_every_trial_is_found_before(section: dict[str, Any], device: str, words: str) -> None:
    with pytest.raises(TrainingFailed, match=words) as caught:
        check_recipe(Recipe(**section), device)
    assert caught.value.cause == "error"


def test_the_fingerprint_holds_what_is_computed_not_how_fast() -> None:
    assert Recipe(eval_batch=7, compile=True).fingerprint == Recipe().fingerprint
    assert Recipe(lr=0.1).fingerprint != Recipe().fingerprint
