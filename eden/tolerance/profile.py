"""Characterize: the highest bit error rates that a network stands, all operands alike and then operand by operand.

The search itself is the C++ core's; here a torch network answers what it asks. docs/characterize.md has the statement
that comes out and its mathematics.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
import torch.distributed
from torch import Tensor, nn

from eden import _core
from eden.common import progress as eden_progress
from eden.common.deadline import Deadline
from eden.common.journal import Journal
from eden.common.ranks import RankError, Ranks
from eden.faults import calibration, chips, memories, reliable
from eden.faults.chips import set_chip_
from eden.faults.faulty_layers import faulty_layers
from eden.faults.memories import OperandInfo, scalable_errors, set_errors_, set_scaled_errors_
from eden.faults.network import model_device
from eden.faults.samples import Samples, map_tensors, samples_of, update_digest
from eden.memory.errors import ErrorModel
from eden.memory.operators import Memory
from eden.tolerance.reuse import Reuse
from eden.tolerance.tolerance import CEILING, FLOOR, Alone, Certificate, Guarantee, Tolerance

Metric = Callable[[Any, Any], Tensor]
"""Output and target of a batch to a score in [0, 1] per sample, shape (batch,), of any real dtype."""


@dataclasses.dataclass(frozen=True)
class CorpusMetric:
    """A score of all samples together that is no mean of theirs, such as BLEU or mean average precision.

    A chip is then observed on all samples, so an observation is its drop itself.

    Attributes:
        function: outputs and targets, two lists with an entry for each batch, in the order of the set, on the CPU, to a
            number from 0 to 1.
    """

    function: Callable[[list[Any], list[Any]], float]


SAMPLES_PER_OBSERVATION = 64
"""Samples of one observation where ``batch_size`` does not say.

A confirmation needs some number of chips, however many samples each is observed on; beyond what makes the spread over
samples as small as the gap that it has to prove, more samples per chip only cost time (docs/characterize.md).
"""

_BATCH_WITHOUT_LOADER = 128
_TRIALS_BETWEEN_ESTIMATES = 20
_TRIALS_BEFORE_PREDICTION = 8
_NEAR_ENOUGH = 0.1  # of what is left of a budget
_RATES_ASKED_FOR = 2**21  # numbers held for a moment, to count the trials before a decision


class SearchError(RuntimeError):
    """A search that ended without limits; the message says why and what was confirmed nevertheless."""


class TrialTimeoutError(SearchError):
    """One observation took longer than it may; a journal holds all before it."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One observation of a profile, as a progress callback is told of it.

    Attributes:
        trial: its number, from 0 on.
        expected: a guess at how many there will be.
        phase: "coarse", "coarse confirmation", "operand", "joint" or "confirmation".
        operand: whose rate is being raised, in phase "operand".
        rate: that operand's mean bit error rate; in other phases the highest of all.
        difference: mean of (clean score - faulty score) over the batch.
        low: lower end of the interval that the rate sought is believed to lie in (of several operands, the highest
            rate): the ends of a bisection, later about 90%.
        high: its upper end. Both are found anew every 20 trials.
        bound: in a confirmation, the bound on the mean drop (of a quantile, on the share of chips) that is shown so
            far; it has to fall to ``max_drop`` (1 - q). None elsewhere.
        calls: calls of layers under faults in the observations of this process so far.
        reused: those of them that were not computed again (``reuse_limit``).
        tested: in a confirmation, its observations so far, this one included. None elsewhere.
        longest: how many it takes at most before it is decided, None where that is not known.
    """

    trial: int
    expected: int
    phase: str
    operand: str | None
    rate: float
    difference: float
    low: float
    high: float
    bound: float | None
    calls: int = 0
    reused: int = 0
    tested: int | None = None
    longest: int | None = None


class Evaluator(Protocol):
    """What a search is driven with: a network, or a simulation of one."""

    def evaluate(self, trial: _core.Trial) -> float:
        """Mean of (clean score - faulty score) in the trial, a number from -1 to 1."""


def _top(k: int, output: Any, target: Any) -> Tensor:
    name = f"metric 'top{k}'"
    if not isinstance(output, Tensor) or output.dim() != 2 or output.shape[1] < k:
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"{name}: the network's output is {found}; allowed is a tensor (batch, classes >= {k})")
    if not isinstance(target, Tensor) or target.shape != output.shape[:1] or target.is_floating_point():
        found = f"{tuple(target.shape)} {target.dtype}" if isinstance(target, Tensor) else type(target).__name__
        raise ValueError(f"{name}: the target is {found}; allowed is an integer tensor of shape ({len(output)},)")
    best = output.topk(k, dim=1).indices
    # A sample whose output holds a NaN has no prediction, whatever place the NaN takes in an order.
    return (best == target.unsqueeze(1)).any(1) & ~output.isnan().any(1)


def top1(output: Tensor, target: Tensor) -> Tensor:
    """Whether the highest output is the target's: shapes (batch, classes), (batch,) to (batch,) bool."""
    return _top(1, output, target)


def top5(output: Tensor, target: Tensor) -> Tensor:
    """Whether the target is among the five highest outputs: shapes (batch, classes), (batch,) to (batch,) bool."""
    return _top(5, output, target)


METRICS: dict[str, Metric] = {"top1": top1, "top5": top5}
"""Metrics by name."""


def _named_metric(metric: str | Metric | CorpusMetric) -> tuple[str, Metric | CorpusMetric]:
    if isinstance(metric, CorpusMetric):
        return getattr(metric.function, "__qualname__", type(metric.function).__name__), metric
    if isinstance(metric, str):
        if metric not in METRICS:
            raise ValueError(f"metric is {metric!r}; allowed are {', '.join(METRICS)} or a function (output, target)")
        return metric, METRICS[metric]
    if not callable(metric):
        raise TypeError(f"metric is a {type(metric).__name__}; allowed are {', '.join(METRICS)} or a function")
    return getattr(metric, "__qualname__", type(metric).__name__), metric


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """What a profile is to answer; the fields are the arguments of ``profile`` of the same names.

    Raises:
        ValueError: naming the field that is out of range, what was found and what is allowed.
        TypeError: likewise.
    """

    max_drop: float
    confidence: float
    guarantee: Guarantee
    seed: int
    coarse_only: bool
    strategy: str
    effort: float
    lower_is_better: bool
    max_trials: int | None
    batch_size: int | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_drop", _probability("max_drop", self.max_drop))
        object.__setattr__(self, "confidence", _probability("confidence", self.confidence))
        _quantile(self.guarantee)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise TypeError(f"seed is a {type(self.seed).__name__}; allowed is an int")
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; allowed is a 64-bit integer")
        if self.max_trials is not None:
            _count("max_trials", self.max_trials)
        if not isinstance(self.lower_is_better, bool):
            raise TypeError(f"lower_is_better is a {type(self.lower_is_better).__name__}; allowed is a bool")
        if isinstance(self.effort, bool) or not isinstance(self.effort, (int, float)):
            raise TypeError(f"effort is a {type(self.effort).__name__}; allowed is a number from 1.5 to 1000")
        if self.strategy not in ("shares", "sweep"):
            raise ValueError(f"strategy is {self.strategy!r}; allowed are 'shares' and 'sweep'")
        if self.batch_size is not None:
            _count("batch_size", self.batch_size)

    @property
    def quantile(self) -> float | None:
        """Fraction of the chips whose drop is bounded; None where the mean over chips is."""
        return _quantile(self.guarantee)

    @property
    def bound(self) -> float:
        """What the mean of the observations is to be no more than."""
        return self.max_drop if self.quantile is None else 1.0 - self.quantile

    def search(
        self,
        searched: Mapping[str, OperandInfo],
        errors: Mapping[str, ErrorModel],
        weights: Mapping[str, float],
    ) -> _core.Search:
        """A new search of the core for these operands."""
        return _core.Search(
            operands=[
                (name, info.bytes or 0, min(CEILING, errors[name].highest_ber)) for name, info in searched.items()
            ],
            max_drop=self.max_drop,
            confidence=self.confidence,
            quantile=self.quantile,
            floor=FLOOR,
            coarse_only=self.coarse_only,
            seed=self.seed,
            max_trials=self.max_trials,
            weights=list(weights.values()),
            strategy=self.strategy,
            effort=self.effort,
        )

    def check_budget(self, search: _core.Search, budget: int | None) -> None:
        """Raise ValueError for a budget of observations that a search cannot end with anything in."""
        least = search.steps[1] if self.strategy == "sweep" else search.least_confirmation
        if budget is not None and budget < least:
            raise ValueError(
                f"budget is {budget}, too few observations to confirm any rate with max_drop {self.max_drop:g} and "
                f"confidence {self.confidence:g}; allowed is {least} or more, which do if no score drops and no rate "
                "is looked for"
            )

    def samples_per_observation(self, samples: int, whole: bool) -> int:
        """Samples of one observation.

        Args:
            samples: how many there are.
            whole: whether the score is one of all samples together.
        """
        if self.batch_size is None:
            return samples if whole or self.quantile is not None else min(SAMPLES_PER_OBSERVATION, samples)
        if whole and self.batch_size < samples:
            raise ValueError(
                f"batch_size is {self.batch_size}; with a CorpusMetric, whose drop over a part of the samples is not "
                f"that over all, allowed is None or all {samples} of them"
            )
        return min(self.batch_size, samples)

    def fingerprint(self, metric: str, weights: Mapping[str, float], batch_size: int) -> dict[str, Any]:
        """What a journal names a run by, of all that is asked; what it is asked of is to be added."""
        return {
            "eden": importlib.metadata.version("eden-dram"),
            "random_layout": _core.RANDOM_LAYOUT_VERSION,
            "max_drop": self.max_drop,
            "confidence": self.confidence,
            "guarantee": self.guarantee,
            "metric": metric,
            "seed": self.seed,
            "coarse_only": self.coarse_only,
            "strategy": self.strategy,
            "weights": list(weights.values()),
            "effort": float(self.effort),
            "lower_is_better": self.lower_is_better,
            "search": _core.SEARCH_VERSION,
            "batch_size": batch_size,
        }

    def reference(self, clean: np.ndarray[Any, np.dtype[np.float64]], metric: str) -> float:
        """Mean of the scores on reliable memory. Raises ValueError if it leaves no room for ``max_drop``."""
        reference = math.fsum(clean) / len(clean)
        if reference <= self.max_drop:
            harm = f"{1.0 - reference:.4g}, no less than 1 -"
            shown = harm if self.lower_is_better else f"{reference:.4g}, no more than"
            raise ValueError(
                f"on reliable memory the network scores {shown} max_drop ({self.max_drop}), by {metric!r}, so no error "
                "rate could be too high; allowed is a max_drop that its score leaves room for"
            )
        return reference

    def answer(
        self,
        search: _core.Search,
        searched: Mapping[str, OperandInfo],
        errors: Mapping[str, ErrorModel],
        weights: Mapping[str, float],
        *,
        metric: str,
        reference: float,
        float_accuracy: float | None,
        samples: int,
        batch_size: int,
        observations: Mapping[str, int],
    ) -> Tolerance:
        """The tolerance of a search that has ended. Raises SearchError if it ended without limits."""
        if search.state != "done" or search.coarse_certificate is None:
            raise SearchError(search.message)
        confirmed = search.limits_certificate
        rates = [search.coarse] * len(errors) if confirmed is None else search.limits
        # The core's arithmetic may leave the floor by the last bit.
        limits = {name: max(FLOOR, rate) for name, rate in zip(errors, rates, strict=True)}
        return Tolerance(
            coarse=max(FLOOR, search.coarse),
            limits=limits,
            bytes={name: info.bytes or 0 for name, info in searched.items()},
            kinds={name: "weight" if info.kind == "weight" else "input" for name, info in searched.items()},
            storage={name: info.storage for name, info in searched.items()},
            error_models={name: errors[name].scaled(limits[name]).to_dict() for name in errors},
            max_drop=self.max_drop,
            confidence=self.confidence,
            guarantee=self.guarantee,
            metric=metric,
            reference_accuracy=1.0 - reference if self.lower_is_better else reference,
            float_accuracy=float_accuracy,
            samples=samples,
            coarse_certificate=_certificate(search.coarse_certificate, batch_size),
            limits_certificate=None if confirmed is None else _certificate(confirmed, batch_size),
            seed=self.seed,
            random_layout=_core.RANDOM_LAYOUT_VERSION,
            eden_version=importlib.metadata.version("eden-dram"),
            observations=dict(observations),
            strategy=cast(Any, self.strategy),
            effort=float(self.effort),
            weights={} if confirmed is None else dict(weights),
            alone={} if confirmed is None else _all_alone(errors, search.responses),
            lower_is_better=self.lower_is_better,
            unfinished=search.message if search.ended_by_budget else "",
        )


def _quantile(guarantee: Any) -> float | None:
    if guarantee == "mean":
        return None
    if isinstance(guarantee, (tuple, list)) and len(guarantee) == 2 and guarantee[0] == "quantile":
        return _probability("the quantile of guarantee", guarantee[1])
    raise ValueError(f"guarantee is {guarantee!r}; allowed are 'mean' and ('quantile', q) with q inside (0, 1)")


def _probability(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a {type(value).__name__}; allowed is a number inside (0, 1)")
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} is {value}; allowed is inside (0, 1)")
    return float(value)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a {type(value).__name__}; allowed is an int, 1 or more")
    if value < 1:
        raise ValueError(f"{name} is {value}; allowed is 1 or more")
    return value


def _seconds(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a {type(value).__name__}; allowed is a number of seconds above 0, or None")
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} is {value}; allowed is a number of seconds above 0, or None")


def weights_of(weigh: Any, searched: Mapping[str, OperandInfo]) -> dict[str, float]:
    """What a factor in each operand's rate is worth."""
    if weigh == "bytes":
        return {name: float(info.bytes or 0) for name, info in searched.items()}
    if weigh == "energy":
        from eden.costs.count_traffic import traffic

        moved = traffic(searched).operands
        return {name: moved[name].read_bytes + moved[name].written_bytes for name in searched}
    if not isinstance(weigh, Mapping):
        raise ValueError(f"weigh is {weigh!r}; allowed are 'bytes', 'energy' and a number for each operand by name")
    for name in searched.keys() ^ weigh.keys():
        if name in searched:
            raise ValueError(f"weigh lacks operand {name!r}; allowed is a number for each of {len(searched)} operands")
        raise ValueError(f"weigh names {name!r}, which is no operand with an error model")
    for name, value in weigh.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value < math.inf:
            raise ValueError(f"weigh of operand {name!r} is {value!r}; allowed is a number of 0 or more")
    return {name: float(weigh[name]) for name in searched}


class Scorer:
    """Scores of a network's outputs, checked; higher is better.

    Args:
        model: the network.
        samples: what it is scored on.
        metric: gives one score per sample.
        name: the metric's, for errors.
        chunk: samples per forward pass.
        lower_is_better: whether 1 minus the metric is the score.

    Attributes:
        reuse: told of every forward pass; None for nobody.
    """

    def __init__(
        self, model: nn.Module, samples: Samples, metric: Metric, name: str, chunk: int, lower_is_better: bool = False
    ) -> None:
        self._model, self._samples, self._metric, self._name, self._chunk = model, samples, metric, name, chunk
        self._lower_is_better = lower_is_better
        self.reuse: Reuse | None = None
        self._device = model_device(model)

    def _outputs(self, inputs: Any) -> Any:
        if self.reuse is not None:
            self.reuse.begin_forward()
        return self._model(inputs)

    def scores(
        self, indices: Sequence[int], where: str, digest: hashlib._Hash | None = None
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Score of each sample, float64. Raises ValueError naming ``where`` and the sample if one is not in [0, 1]."""
        parts = []
        for start, (inputs, targets) in zip(
            range(0, len(indices), self._chunk), self._batches(indices, digest), strict=True
        ):
            with torch.inference_mode():
                scores = self._metric(self._outputs(inputs), targets)
            parts.append(self._checked(scores, indices[start : start + self._chunk], where))
        return np.concatenate(parts)

    def _batches(self, indices: Sequence[int], digest: hashlib._Hash | None) -> Iterator[tuple[Any, Any]]:
        for start in range(0, len(indices), self._chunk):
            batch = self._samples.batch(indices[start : start + self._chunk])
            if digest is not None:
                update_digest(digest, batch)
            inputs, targets = map_tensors(batch, lambda tensor: tensor.to(self._device))
            yield inputs, targets

    def _checked(self, scores: Any, indices: Sequence[int], where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        what = f"{where}: metric {self._name!r}"
        if not isinstance(scores, Tensor):
            raise TypeError(f"{what} returned a {type(scores).__name__}; allowed is a tensor of one score per sample")
        if scores.shape != (len(indices),) or scores.is_complex():
            raise ValueError(
                f"{what} returned shape {tuple(scores.shape)} {scores.dtype}; allowed is ({len(indices)},), one "
                "score per sample"
            )
        values: np.ndarray[Any, np.dtype[np.float64]] = scores.detach().to("cpu", torch.float64).numpy()
        bad = np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))
        if len(bad):
            raise ValueError(
                f"{what} returned {values[bad[0]]} for sample {indices[bad[0]]}; allowed is a score from 0 to 1 (also "
                "where faults make the output NaN or infinite)"
            )
        return 1.0 - values if self._lower_is_better else values


class CorpusScorer(Scorer):
    """Scores all samples together: each of them gets the score of all."""

    def __init__(
        self, model: nn.Module, samples: Samples, metric: CorpusMetric, name: str, chunk: int, lower_is_better: bool
    ) -> None:
        super().__init__(model, samples, top1, name, chunk, lower_is_better)
        self._function = metric.function

    def scores(
        self, indices: Sequence[int], where: str, digest: hashlib._Hash | None = None
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The score of these samples, taken in the order of the set, once for each of them, float64.

        Raises ValueError naming ``where`` if it is not in [0, 1].
        """
        outputs, targets = [], []
        for batch in self._batches(sorted(indices), digest):
            with torch.inference_mode():
                outputs.append(map_tensors(self._outputs(batch[0]), lambda tensor: tensor.cpu()))
            targets.append(map_tensors(batch[1], lambda tensor: tensor.cpu()))
        value = self._function(outputs, targets)
        what = f"{where}: metric {self._name!r} of all samples"
        try:
            score = float(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{what} returned a {type(value).__name__}; allowed is a number from 0 to 1") from error
        if not 0.0 <= score <= 1.0:
            raise ValueError(
                f"{what} returned {score}; allowed is 0 to 1 (also where faults make outputs NaN or infinite)"
            )
        return np.full(len(indices), 1.0 - score if self._lower_is_better else score)


class NetworkEvaluator:
    """A network under faults that answers a search.

    Args:
        model: the network, in evaluation mode.
        errors: error model of each operand that is searched, in the search's order.
        scorer: scores its outputs.
        clean: scores of all samples on reliable memory.
        batch_size: samples per observation.
        reuse: keeps what is the same in trials of one operand after the other; None computes everything.
    """

    def __init__(
        self,
        model: nn.Module,
        errors: dict[str, ErrorModel],
        scorer: Scorer,
        clean: np.ndarray[Any, np.dtype[np.float64]],
        batch_size: int,
        reuse: Reuse | None = None,
    ) -> None:
        self._model, self._errors, self._scorer, self._clean = model, errors, scorer, clean
        self._batch_size = batch_size
        self._rates: list[float] | None = None
        self.reuse = scorer.reuse = reuse

    def evaluate(self, trial: _core.Trial) -> float:
        """Put the operands at the trial's rates on its chip and score the samples that it draws."""
        if trial.rates != self._rates:
            set_scaled_errors_(
                self._model,
                {
                    name: errors.scaled(rate)
                    for (name, errors), rate in zip(self._errors.items(), trial.rates, strict=True)
                },
            )
        set_chip_(self._model, trial.chip)
        if self.reuse is not None:
            self.reuse.begin_trial(trial.chip, trial.draw_seed, trial.rates, trial.operand)
        drawn = _core.draw_samples(trial.draw_seed, len(self._clean), self._batch_size)
        faulty = self._scorer.scores(drawn, f"trial {trial.id} ({trial.phase}, chip {trial.chip})")
        if self._rates is None:
            self._check_loads()
        self._rates = trial.rates
        return float(np.mean(self._clean[drawn] - faulty))

    def _check_loads(self) -> None:
        loads = {name: info.loads for name, info in memories.operands(self._model).items()}
        unread = [name for name in self._errors if loads[name] == 0]
        if unread:
            raise ValueError(
                f"{', '.join(unread)}: never read in a forward pass, so nothing can be said of what "
                "they stand; leave them out with inject_'s filter_fn"
            )


@contextlib.contextmanager
def borrowed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a moment; mode, error models, chip and access numbers come back also after an error."""
    modes = [(module, module.training) for module in model.modules()]
    errors = {name: info.errors for name, info in memories.operands(model).items()}
    chip = chips.chip(model)
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
        set_errors_(model, errors)
        set_chip_(model, chip)
        with torch.no_grad():
            for buffer, saved in buffers:
                buffer.copy_(saved)


def _model_digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    update_digest(digest, {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)})
    return digest.hexdigest()


class TimeBudget:
    """Seconds turned into observations, by how long those before them took.

    Args:
        seconds: until the end.
        now: a clock, in seconds.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._end, self._now = now() + seconds, now
        self._first: tuple[float, int] | None = None

    def observations(self, made: int, budget: int) -> int:
        """The budget that a search should have after so many observations, ``budget`` where that is near enough."""
        now = self._now()
        if now >= self._end:
            return max(1, made)
        if self._first is None:
            self._first = now, made
        since, before = self._first
        if made - before < _TRIALS_BEFORE_PREDICTION or now == since:
            return budget
        predicted = made + int((self._end - now) * (made - before) / (now - since))
        near = budget > 0 and abs(predicted - budget) <= _NEAR_ENOUGH * (budget - made)
        return budget if near else max(1, made, predicted)


class Limits:
    """What ends a profile early; the arguments are those of ``profile``. Seconds count from now on.

    Attributes:
        budget: observations, or the time until the end, as ``drive`` takes them; None for no end.

    Raises:
        ValueError, TypeError: naming the argument that is out of range.
    """

    def __init__(self, budget: int | None, budget_seconds: float | None, timeout: float | None) -> None:
        if budget is not None:
            _count("budget", budget)
            if budget_seconds is not None:
                raise ValueError("budget and budget_seconds are both given; allowed is one of them")
        _seconds("budget_seconds", budget_seconds)
        _seconds("timeout", timeout)
        self.budget = budget if budget_seconds is None else TimeBudget(budget_seconds)


def drive(
    search: _core.Search,
    evaluator: Evaluator,
    names: Sequence[str],
    journal: Journal | None = None,
    on_step: Callable[[Step], None] | None = None,
    *,
    ranks: Ranks | None = None,
    budget: int | TimeBudget | None = None,
    timeout: float | None = None,
) -> Counter[str]:
    """Answer a search until it ends, first with the reports that a journal holds.

    Args:
        search: a search of the core; new, if a journal is given.
        evaluator: makes the observations.
        names: names of the search's operands.
        journal: holds earlier reports and takes the new ones; that of rank 0 counts.
        on_step: told of every new observation, on rank 0.
        ranks: who share the observations; each of them calls ``drive`` alike and makes those that are its turn. Reports
            are in the search's order, so that it ends as on one rank; what was made too many, because something was
            decided before, is left out.
        budget: observations in all, those of the journal included, or the time until the end; None for no end.
        timeout: seconds after which an observation is given up; None waits for ever.

    Returns:
        The number of observations by phase, the journal's included.

    Raises:
        ValueError: naming the trial, if the evaluator gives no number from -1 to 1.
        TrialTimeoutError: naming the trial, if one takes longer than ``timeout``. What the evaluator raises comes
            up as it is. In all three cases the journal holds everything before that trial.
        RankError: if it happens on another rank.
    """
    ranks = Ranks() if ranks is None else ranks
    observations: Counter[str] = Counter()
    held = ranks.from_first(lambda: (journal.history, journal.budgets) if journal else ([], []))
    given = iter(held[1])
    next_budget = next(given, None)

    def repeat_budgets() -> None:
        nonlocal next_budget
        while next_budget is not None and next_budget[0] == search.trials:
            search.set_budget(next_budget[1])
            next_budget = next(given, None)

    def set_budget(observations: int) -> None:
        if observations == search.budget:
            return
        if journal is not None and ranks.rank == 0:
            journal.append_budget(search.trials, observations)
        search.set_budget(observations)

    test = _Test(search)
    for identity, difference in held[0]:
        repeat_budgets()
        trial = search.next_trial()
        if trial is None:
            break
        test.count(trial)
        search.report(identity, difference)
        observations[trial.phase] += 1
    repeat_budgets()
    # Seconds are those of this call, whatever a call before it had.
    set_budget(budget if isinstance(budget, int) else 0)
    expected, interval, bound, phase = search.expected_trials, search.rate_interval, search.drop_bound, ""
    deadline = Deadline(timeout)
    try:
        while trials := search.next_trials(ranks.size):
            observed, failure = math.nan, ""
            error: Exception | None = None
            if ranks.rank < len(trials):
                mine = trials[ranks.rank]
                try:
                    observed = deadline.call(functools.partial(evaluator.evaluate, mine))
                except TimeoutError as raised:
                    error = raised
                    if deadline.expired:
                        error = TrialTimeoutError(
                            f"trial {mine.id} ({mine.phase}, chip {mine.chip}): the observation {raised}; what it "
                            "hangs in still holds the network, so start anew, from the journal if one was kept"
                        )
                except Exception as raised:
                    error = raised
                if error is not None:
                    failure = f"{type(error).__name__}: {error}"
            total = search.budget
            if isinstance(budget, TimeBudget) and ranks.rank == 0:
                total = budget.observations(search.trials + len(trials), total)
            found = ranks.gather((observed, failure, total))
            set_budget(found[0][2])
            for rank, (trial, (difference, failure, _)) in enumerate(zip(trials, found, strict=False)):
                asked = search.next_trial()
                if asked is None or not _same_trial(asked, trial):
                    break  # something was decided before it
                if failure:
                    if error is not None and rank == ranks.rank:
                        raise error
                    raise RankError(f"rank {rank}: {failure}")
                estimate = trial.id % _TRIALS_BETWEEN_ESTIMATES == 0
                if on_step is not None and (estimate or trial.phase != phase):
                    # Before the report, after which the search may be at something else.
                    interval, bound, phase = search.rate_interval, search.drop_bound, trial.phase
                test.count(trial)
                longest = test.longest() if on_step is not None else None
                search.report(trial.id, difference)
                observations[trial.phase] += 1
                if ranks.rank != 0:
                    continue
                # After the report, so that no value that the search refuses is kept.
                if journal is not None:
                    journal.append(trial.id, difference)
                if on_step is None:
                    continue
                if estimate or search.state != "running" or search.trials >= expected:
                    expected = search.expected_trials
                if search.state == "running":
                    expected = max(expected, search.trials + 1)
                operand = None if trial.operand is None else names[trial.operand]
                rate = max(trial.rates) if trial.operand is None else trial.rates[trial.operand]
                reuse = getattr(evaluator, "reuse", None)
                counts = (0, 0) if reuse is None else (reuse.calls, reuse.reused)
                low, high = interval
                calls, reused = counts
                step = Step(
                    trial=trial.id,
                    expected=expected,
                    phase=trial.phase,
                    operand=operand,
                    rate=rate,
                    difference=difference,
                    low=low,
                    high=high,
                    bound=bound,
                    calls=calls,
                    reused=reused,
                    tested=test.observations,
                    longest=longest,
                )
                on_step(step)
    finally:
        deadline.close()
    return observations


class _Test:
    """The confirmation that a search is at: how many observations it has, and how many it takes at most."""

    def __init__(self, search: _core.Search) -> None:
        self._search = search
        self._at: tuple[str, list[float]] | None = None
        self._longest: int | None = None
        self.observations: int | None = None

    def count(self, trial: _core.Trial) -> None:
        """Tell of an observation before it is reported."""
        if not trial.phase.endswith("confirmation"):
            self._at = self.observations = self._longest = None
        elif self._at != (trial.phase, trial.rates):
            self._at, self.observations, self._longest = (trial.phase, trial.rates), 1, None
        else:
            self.observations = (self.observations or 0) + 1

    def longest(self) -> int | None:
        """Observations at most, None where there is no confirmation or they are too many to be asked for."""
        if self._at is not None and self.observations is not None and self._longest is None:
            asked = max(1, _RATES_ASKED_FOR // len(self._at[1]))
            found = len(self._search.next_trials(asked))
            self._longest = self.observations - 1 + found if found < asked else 0
        return self._longest or None


def _same_trial(one: _core.Trial, other: _core.Trial) -> bool:
    return (one.id, one.chip, one.draw_seed, one.rates) == (other.id, other.chip, other.draw_seed, other.rates)


def show_steps(
    task: eden_progress.Task, journal: Journal | None, progress: bool | Callable[[Step], None], bound: float
) -> Callable[[Step], None]:
    """What tells a task, and ``progress`` if it is a function, of every new observation; it knows the journal's."""

    def on_step(step: Step) -> None:
        if callable(progress):
            progress(step)
        task.expect(step.expected)
        task.note(_note(step, bound))
        task.advance()

    if journal is not None and journal.history:
        task.advance(len(journal.history))
    return on_step


def scorer_of(
    model: nn.Module, samples: Samples, score: Metric | CorpusMetric, metric_name: str, lower_is_better: bool
) -> Scorer:
    """What scores a network on samples, in batches of the loader's size."""
    chunk = _chunk(samples)
    if isinstance(score, CorpusMetric):
        return CorpusScorer(model, samples, score, metric_name, chunk, lower_is_better)
    return Scorer(model, samples, score, metric_name, chunk, lower_is_better)


def _chunk(samples: Samples) -> int:
    return samples.batch_size or _BATCH_WITHOUT_LOADER


def _described(memory: Memory) -> Any:
    if isinstance(memory, tuple):
        return [[None if errors is None else errors.to_dict(), address, bits] for errors, address, bits in memory]
    return None if memory is None else memory.to_dict()


def network_fingerprint(model: nn.Module, infos: Mapping[str, OperandInfo], samples: Samples) -> dict[str, Any]:
    """What a journal names the network by: these operands, ranges, layers and state; and the number of the samples."""
    return {
        "chunk": _chunk(samples),
        "operands": [
            [name, info.kind, info.bytes, info.storage, info.address, _described(info.errors)]
            for name, info in infos.items()
        ],
        "layers": {
            name: [layer.eden_faults.batch_dim, *(operand.correction for operand in layer.eden_faults.operands())]
            for name, layer in faulty_layers(model).items()
        },
        "ranges": {name: list(bounds) for name, bounds in calibration.ranges(model).items()},
        "samples": len(samples),
        "model": _model_digest(model),
    }


def searched_operands(model: nn.Module) -> dict[str, OperandInfo]:
    """The operands that have errors."""
    operands = memories.operands(model)
    if any(layer.eden_faults.reliable for layer in faulty_layers(model).values()):
        raise ValueError("the network is on reliable memory; profile it outside of eden.clean")
    errors = scalable_errors(model)
    searched = {name: info for name, info in operands.items() if name in errors}
    if not searched:
        raise ValueError(f"none of the {len(operands)} operands has an error model; set one with eden.set_errors_")
    unknown = [name for name, info in searched.items() if info.bytes is None]
    if unknown:
        raise ValueError(f"the size of {', '.join(unknown)} is not known; call eden.calibrate_ first")
    for name, one in errors.items():
        if one.highest_ber < FLOOR:
            raise ValueError(f"operand {name!r}: its highest BER is {one.highest_ber}; allowed is {FLOOR} or more")
    return searched


def _certificate(found: _core.Certificate, batch_size: int) -> Certificate:
    return Certificate(
        chips=found.chips,
        samples=found.chips * batch_size,
        batch=batch_size,
        mean_drop=found.mean_drop,
        violating=found.violating,
        upper_bound=found.upper_bound,
        back_offs=found.back_offs,
        alpha=found.alpha,
        total_alpha=found.total_alpha,
        first_chip=found.first_chip,
        first_trial=found.first_trial,
    )


def _alone(found: _core.OperandResponse) -> Alone:
    # The core's arithmetic may leave the floor by the last bit.
    rates = {field: max(FLOOR, getattr(found, field)) for field in ("rate", "low", "high")}
    return Alone(slope=found.slope, observations=found.observations, **rates)


def _all_alone(names: Iterable[str], found: Sequence[_core.OperandResponse]) -> dict[str, Alone]:
    return {name: _alone(response) for name, response in zip(names, found, strict=False)}


def _note(step: Step, wanted: float) -> str:
    """What is being done, for a line of progress."""
    if step.tested is not None:
        return f"confirming {step.rate:.2g}: {confirmation_note(step, wanted)}"
    return f"{step.operand or step.phase} at {step.rate:.2g}, between {step.low:.2g} and {step.high:.2g}"


def confirmation_note(step: Step, wanted: float) -> str:
    """How far a confirmation is, for a line of progress."""
    of = "" if step.longest is None else f" of at most {step.longest}"
    said = f"{step.tested}{of} {'chip' if step.longest is None and step.tested == 1 else 'chips'}"
    if step.bound is None or not math.isfinite(step.bound):
        return said
    # As many digits as it takes to tell them apart.
    digits = next((n for n in range(2, 9) if f"{step.bound:.{n}g}" != f"{wanted:.{n}g}"), 2)
    return f"{said}, shown to be at most {step.bound:.{digits}g}, wanted is {wanted:.{digits}g}"


def _check_alike(ranks: Ranks, fingerprint: dict[str, Any]) -> None:
    """Refuse ranks that do not profile the same."""
    fields = {name: hashlib.sha256(repr(value).encode()).hexdigest() for name, value in fingerprint.items()}
    for rank, others in enumerate(ranks.gather(fields)):
        for name, value in others.items():
            if fields.get(name) != value:
                raise ValueError(
                    f"rank {rank} profiles something else than rank {ranks.rank}: {name} differs; allowed are the same "
                    "network, samples and settings on every rank"
                )


def profile(
    model: nn.Module,
    loader: Any,
    *,
    max_drop: float = 0.01,
    confidence: float = 0.95,
    metric: str | Metric | CorpusMetric = "top1",
    guarantee: Guarantee = "mean",
    seed: int = 0,
    coarse_only: bool = False,
    journal: str | os.PathLike[str] | None = None,
    progress: bool | Callable[[Step], None] = True,
    strategy: Literal["shares", "sweep"] = "shares",
    weigh: Literal["bytes", "energy"] | Mapping[str, float] = "bytes",
    effort: float = 6.0,
    lower_is_better: bool = False,
    max_trials: int | None = None,
    batch_size: int | None = None,
    memory_limit: int = 2**30,
    reuse_limit: int = 2**29,
    float_accuracy: float | None = None,
    budget: int | None = None,
    budget_seconds: float | None = None,
    timeout: float | None = None,
    group: torch.distributed.ProcessGroup | None = None,
) -> Tolerance:
    """Find the highest bit error rates that a network stands.

    With probability ``confidence`` the mean drop over chips at the limits, jointly, is at most ``max_drop``; so it is,
    separately, with all operands at the coarse rate. The population is these samples and chips drawn from the operands'
    error models, brought to the rates in question with their asymmetry kept. The reference is the same storage on
    reliable memory. Torch's global generators are not drawn from. Mode, error models, chip and access numbers of the
    network are what they were afterwards, also after an error or an interruption.

    Args:
        model: a network under faults (``eden.inject_``, ``eden.calibrate_``); its operands with an error model are
            searched.
        loader: a DataLoader over a map-style dataset without random transforms, drawn by index through its
            ``collate_fn``, or an iterable of (input, target) batches, which is held in memory.
        max_drop: accepted drop in score, inside (0, 1).
        confidence: inside (0, 1).
        metric: "top1", "top5", a function of output and target that returns a score in [0, 1] per sample, shape
            (batch,), or a CorpusMetric, for which each chip is observed on all samples.
        guarantee: "mean", or ("quantile", q): the drop of a fraction q of the chips is at most ``max_drop``. Then a
            chip is observed on all samples unless ``batch_size`` says less, and the statement is of a chip's drop over
            that many randomly drawn samples.
        seed: a 64-bit integer that all chips and draws derive from.
        coarse_only: stop at the rate common to all operands; it is every operand's limit then.
        journal: a file that takes every report as soon as it is made; one that exists is resumed from, to the same
            answer.
        progress: True shows it on standard error, False does not, a function is called with a Step per observation.
        strategy: "shares" measures what each operand does alone, gives each its share of the drop and confirms all
            together; "sweep", the reference, raises one operand by one step at a time and tests every step, at many
            times the cost.
        weigh: what a factor in an operand's rate is worth beside one in another's: its "bytes", its "energy" (bytes
            that it moves per inference, as ``eden.traffic`` counts them for a CPU), or a number for each operand.
        effort: observations that a confirmation is meant to take, in multiples of those that it takes if no score
            drops, 1.5 to 1000. More of it confirms rates nearer to ``max_drop``.
        lower_is_better: whether the metric is one of harm, such as an error rate: then its rise is the drop.
        max_trials: observations after which the search gives up. If None, 50,000, or more where ``max_drop`` and
            ``effort`` need it; for a sweep, all that it can take.
        batch_size: samples per observation. If None, 64, at most all.
        memory_limit: bytes of samples that may be held in memory.
        reuse_limit: bytes that may be held of inputs and outputs of layers, while operands are raised one by one, so
            that what is called before the raised one is not computed again; the answer is the same to the bit. 0 keeps
            nothing.
        float_accuracy: the network's score without the storage, only to be recorded.
        budget: observations after which the search ends with what is certified until then. It plans for it: both
            confirmations are kept what they need, with less effort where it must be. Where it does not do for limits of
            single operands, they are the coarse rate, and ``unfinished`` says so.
        budget_seconds: the same in seconds of this call, by how long observations take; at most one of the two.
        timeout: seconds after which one observation is given up; None waits for ever. With one, observations are made
            in a thread of their own.
        group: the ranks that share the observations, such as ``torch.distributed.group.WORLD`` under torchrun; each of
            them calls ``profile`` alike, and all get the same tolerance, that of one rank to the bit. None for this
            process alone.

    Returns:
        The limits and the evidence for them.

    Raises:
        ValueError: naming the argument, operand, sample or trial that is wrong, what was found and what is allowed.
        TypeError: likewise.
        SearchError: if not even the lowest rate can be confirmed, or ``max_trials`` or the budget is too small for any.
        TrialTimeoutError: a SearchError, if an observation takes longer than ``timeout``.
        eden.common.ranks.RankError: if another rank fails.
        eden.FileError: if the journal cannot be used or is of another run; it names the field that differs.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; allowed is a torch.nn.Module")
    metric_name, score = _named_metric(metric)
    question = Question(
        max_drop=max_drop,
        confidence=confidence,
        guarantee=guarantee,
        seed=seed,
        coarse_only=coarse_only,
        strategy=strategy,
        effort=effort,
        lower_is_better=lower_is_better,
        max_trials=max_trials,
        batch_size=batch_size,
    )
    _count("memory_limit", memory_limit)
    if reuse_limit != 0:
        _count("reuse_limit", reuse_limit)
    if float_accuracy is not None and not 0.0 <= float_accuracy <= 1.0:
        raise ValueError(f"float_accuracy is {float_accuracy}; allowed is 0 to 1")
    limits = Limits(budget, budget_seconds, timeout)
    ranks = Ranks(group)

    searched = searched_operands(model)
    weights = weights_of(weigh, searched)
    errors = scalable_errors(model)
    search = question.search(searched, errors, weights)
    question.check_budget(search, budget)
    samples = samples_of(loader, memory_limit)
    batch_size = question.samples_per_observation(len(samples), isinstance(score, CorpusMetric))

    with contextlib.ExitStack() as stack:
        stack.enter_context(borrowed(model))
        visible = progress is True and ranks.rank == 0
        task = stack.enter_context(eden_progress.task("profile", search.expected_trials, show=visible))
        scorer = scorer_of(model, samples, score, metric_name, lower_is_better)
        task.note("scoring on reliable memory")
        data = hashlib.sha256()
        with reliable.clean(model):
            clean = scorer.scores(range(len(samples)), "on reliable memory", data)
        reference = question.reference(clean, metric_name)
        book = None
        if journal is not None or ranks.size > 1:
            fingerprint = {
                **question.fingerprint(metric_name, weights, batch_size),
                **network_fingerprint(model, searched, samples),
                "data": data.hexdigest(),
            }
            _check_alike(ranks, fingerprint)
            if journal is not None:
                path = journal

                def open_journal() -> None:
                    nonlocal book
                    book = stack.enter_context(Journal(path, fingerprint))

                ranks.from_first(open_journal)

        on_step = show_steps(task, book, progress, question.bound)
        # A sweep's steps have chips of their own, so that nothing comes again.
        reuse = stack.enter_context(Reuse(model, list(errors), 0 if strategy == "sweep" else reuse_limit))
        evaluator = NetworkEvaluator(model, errors, scorer, clean, batch_size, reuse)
        observations = drive(
            *(search, evaluator, list(errors), book, on_step),
            ranks=ranks,
            budget=limits.budget,
            timeout=timeout,
        )

    return question.answer(
        search,
        searched,
        errors,
        weights,
        metric=metric_name,
        reference=reference,
        float_accuracy=float_accuracy,
        samples=len(samples),
        batch_size=batch_size,
        observations=observations,
    )
