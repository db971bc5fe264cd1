"""A module and the widths of rungs go in; what is trained in an epoch comes out: a module and its optimisation."""

from collections.abc import Sequence

import torch
from torch import nn

from archspec.search.failure import TrainingFailed
from archspec.search.growth import Growth
from archspec.search.optimisation import Optimisation
from archspec.search.recipe import Recipe


class Trained:
    """The network at the width of the epoch that was asked for last; above the rungs it is the given module itself."""

    module: nn.Module
    optimisation: Optimisation

    def __init__(
        self,
        whole: nn.Module,
        growth: Growth | None,
        recipe: Recipe,
        seed: int,
        steps: Sequence[int],
        device: torch.device,
        micro_batch: int | None,
    ) -> None:
        self._whole, self._growth, self._recipe, self._seed = whole, growth, recipe, seed
        self._steps, self._device, self._micro_batch = steps, device, micro_batch
        self._share = 0.0  # nothing stands yet

    def stand_at(self, epoch: int) -> None:
        """Be the network of this epoch, from 0: as it was, grown from the narrower one, or newly begun.

        Raises:
            TrainingFailed: an epoch is narrower, and nobody said which network is (cause `error`).
            SpecError: no network is so narrow.
        """
        share = self._recipe.rung(epoch).share_of_width
        if share == self._share:
            return
        narrower, from_share, self._share = (self.optimisation if self._share else None), self._share, share
        self.module = self._module(share).to(self._device)
        self.optimisation = Optimisation(self.module, self._recipe, self._steps, self._device, self._micro_batch)
        if narrower is not None and self._growth is not None:
            grown = [self._growth.grown(tensors, from_share, share, self._seed) for tensors in narrower.tensors()]
            self.optimisation.begin(grown, sum(self._steps[:epoch]), narrower)

    def _module(self, share: float) -> nn.Module:
        if share == 1:
            return self._whole
        if self._growth is None:
            raise TrainingFailed("a rung of a width needs the network's spec, not its module alone", "error")
        return self._growth.module(share, self._seed)
