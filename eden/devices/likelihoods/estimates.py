"""Estimates with their intervals, and the models that they are of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from eden.devices.likelihoods.counts import Axis, StoredValue
from eden.memory.errors import DataDependent, ErrorModel, Uniform
from eden.memory.geometry import Geometry
from eden.memory.lines import DEFAULT_GEOMETRY, HIGHEST_DISPERSION, LOWEST_DISPERSION, Bitline, LineModel, Wordline
from eden.memory.lines_by_value import BitlineByValue, LinesByValue, Marks, WordlineByValue

Model = Literal["uniform", "bitline", "wordline", "data_dependent", "bitline_by_value", "wordline_by_value"]

CONFIDENCE = 0.95
"""Of every interval."""
# A difference of BIC above this is "very strong" evidence (Kass and Raftery, J. Am. Stat. Assoc. 90, 1995).
DECISIVE = 10.0
"""A difference of BIC that chooses the richer model."""
# How often a true hypothesis is refused.
LEVEL = 0.01
"""Of tests."""


class Kind(NamedTuple):
    """What the probability of being weak varies over; ``axis`` None: cells are weak independently of lines."""

    axis: Axis | None
    by_value: bool


# In the order of growing complexity.
KINDS: dict[str, Kind] = {
    "uniform": Kind(None, False),
    "bitline": Kind("bitline", False),
    "wordline": Kind("wordline", False),
    "data_dependent": Kind(None, True),
    "bitline_by_value": Kind("bitline", True),
    "wordline_by_value": Kind("wordline", True),
}
MODEL_NAMES: dict[str, str] = {
    "uniform": "Model 0 (uniform)",
    "bitline": "Model 1 (bitline)",
    "wordline": "Model 2 (wordline)",
    "data_dependent": "Model 3 (data-dependent)",
    "bitline_by_value": "Model 1 with a rate for each stored value",
    "wordline_by_value": "Model 2 with a rate for each stored value",
}


@dataclass(frozen=True)
class Estimate:
    """A parameter with its 95% interval.

    Attributes:
        estimate: the most likely value, or what was assumed.
        low: lower end of the interval.
        high: upper end; at a bound the interval is one-sided.
        identified: whether the counts tell it. Where not, ``estimate`` is what was assumed or follows from that.
        bound: the end of its range ("low", "high") that the estimate lies at.
        standard_error: of the parameter's log-odds, from the observed information; None at a bound and where it was
            not fitted.

    """

    estimate: float
    low: float
    high: float
    identified: bool
    bound: Literal["low", "high"] | None = None
    standard_error: float | None = None


def information_criterion(log_likelihood: float, parameters: int, observations: int) -> float:
    """Bayesian information criterion (Schwarz, Annals of Statistics 6, 1978); smaller is better."""
    return parameters * math.log(observations) - 2.0 * log_likelihood


@dataclass(frozen=True)
class Fit:
    """One model's parameters, fitted.

    Attributes:
        weak: for each rate, the probability P that a cell is weak, or its mean over lines.
        ber: for each, the bit error rate P F.
        failure: the probability F that a read of a weak cell is inverted.
        dispersion: the intra-class correlation of the cells of a line, as ``eden.Bitline`` has it; None without lines.
        log_likelihood: of which reads of which cells failed, so that models of different lines can be compared.
        parameters: those that were fitted.
        observations: cells, one for each stored value that it was read with.

    """

    weak: tuple[Estimate, ...]
    ber: tuple[Estimate, ...]
    failure: Estimate
    dispersion: Estimate | None
    log_likelihood: float
    parameters: int
    observations: int

    @property
    def bic(self) -> float:
        """Bayesian information criterion; smaller is better."""
        return information_criterion(self.log_likelihood, self.parameters, self.observations)


@dataclass(frozen=True)
class FittedModel(Fit):
    """One model, fitted.

    Attributes:
        model: its name.
        stored: which rate is which: ("both",), or ("zero", "one") for a rate of each.

    """

    model: str
    stored: tuple[StoredValue, ...]

    def error_model(self, geometry: Geometry = DEFAULT_GEOMETRY, marks: Marks = "alike") -> ErrorModel:
        """The error model with these estimates.

        A dispersion that is too small for the operators' table is 0 in it, one that is too large their largest.

        Args:
            geometry: which cells make up a line, for Models 1 and 2.
            marks: how the lines of zeros and of ones go together, which one value's counts do not tell
                (``marks_gains``).

        """
        failure = self.failure.estimate
        rates = [min(rate.estimate, failure) for rate in self.ber]
        if self.model == "uniform":
            return Uniform(rates[0], failure)
        if self.model == "data_dependent":
            return DataDependent(rates[0], rates[1], failure)
        assert self.dispersion is not None
        return lines_of(self.model, rates[0], rates[-1], self.dispersion.estimate, failure, geometry, marks)


def lines_of(
    model: str, zero: float, one: float, dispersion: float, failure: float, geometry: Geometry, marks: Marks
) -> LineModel | LinesByValue:
    """The error model of lines of a name; of one rate, the higher. A dispersion that no table has is the nearest."""
    dispersion = 0.0 if dispersion < LOWEST_DISPERSION else min(dispersion, HIGHEST_DISPERSION)
    if KINDS[model].by_value:
        both: type[LinesByValue] = BitlineByValue if KINDS[model].axis == "bitline" else WordlineByValue
        return both(zero, one, dispersion, failure, geometry, marks)
    kind: type[LineModel] = Bitline if model == "bitline" else Wordline
    return kind(max(zero, one), dispersion, failure, geometry)
