"""What rate a network tolerates, cheaply: the mean drop of its score from that of another one, on the same chips."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from eden.boosting.rates import Rates
from eden.faults.borrow import borrowed
from eden.faults.chips import draw_chip, set_chip_
from eden.faults.forward import ForwardFn, TargetFn
from eden.faults.memories import scalable_errors, set_scaled_errors_
from eden.faults.metrics import Metric
from eden.faults.network import model_device
from eden.faults.reads import Reads
from eden.faults.reliable import clean
from eden.faults.samples import Samples, samples_of
from eden.faults.scorer import CorpusMetric, Scorer, Scores, named_metric, pairs_of
from eden.memory.cell_map import CellMap

LOWEST = 1e-7
"""What stands less counts as standing nothing."""
FIRST = 1e-3
"""A rate to begin a first search with."""

_MARGIN = 1.02  # of a rate, below which two are as good as one another

# Rates are looked at in eighths of a decade.
_PER_DECADE = 8
_STRIDE = _PER_DECADE // 2
_LOOKED_AT = 4  # milder rates, of one chip
_LEAST_CHIPS = 20  # that a drop is a mean over
# Of single answers, right or wrong, a few hundred tell no network from another one.
_LEAST_SCORES = 4000
_MOST_PASSES = 4
_MEMORY_BYTES = 2**30
# Chips by which a curriculum goes are of its training, and none that it ever trains on.
_JUDGING, _CONFIRMING = 2**58, 2**59
_JUDGED, _CONFIRMED = 1.0, 1.64  # standard errors by which drops are taken higher, on the way and at the end


def beats(rate: float, other: float) -> bool:
    """Whether a network that tolerates the first rate is better than one that tolerates the other."""
    return rate > other * _MARGIN


class Judge:
    """The mean drop of a network's score from what it was before boosting, at any rate.

    Args:
        model: the network before boosting, under faults.
        validation: a loader or a dataset of samples that training does not see.
        metric: as in ``eden.profile``, a score for each sample.
        max_drop: that may be lost.
        seed: of the chips.
        one: whether the network is for the one chip that it is on, and judged there: at a rate and at milder ones,
            whose errors are some of its own. What lies in cell maps alone always is.
        forward_fn: as in ``eden.profile``.
        target_fn: likewise.
    """

    def __init__(
        self,
        model: nn.Module,
        validation: Any,
        metric: str | Metric,
        max_drop: float,
        seed: int,
        forward_fn: ForwardFn | None = None,
        target_fn: TargetFn | None = None,
        *,
        one: bool = False,
    ) -> None:
        name, found = named_metric(metric)
        if isinstance(found, CorpusMetric):
            raise TypeError(f"metric is the CorpusMetric {name!r}; allowed for a curriculum is a score for each sample")
        if isinstance(validation, Dataset) and not isinstance(validation, IterableDataset):
            validation = DataLoader(validation, batch_size=256)
        self.samples: Samples = samples_of(validation, _MEMORY_BYTES)
        self.metric, self.max_drop, self.seed = metric, max_drop, seed
        self.forward_fn, self.target_fn = forward_fn, target_fn
        count = len(self.samples)
        chunk = max(1, math.ceil(count / _LEAST_CHIPS))
        self._chunk = min(self.samples.batch_size or chunk, chunk)
        self._passes = min(_MOST_PASSES, math.ceil(_LEAST_SCORES / count))
        models = scalable_errors(model).values()
        self.one = one or all(isinstance(errors, CellMap) for errors in models)
        # Errors that persist are the same at each read of one chip.
        self._alike = self.one and all(errors.failure == 1.0 for errors in models)
        self.reference = self._clean_scores(model)

    @staticmethod
    def _milder(step: int, lowest: int) -> range:
        """Rates below one at which a network for one chip is looked at: half a decade apart, through two decades."""
        return range(step - _STRIDE, max(lowest, step - _LOOKED_AT * _STRIDE) - 1, -_STRIDE)

    def _scorer(self, model: nn.Module) -> Scorer:
        pair = pairs_of(model, Reads(model), self.forward_fn, self.target_fn)
        return Scorer(pair, self.samples, self.metric, model_device(model))

    def _clean_scores(self, model: nn.Module) -> Scores:
        with borrowed(model), clean(model):
            return self._scorer(model).scores(range(len(self.samples)), "curriculum")

    @property
    def clean_score(self) -> float:
        """The mean score before boosting, on reliable memory."""
        return float(self.reference.mean())

    def clean_drop(self, model: nn.Module) -> float:
        """The mean score that is lost on reliable memory."""
        return float((self.reference - self._clean_scores(model)).mean())

    def drop(self, model: nn.Module, errors: Any, first: int, passes: int, errors_of_mean: float) -> float:
        """The mean drop at error models by operand, over chips from the given one on, and so many standard errors.

        Networks that differ in a few samples are told apart by few, so that a drop is taken as high as they leave it.
        """
        count, number = len(self.samples), first
        total = np.zeros(count)
        with borrowed(model):
            scorer = self._scorer(model)
            set_scaled_errors_(model, errors)
            for _ in range(1 if self._alike else passes):
                for start in range(0, count, self._chunk):
                    # The chips are the same for every rate and network, so that differences are theirs alone.
                    if not self.one:
                        set_chip_(model, draw_chip(self.seed, "training", number))
                    rows = range(start, min(start + self._chunk, count))
                    total[rows.start : rows.stop] += scorer.scores(rows, "curriculum")
                    number += 1
        lost = self.reference - total / (1 if self._alike else passes)
        return float(lost.mean() + errors_of_mean * lost.std() / math.sqrt(count))

    def tolerated(self, model: nn.Module, ladder: Rates, near: float, confirming: bool = False) -> float:
        """The mean rate at which the drop is ``max_drop``; 0 for a network that does not stand the lowest rate.

        Of one chip, it is below the mildest rate at which more is lost, of those looked at: a network that has learnt
        a chip's errors can be worse with some of them alone.

        Args:
            model: the network.
            ladder: makes the error models of a rate.
            near: a rate from which the search begins.
            confirming: whether on chips that no decision was made by.
        """
        known: dict[int, float] = {}
        # Of one chip the highest rate is the operating point itself.
        top = _PER_DECADE * math.log10(ladder.target_ber)
        highest = math.ceil(top - 1e-9) if self.one else math.floor(top + 1e-9)
        lowest = math.ceil(_PER_DECADE * math.log10(LOWEST))

        def rate(step: int) -> float:
            return float(min(10.0 ** (step / _PER_DECADE), ladder.target_ber))

        def drop(step: int) -> float:
            if step not in known:
                errors = ladder.errors(rate(step) / ladder.target_ber, 1.0)
                first = _CONFIRMING if confirming else _JUDGING
                passes, sure = (2 * self._passes, _CONFIRMED) if confirming else (self._passes, _JUDGED)
                known[step] = self.drop(model, errors, first, passes, sure)
            return known[step]

        at = min(max(round(_PER_DECADE * math.log10(max(near, LOWEST))), lowest), highest)
        upwards = drop(at) <= self.max_drop
        stride, low, high = 2, at, at
        while True:
            following = min(max(at + (stride if upwards else -stride), lowest), highest)
            if following == at:
                if not upwards:
                    return 0.0
                low, high = at, at
                break
            before, at = at, following
            if (drop(at) <= self.max_drop) != upwards:
                low, high = min(before, at), max(before, at)
                break
            stride = min(2 * stride, _PER_DECADE)
        while True:
            while high - low > 2:
                middle = (low + high) // 2
                low, high = (middle, high) if drop(middle) <= self.max_drop else (low, middle)
            milder = self._milder(low, lowest) if self.one else ()
            failing = [step for step in milder if drop(step) > self.max_drop]
            if not failing:
                break
            low, high = min(failing) - _STRIDE, min(failing)
            while low >= lowest and drop(low) > self.max_drop:
                low, high = low - _STRIDE, low
            if low < lowest:
                return 0.0
        if low == high:
            return rate(low)
        # Few errors harm by themselves, so that the drop is a line of the rate; through four points it is less a matter
        # of chance than through the two at hand.
        around = sorted({max(low - 2, lowest), low, high, min(high + 2, highest)})
        rates = np.array([rate(step) for step in around])
        slope, offset = np.polyfit(rates, [drop(step) for step in around], 1, w=rates**-0.5)
        if slope <= 0.0:
            return rate(low)
        if self.one:
            rates = np.array([rate(low), rate(high)])
        return float(np.clip((self.max_drop - offset) / slope, rates[0], rates[-1]))
