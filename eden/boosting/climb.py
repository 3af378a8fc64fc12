"""How far a network's rate can rise: judged on a validation set while it trains, with the best state kept."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from eden.boosting.rates import Rates
from eden.common.tables import text_table
from eden.faults.borrow import borrowed
from eden.faults.chips import draw_chip, set_chip_
from eden.faults.faulty_layers import faulty_layers
from eden.faults.forward import ForwardFn, TargetFn
from eden.faults.memories import set_scaled_errors_
from eden.faults.metrics import Metric
from eden.faults.network import model_device
from eden.faults.reads import Reads
from eden.faults.reliable import clean
from eden.faults.samples import Samples, samples_of
from eden.faults.scorer import CorpusMetric, Scorer, Scores, named_metric, pairs_of

# Rates are looked at in eighths of a decade, and between them the drop is taken to be linear in the rate's logarithm.
_PER_DECADE = 8
_LOWEST = 1e-7  # what stands less counts as standing nothing
_FIRST = 1e-3  # where the first search begins
_LEAST_CHIPS = 20  # that a drop is a mean over
_LEAST_SCORES = 1000
_MOST_PASSES = 3
_MEMORY_BYTES = 2**30
# Chips by which a curriculum goes are of its training, and none that it ever trains on.
_JUDGING, _CONFIRMING = 2**58, 2**59
# Rates to train at lie up to this multiple of what is tolerated: a network learns nothing from what it cannot stand.
_FARTHEST = 8.0
_RISE = 4.0  # from the first rate to the one of the middle of the training
_FALLEN = 0.7  # of the highest rate tolerated: less is a network that lost what it had
_PATIENCE = 2  # times in a row, after which the best state comes back
_JUDGED, _CONFIRMED = 1.0, 1.64  # standard errors by which drops are taken higher, on the way and at the end
_MARGIN = 1.02  # of a rate, below which two are as good as one another


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What a curriculum that finds its rate tried."""

    epoch: int
    """Epochs trained until then; 0 is the network that was given."""
    ber: float
    """Mean bit error rate that was trained at; 0 before the first epoch."""
    clean_drop: float
    """Score lost on reliable memory, from that of the network that was given."""
    tolerated: float
    """Mean bit error rate at which the drop, a mean over chips, is ``max_drop``."""
    taken: bool
    """Whether it was the best one until then."""
    restored: bool
    """Whether the best state came back after it."""


class Judge:
    """The mean drop of a network's score from what it was before boosting, at any rate.

    Args:
        model: the network before boosting, under faults.
        validation: a loader or a dataset of samples that training does not see.
        metric: as in ``eden.profile``, a score for each sample.
        max_drop: that may be lost.
        seed: of the chips.
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
        self.reference = self._clean_scores(model)

    def _scorer(self, model: nn.Module) -> Scorer:
        pair = pairs_of(model, Reads(model), self.forward_fn, self.target_fn)
        return Scorer(pair, self.samples, self.metric, model_device(model))

    def _clean_scores(self, model: nn.Module) -> Scores:
        with borrowed(model), clean(model):
            return self._scorer(model).scores(range(len(self.samples)), "curriculum")

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
            for _ in range(passes):
                for start in range(0, count, self._chunk):
                    # The chips are the same for every rate and network, so that differences are theirs alone.
                    set_chip_(model, draw_chip(self.seed, "training", number))
                    rows = range(start, min(start + self._chunk, count))
                    total[rows.start : rows.stop] += scorer.scores(rows, "curriculum")
                    number += 1
        lost = self.reference - total / passes
        return float(lost.mean() + errors_of_mean * lost.std() / math.sqrt(count))

    def tolerated(self, model: nn.Module, ladder: Rates, near: float, confirming: bool = False) -> float:
        """The mean rate at which the drop is ``max_drop``; 0 for a network that does not stand the lowest rate.

        Args:
            model: the network.
            ladder: makes the error models of a rate.
            near: a rate from which the search begins.
            confirming: whether on chips that no decision was made by.
        """
        known: dict[int, float] = {}
        highest = math.floor(_PER_DECADE * math.log10(ladder.target_ber) + 1e-9)
        lowest = math.ceil(_PER_DECADE * math.log10(_LOWEST))

        def drop(step: int) -> float:
            if step not in known:
                errors = ladder.errors(10.0 ** (step / _PER_DECADE) / ladder.target_ber, 1.0)
                first = _CONFIRMING if confirming else _JUDGING
                passes, sure = (2 * self._passes, _CONFIRMED) if confirming else (self._passes, _JUDGED)
                known[step] = self.drop(model, errors, first, passes, sure)
            return known[step]

        at = min(max(round(_PER_DECADE * math.log10(max(near, _LOWEST))), lowest), highest)
        upwards = drop(at) <= self.max_drop
        stride, low, high = 2, at, at
        while True:
            following = min(max(at + (stride if upwards else -stride), lowest), highest)
            if following == at:
                return 10.0 ** (at / _PER_DECADE) if upwards else 0.0
            before, at = at, following
            if (drop(at) <= self.max_drop) != upwards:
                low, high = min(before, at), max(before, at)
                break
            stride = min(2 * stride, _PER_DECADE)
        while high - low > 2:
            middle = (low + high) // 2
            low, high = (middle, high) if drop(middle) <= self.max_drop else (low, middle)
        share = (self.max_drop - known[low]) / (known[high] - known[low])
        return float(10.0 ** ((low + share * (high - low)) / _PER_DECADE))


def _kept(model: nn.Module) -> dict[str, Tensor]:
    """What training changes in a network: Parameters, buffers of its own, and what is known of inputs."""
    found = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    for name, layer in faulty_layers(model).items():
        for operand in layer.eden_faults.operands():
            if operand.kind == "input":
                for buffer in operand.buffers[2:]:
                    found[f"{name}.{buffer}"] = getattr(layer, buffer)
    return found


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in _kept(model).items()}


class Climb:
    """Where a curriculum that finds its rate is: what it trains at, what it tried, and the best network.

    Args:
        judge: of the network before boosting.
        model: that network.
        ladder: makes the error models of a rate; its target is the highest rate that there is.
        epochs: of the curriculum.

    Attributes:
        rate: mean bit error rate to train at.
        period: epochs from one judgement to the next.
        tried: every judgement, the network that was given first.
    """

    def __init__(self, judge: Judge, model: nn.Module, ladder: Rates, epochs: int) -> None:
        self._judge, self._ladder = judge, ladder
        self.period = math.ceil(epochs / 16)
        rises = max(1, math.ceil(epochs / self.period) // 2)
        self.factor = min(2.0, max(1.2, _RISE ** (1.0 / rises)))
        self.failing = 0
        tolerated = judge.tolerated(model, ladder, _FIRST)
        self.tried = [Attempt(0, 0.0, 0.0, tolerated, True, False)]
        self.lowest = max(tolerated, _LOWEST)
        self.rate = min(self.lowest, ladder.target_ber)
        self.states = {"given": _copy(model), "best": {}}

    @property
    def best(self) -> Attempt:
        """The attempt whose network is kept."""
        return [attempt for attempt in self.tried if attempt.taken][-1]

    def end_epochs(self, model: nn.Module, epoch: int) -> None:
        """Judge the network, keep it if it is the best one, and go to the rate of the next epochs."""
        best = self.best.tolerated
        clean_drop = self._judge.clean_drop(model)
        tolerated = 0.0
        if clean_drop <= self._judge.max_drop:
            tolerated = self._judge.tolerated(model, self._ladder, max(best, self.lowest))
        taken = tolerated > best * _MARGIN
        if taken:
            self.states["best"] = _copy(model)
        allowed = clean_drop <= self._judge.max_drop and tolerated >= _FALLEN * best
        at, restored = self.rate, False
        if allowed:
            self.failing = 0
            farthest = _FARTHEST * max(best, tolerated, self.lowest)
            self.rate = min(self.rate * self.factor, farthest, self._ladder.target_ber)
        else:
            self.failing += 1
            self.rate = max(self.rate / self.factor, min(self.lowest, self.rate))
            restored = self.failing >= _PATIENCE
            if restored:
                self.restore(model)
                self.failing, self.factor = 0, max(math.sqrt(self.factor), 1.1)
        self.tried.append(Attempt(epoch, at, clean_drop, tolerated, taken, restored))

    def restore(self, model: nn.Module, which: str = "best") -> None:
        """Bring the best state back, or the given one."""
        state = self.states[which] or self.states["given"]
        with torch.no_grad():
            for name, value in _kept(model).items():
                value.copy_(state[name])

    def finish(self, model: nn.Module) -> float:
        """Leave the network in the best state, if it is better than the given one on other chips, too; its rate."""
        if not self.states["best"]:
            self.restore(model, "given")
            return self.best.tolerated
        found = {}
        for which in ("given", "best"):
            self.restore(model, which)
            found[which] = self._judge.tolerated(model, self._ladder, self.best.tolerated, confirming=True)
        if found["best"] <= found["given"] * _MARGIN:
            self.restore(model, "given")
            self.states["best"] = {}
            self.tried = [dataclasses.replace(one, taken=one.epoch == 0) for one in self.tried]
            return found["given"]
        return found["best"]

    def table(self) -> str:
        """What was tried, as text."""
        rows = []
        for one in self.tried:
            what = "kept" if one == self.best else "the best came back after it" if one.restored else ""
            cells = [f"{one.epoch}", f"{one.ber:.2e}", f"{one.clean_drop:.2%}", f"{one.tolerated:.2e}", what]
            rows.append(cells)
        header = ("epochs", "trained at BER", "lost without errors", f"BER at a drop of {self._judge.max_drop:g}", "")
        return text_table(header, rows)

    def state_dict(self) -> dict[str, Any]:
        """Where it is, tensors included."""
        return {
            **{name: getattr(self, name) for name in _STATE},
            "reference": torch.from_numpy(self._judge.reference),
            "tried": [dataclasses.asdict(attempt) for attempt in self.tried],
            "states": {which: dict(state) for which, state in self.states.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken. Raises KeyError, TypeError or ValueError for what is damaged."""
        tried = [Attempt(**attempt) for attempt in state["tried"]]
        states = {which: dict(state["states"][which]) for which in self.states}
        values = {name: state[name] for name in _STATE}
        self._judge.reference = np.asarray(state["reference"], dtype=np.float64)
        self.tried, self.states = tried, states
        for name, value in values.items():
            setattr(self, name, value)


_STATE = ("rate", "factor", "failing", "lowest", "period")
