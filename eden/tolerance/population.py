"""Of what a certificate speaks: of the samples alone, or of the data that they were drawn from."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from eden import _core

Population = Literal["data", "samples"]


def samples_needed(*, max_drop: float, confidence: float, effort: float, coarse_only: bool) -> int:
    """Samples that a statement about their distribution takes, as ``eden.Search.samples_needed`` says."""
    return _core.samples_needed(max_drop=max_drop, confidence=confidence, effort=effort, coarse_only=coarse_only)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which samples the observations of a search are made on.

    Attributes:
        population: of what the statement is.
        draws: which samples a trial has.
        batch: samples of an observation that steers.
        confirming: of one that confirms.
        whole: whether one that confirms has all samples.
    """

    population: Population
    draws: _core.SamplePlan
    batch: int
    confirming: int
    whole: bool


def plan_samples(population: Population | None, *, seed: int, samples: int, batch: int, **asked: Any) -> Plan:
    """The plan of a search.

    Args:
        population: None for "data" where there are enough samples and nothing keeps them from being asked of.
        seed: splits the samples.
        samples: how many there are.
        batch: samples of an observation.
        asked: the other arguments of ``_core.confirming_batch``.

    Raises:
        ValueError: for an unknown population; if data are asked of and cannot be, or the samples are too few.
    """
    if population not in (None, "data", "samples"):
        raise ValueError(f"population is {population!r}; allowed are 'data', 'samples' and None")
    confirming = _core.confirming_batch(samples=samples, batch=batch, population=population, **asked)
    draws = _core.SamplePlan(seed=seed, samples=samples, batch=batch, confirming=confirming)
    if confirming:
        return Plan("data", draws, batch, confirming, False)
    return Plan("samples", draws, batch, batch, batch == samples)
