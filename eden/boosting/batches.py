"""The batches of an epoch, and the random numbers that are drawn in it: functions of a seed and the epoch alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed
import torch.utils.data
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from eden.boosting.augmentation import Augment, augmented
from eden.boosting.recipe import Recipe


class Samples:
    """The batches of an epoch: a function of the recipe's seed and the epoch alone; a rank takes its share of each."""

    def __init__(
        self,
        dataset: Dataset[Any],
        recipe: Recipe,
        epoch: int,
        augment: Augment | None,
        device: torch.device,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._dataset, self._recipe, self._augment, self._device = dataset, recipe, augment, device
        self._rank, self._ranks = rank, ranks
        self.generator = np.random.default_rng((recipe.seed, epoch))
        self._order = torch.from_numpy(self.generator.permutation(samples_of(dataset)))

    def _fetch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self._dataset, TensorDataset):
            inputs, targets = self._dataset.tensors
            return inputs[chosen], targets[chosen]
        x, y = torch.utils.data.default_collate([self._dataset[index] for index in chosen.tolist()])
        return x, y

    def batch(self, step: int) -> tuple[Tensor, Tensor, float]:
        """The rank's inputs and targets of a batch, and its share of the batch's samples."""
        size = self._recipe.batch_size
        chosen = self._order[step * size : (step + 1) * size]
        own = torch.arange(self._rank, len(chosen), self._ranks)
        share = len(own) / len(chosen)
        if len(own) == 0:  # it still has to take part in the step, at a weight of 0
            own = torch.zeros(1, dtype=torch.int64)
        if self._augment is None:
            x, y = self._fetch(chosen[own])
        else:
            # Of the whole batch, so that the draws do not depend on the number of ranks.
            x, y = self._fetch(chosen)
            x, y = augmented(self._augment, x, self.generator)[own], y[own]
        return x.to(self._device), y.to(self._device), share


def samples_of(dataset: Dataset[Any]) -> int:
    """The number of a dataset's samples. Raises ValueError for one that does not tell it or has none."""
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise ValueError(f"dataset is a {type(dataset).__name__}; allowed is one of known length, read by index")
    if len(dataset) == 0:
        raise ValueError("dataset has no samples; training needs at least one")
    return len(dataset)
