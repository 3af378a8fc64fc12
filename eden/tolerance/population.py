"""Of what a certificate speaks: of the samples alone, or of the data that they were drawn from."""

from __future__ import annotations

import dataclasses
from typing import Literal

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


def plan_samples(
    asked: Population | None,
    *,
    seed: int,
    samples: int,
    batch: int,
    max_drop: float,
    confidence: float,
    effort: float,
    coarse_only: bool,
    unfit: str,
) -> Plan:
    """The plan of a search.

    Args:
        asked: None for "data" where there are enough samples.
        seed: splits the samples.
        samples: how many there are.
        batch: samples of an observation.
        max_drop: as of ``eden.profile``, and the others.
        confidence: see there.
        effort: see there.
        coarse_only: see there.
        unfit: what of the question cannot be asked of data, empty where it can.

    Raises:
        ValueError: if data are asked of and ``unfit`` says why they cannot be, or the samples are too few.
    """
    if asked not in (None, "data", "samples"):
        raise ValueError(f"population is {asked!r}; allowed are 'data', 'samples' and None")

    def needed(effort: float) -> int:
        return samples_needed(max_drop=max_drop, confidence=confidence, effort=effort, coarse_only=coarse_only)

    if asked == "data":
        if unfit:
            raise ValueError(f"population is 'data' with {unfit}; allowed of it is 'samples'")
        least = needed(_core.LEAST_EFFORT_OF_DATA)
        if samples < least:
            raise ValueError(
                f"population is 'data' with {samples:,} samples; allowed with max_drop {max_drop:g} and confidence "
                f"{confidence:g} are {least:,} or more, and {needed(effort):,} for an effort of {effort:g} "
                "(eden.Search.samples_needed); or 'samples', which claims nothing of other data"
            )
    if asked == "data" or (asked is None and not unfit and samples >= needed(effort)):
        confirming = max(1, min(batch, samples // needed(effort)))
        draws = _core.SamplePlan(seed=seed, samples=samples, batch=batch, confirming=confirming)
        return Plan("data", draws, batch, confirming, False)
    draws = _core.SamplePlan(seed=seed, samples=samples, batch=batch)
    return Plan("samples", draws, batch, batch, batch == samples)
