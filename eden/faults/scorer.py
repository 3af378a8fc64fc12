"""Scores of a network's outputs, one for each sample or one for all of them together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from eden.faults.digests import SamplesDigest
from eden.faults.forward import Arguments, ForwardFn, TargetFn, run, target_of
from eden.faults.metrics import METRICS, Metric
from eden.faults.reads import Reads
from eden.faults.samples import Samples, map_tensors, moved
from eden.memory.reading import check_reads

Scores: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

_BATCH_WITHOUT_LOADER = 128


@dataclasses.dataclass(frozen=True)
class CorpusMetric:
    """A score of all samples together that is no mean of theirs, such as BLEU or mean average precision.

    A chip is then observed on all samples, so an observation is its drop itself.

    Attributes:
        function: outputs and targets, two lists with an entry for each batch, in the order of the set, on the CPU, to a
            number from 0 to 1.
    """

    function: Callable[[list[Any], list[Any]], float]


def named_metric(metric: str | Metric | CorpusMetric) -> tuple[str, Metric | CorpusMetric]:
    """A metric with its name. Raises ValueError or TypeError for what is none."""
    if isinstance(metric, str):
        if metric not in METRICS:
            raise ValueError(f"metric is {metric!r}; allowed are {', '.join(METRICS)} or a function (output, target)")
        return metric, METRICS[metric]
    function: Any = metric.function if isinstance(metric, CorpusMetric) else metric
    if not callable(function):
        raise TypeError(f"metric is a {type(metric).__name__}; allowed are {', '.join(METRICS)} or a function")
    inner = function.func if isinstance(function, functools.partial) else function
    return getattr(inner, "__qualname__", type(inner).__name__), metric


def pairs_of(
    model: nn.Module, reads: Reads, forward_fn: ForwardFn | None, target_fn: TargetFn | None
) -> Callable[[Any], tuple[Any, Any]]:
    """A function of a batch of a loader that gives a network's output and the target.

    Args:
        model: the network.
        reads: watches its first pass.
        forward_fn: as in ``eden.profile``.
        target_fn: likewise.
    """

    def pair(batch: Any) -> tuple[Any, Any]:
        given = batch if forward_fn is not None else Arguments.of(model, batch)
        target = target_of(model, batch, forward_fn, target_fn, given)
        return reads.call(run, model, given, forward_fn), target

    return pair


class Scorer:
    """Scores of outputs, checked; higher is better.

    Args:
        pair: a batch, on the device, to the network's output and the target.
        samples: what it is scored on, in batches of their loader's size.
        metric: its name or function.
        device: where batches are wanted.
        lower_is_better: whether 1 minus the metric is the score.

    Attributes:
        chunk: samples of a forward pass.
        name: of the metric.
        whole: whether the score is one of all samples together: each of them gets the score of all.
    """

    def __init__(
        self,
        pair: Callable[[Any], tuple[Any, Any]],
        samples: Samples,
        metric: str | Metric | CorpusMetric,
        device: torch.device,
        lower_is_better: bool = False,
    ) -> None:
        self.name, self._metric = named_metric(metric)
        self.whole = isinstance(self._metric, CorpusMetric)
        self.chunk = samples.batch_size or _BATCH_WITHOUT_LOADER
        self.samples = samples
        self._pair, self._device, self._lower_is_better = pair, device, lower_is_better

    def scores(self, indices: Sequence[int], where: str, digest: SamplesDigest | None = None) -> Scores:
        """Score of each sample, float64.

        Args:
            indices: the samples. Those of a CorpusMetric are taken in the order of the set.
            where: what errors begin with.
            digest: fed with the samples.

        Raises:
            ValueError, TypeError: naming ``where``, the metric and the sample, if a score is none in [0, 1].
            RuntimeError: if a read on a CUDA device could not be done.
        """
        with torch.inference_mode():
            if isinstance(self._metric, CorpusMetric):
                values = self._of_all(self._metric, sorted(indices), where, digest)
            else:
                values = self._of_each(self._metric, indices, where, digest)
        check_reads(self._device)
        return 1.0 - values if self._lower_is_better else values

    def _of_each(self, metric: Metric, indices: Sequence[int], where: str, digest: SamplesDigest | None) -> Scores:
        parts = []
        for rows, batch in self._batches(indices, digest):
            parts.append(self._checked(metric(*self._pair(batch)), rows, where))
        return np.concatenate(parts)

    def _of_all(self, metric: CorpusMetric, indices: list[int], where: str, digest: SamplesDigest | None) -> Scores:
        outputs, all_targets = [], []
        for _, batch in self._batches(indices, digest):
            output, targets = self._pair(batch)
            outputs.append(map_tensors(output, Tensor.cpu))
            all_targets.append(map_tensors(targets, Tensor.cpu))
        value = metric.function(outputs, all_targets)
        what = f"{where}: metric {self.name!r} of all samples"
        try:
            score = float(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{what} returned a {type(value).__name__}; allowed is a number from 0 to 1") from error
        if not 0.0 <= score <= 1.0:
            raise ValueError(
                f"{what} returned {score}; allowed is 0 to 1 (also where faults make outputs NaN or infinite)"
            )
        return np.full(len(indices), score)

    def _batches(self, indices: Sequence[int], digest: SamplesDigest | None) -> Iterator[tuple[Sequence[int], Any]]:
        for start in range(0, len(indices), self.chunk):
            rows = indices[start : start + self.chunk]
            batch = self.samples.batch(rows)
            if digest is not None:
                digest.update(batch)
            yield rows, moved(batch, self._device)

    def _checked(self, scores: Any, indices: Sequence[int], where: str) -> Scores:
        what = f"{where}: metric {self.name!r}"
        if not isinstance(scores, Tensor):
            raise TypeError(f"{what} returned a {type(scores).__name__}; allowed is a tensor of one score per sample")
        if scores.shape != (len(indices),) or scores.is_complex():
            raise ValueError(
                f"{what} returned shape {tuple(scores.shape)} {scores.dtype}; allowed is ({len(indices)},), one "
                "score per sample"
            )
        values: Scores = scores.detach().to("cpu", torch.float64).numpy()
        bad = np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))
        if len(bad):
            raise ValueError(
                f"{what} returned {values[bad[0]]} for sample {indices[bad[0]]}; allowed is a score from 0 to 1 (also "
                "where faults make the output NaN or infinite)"
            )
        return values
