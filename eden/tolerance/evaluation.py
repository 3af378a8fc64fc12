"""Accuracy of a network over chips: as it is, at given rates, or with each operand where a placement puts it."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from eden.boosting.curriculum import unscaled_errors
from eden.common import checks
from eden.common.arguments import check_int, check_seed
from eden.common.provenance import DrawnChips, Provenance
from eden.faults.borrow import borrowed
from eden.faults.chips import chips_of, set_chip_
from eden.faults.digests import SamplesDigest, memory_digest, network_digest
from eden.faults.faulty_layers import faulty_layers
from eden.faults.forward import ForwardFn, TargetFn
from eden.faults.memories import operands, set_errors_, set_scaled_errors_
from eden.faults.metrics import Metric
from eden.faults.network import evaluating, model_device
from eden.faults.reads import Reads
from eden.faults.reliable import clean
from eden.faults.samples import DATASET_BATCH, samples_of
from eden.faults.scorer import CorpusMetric, Scorer, pairs_of
from eden.memory.errors import ErrorModel
from eden.memory.region import Piece

_MEMORY_BYTES = 2**30


@dataclasses.dataclass(frozen=True)
class OverChips:
    """Accuracies of one network on several chips.

    Attributes:
        values: accuracy on each chip, from 0 to 1.
        clean: accuracy on reliable memory, in the same storage; None where it was not measured.
        provenance: the network, the data, and the chips that they are of; of ``errors`` what operands lay in, too.
    """

    values: tuple[float, ...]
    clean: float | None = None
    provenance: Provenance | None = None

    @property
    def mean(self) -> float:
        """Mean over chips, from the worst to the best."""
        return checks.mean(self.values)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; NaN for a single chip."""
        if len(self.values) < 2:
            return math.nan
        return statistics.stdev(self.values) / math.sqrt(len(self.values))

    @property
    def worst(self) -> float:
        """Accuracy on the worst chip."""
        return min(self.values)

    @property
    def best(self) -> float:
        """Accuracy on the best chip."""
        return max(self.values)


class _Evaluation:
    """The mean score of a network over all samples, after which operands that were not read are refused."""

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        metric: str | Metric | CorpusMetric,
        batch_size: int = DATASET_BATCH,
        forward_fn: ForwardFn | None = None,
        target_fn: TargetFn | None = None,
    ) -> None:
        self._reads = Reads(model)
        pair = pairs_of(model, self._reads, forward_fn, target_fn)
        self._scorer = Scorer(pair, samples_of(data, _MEMORY_BYTES, batch_size), metric, model_device(model))

    def mean(self, checked: bool = True, digest: SamplesDigest | None = None) -> float:
        """It, in the mode and at the errors that the network has. Raises ValueError for operands that are not read."""
        self._reads.forget()
        self._reads.begin()
        scores = self._scorer.scores(range(len(self._scorer.samples)), "evaluation", digest)
        self._reads.end()
        if checked:
            self._reads.check()
        return math.fsum(scores) / len(scores)


def accuracy(
    model: nn.Module, data: Any, batch_size: int = DATASET_BATCH, metric: str | Metric | CorpusMetric = "top1"
) -> float:
    """Mean score of a network as it is now, under faults or not, in evaluation mode.

    Args:
        model: the network; its modes are what they were afterwards.
        data: as in ``evaluate``.
        batch_size: samples per forward pass, of a dataset.
        metric: as in ``eden.profile``. By "top1" a sample whose output holds a NaN counts as wrong.

    Raises:
        ValueError: if the dataset has no samples, or an operand under faults is not read through its memory.
    """
    evaluation = _Evaluation(model, data, metric, batch_size)
    reliable = any(layer.eden_faults.reliable for layer in faulty_layers(model).values())
    with evaluating(model):
        return evaluation.mean(checked=not reliable)


def clean_accuracy(model: nn.Module, data: Any, batch_size: int = DATASET_BATCH) -> float:
    """Accuracy on reliable memory, in the same storage."""
    with clean(model):
        return accuracy(model, data, batch_size)


def evaluate(
    model: nn.Module,
    data: Any,
    *,
    metric: str | Metric | CorpusMetric = "top1",
    forward_fn: ForwardFn | None = None,
    target_fn: TargetFn | None = None,
    chips: int = 20,
    seed: int = 0,
    ber: float | None = None,
    errors: Mapping[str, ErrorModel | Sequence[Piece] | None] | None = None,
    on_chip: Callable[[], None] | None = None,
) -> OverChips:
    """Accuracy on chips drawn for evaluation, which no other step draws from any seed.

    Mode, error models, chip and access numbers of the network are what they were afterwards, also after an error.

    Args:
        model: a network under faults.
        data: what ``eden.profile`` takes as a loader: a DataLoader, a map-style dataset or an iterable of batches.
        metric: a name of ``eden.faults.metrics.METRICS``, a function of output and target that returns a score in
            [0, 1] per sample, shape
            (batch,), or a CorpusMetric.
        forward_fn: runs the network on a batch, as in ``eden.profile``.
        target_fn: says what its output is compared with, likewise.
        chips: how many.
        seed: a 64-bit integer that they are drawn from.
        ber: mean bit error rate that all operands are brought to, each with the asymmetry of its error model (in a
            curriculum, of the one before it); None for the rates that they have.
        errors: by operand, the error model or the pieces of memory that it is put into, as ``Placement.memory`` has
            them; others stay as they are.
        on_chip: called after each chip.

    Returns:
        Mean, standard error, worst and best accuracy over the chips, and that on reliable memory, ``clean``.

    Raises:
        ValueError: if ``chips`` is below 1, a rate is out of an operand's reach, a name is no operand of the network,
            the data hold no samples, the network has no layer under faults, or an operand with an error model is not
            read through its memory.
    """
    evaluation = _Evaluation(model, data, metric, forward_fn=forward_fn, target_fn=target_fn)
    check_int("chips", chips, 1)
    check_seed("seed", seed)
    with borrowed(model):
        of = {"network": network_digest(model)}
        if errors is not None:
            set_errors_(model, errors)
            of["memory"] = memory_digest({name: info.errors for name, info in operands(model).items()})
        if ber is not None:
            set_scaled_errors_(model, _errors_at(model, ber))
        samples = SamplesDigest()
        with clean(model):
            own = evaluation.mean(digest=samples)
        drawn = DrawnChips(purpose="evaluation", seed=seed, first=0, count=chips)
        made = Provenance.made(chips=(drawn,), data=samples.hexdigest(), **of)
        return OverChips(_on_chips(model, evaluation, drawn, on_chip), own, made)


def _on_chips(
    model: nn.Module,
    evaluation: _Evaluation,
    chips: DrawnChips,
    on_chip: Callable[[], None] | None,
    digest: SamplesDigest | None = None,
) -> tuple[float, ...]:
    values = []
    for number, seed in enumerate(chips_of(chips)):
        set_chip_(model, seed)
        values.append(evaluation.mean(digest=digest if number == 0 else None))
        if on_chip is not None:
            on_chip()
    return tuple(values)


def _errors_at(model: nn.Module, rate: float) -> dict[str, ErrorModel]:
    found = {}
    for name, errors in unscaled_errors(model).items():
        try:
            found[name] = errors.scaled(rate)
        except ValueError as error:
            raise ValueError(f"rate {rate:g}, which {name} cannot reach: {error}") from error
    return found


def reachable(model: nn.Module, rates: Sequence[float]) -> list[float]:
    """Of several mean bit error rates those that the error models of all operands reach: up to F, or a map's own."""
    highest = min((errors.highest_ber for errors in unscaled_errors(model).values()), default=0.0)
    return [rate for rate in rates if rate <= highest]


def at_rates(
    model: nn.Module,
    data: Any,
    rates: Sequence[float],
    chips: int,
    seed: int = 0,
    on_chip: Callable[[], None] | None = None,
) -> dict[float, OverChips]:
    """Accuracy with all operands at each of several mean bit error rates, over the same chips, drawn for such curves.

    Args:
        model: a network under faults.
        data: as in ``evaluate``, and so are the others.
        rates: those that ``reachable`` leaves can be met.
        chips: how many.
        seed: what they are drawn from.
        on_chip: called after each.

    Raises:
        ValueError: for a rate that an operand's error model cannot reach, naming both, before anything is computed; and
            as ``evaluate``.
    """
    errors_at = {rate: _errors_at(model, rate) for rate in rates}
    evaluation = _Evaluation(model, data, "top1")
    check_int("chips", chips, 1)
    check_seed("seed", seed)
    found: dict[float, tuple[float, ...]] = {}
    drawn = DrawnChips(purpose="curves", seed=seed, first=0, count=chips)
    with borrowed(model):
        network, samples = network_digest(model), SamplesDigest()
        for rate, errors in errors_at.items():
            set_scaled_errors_(model, errors)
            found[rate] = _on_chips(model, evaluation, drawn, on_chip, None if found else samples)
    made = Provenance.made(chips=(drawn,), network=network, data=samples.hexdigest())
    return {rate: OverChips(values, provenance=made) for rate, values in found.items()}
