"""Rates at operating points, what they rest on, and the numbers behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from eden import _core
from eden.devices.likelihoods.odds import logistic
from eden.devices.margin import Margin

Counts = Sequence[tuple[float, float]]
Axis = Literal["trcd", "trp"]
Basis = Literal["measured", "curve", "bracket", "extrapolation", "population"]


@dataclass(frozen=True)
class Condition:
    """The readings of one operating point.

    Attributes:
        at: latency in ns or supply voltage in V.
        readings: each as (errors, cells).

    """

    at: float
    readings: tuple[tuple[float, float], ...]

    @property
    def rate(self) -> float:
        """Errors by cells, over all readings."""
        return math.fsum(errors for errors, _ in self.readings) / math.fsum(cells for _, cells in self.readings)


@dataclass(frozen=True)
class Region:
    """An operating point that no curve passes through.

    Attributes:
        at: latency in ns or supply voltage in V.
        reason: why.

    """

    at: float
    reason: str


@dataclass(frozen=True)
class Rate:
    """A bit error rate with what it rests on.

    Attributes:
        at: the operating point asked for, in ns or V.
        estimate: the rate; the careful end of a bracket.
        low: lower end of its interval.
        high: upper end of its interval.
        confidence: of the interval.
        basis: ``"curve"``; ``"bracket"`` where monotony alone bounds the rate by the measured neighbours, because no
            curve is identified; ``"extrapolation"`` outside what was measured; ``"measured"`` at a point that no curve
            passes through; ``"population"`` of a module that was not measured.
        identified: whether the data bound the rate from both sides.
        margin: what was added; ``low``, ``estimate`` and ``high`` have it in them.

    """

    at: float
    estimate: float
    low: float
    high: float
    confidence: float
    basis: Basis
    identified: bool
    margin: Margin = field(default_factory=Margin)


@dataclass(frozen=True)
class Prediction:
    """Where a further reading will lie. It has no margin in it: it is about this module and this equipment.

    Attributes:
        at: the operating point in ns or V.
        low: lower end, as a rate.
        high: upper end, as a rate.
        estimate: the rate that is expected.
        basis: as in ``Rate``.

    """

    at: float
    low: float
    high: float
    estimate: float
    basis: Basis

    def covers(self, rate: float) -> bool:
        """Whether a rate lies in the interval."""
        return self.low <= rate <= self.high

    @property
    def decades(self) -> float:
        """Width in decades; infinite where the lower end is 0."""
        return math.log10(self.high / self.low) if self.low > 0 else math.inf


@dataclass(frozen=True)
class Parameter:
    """A parameter of a curve.

    Attributes:
        estimate: in ns or V; the asymptote is a share of cells.
        low: lower end of the interval, infinite (0 for a scale or an asymptote) where the data leave it open.
        high: upper end, infinite (1 for an asymptote) where the data leave it open.
        identified: whether both ends are closed.

    """

    estimate: float
    low: float
    high: float
    identified: bool


@dataclass(frozen=True)
class Formula:
    """A curve as numbers: rate(at) = asymptote G((location - at) / scale).

    Attributes:
        link: G, ``"probit"`` (the normal distribution function) or ``"logit"`` (the logistic one).
        location: in ns or V.
        scale: in ns or V.
        asymptote: share of the cells that can fail.

    """

    link: Literal["probit", "logit"]
    location: float
    scale: float
    asymptote: float

    def rate(self, at: float) -> float:
        """The rate at an operating point, inside what was measured or not."""
        parameters = _core.CurveParameters(self.location, self.scale, self.asymptote)
        return logistic(_core.curve_log_odds(getattr(_core.CurveLink, self.link), parameters, at))


@dataclass(frozen=True)
class ChoiceRow:
    """One candidate of the choice of a curve.

    Attributes:
        groups: which groups it describes.
        link: ``"probit"`` or ``"logit"``.
        asymptote: ``"one"``, ``"own"`` or ``"shared"``.
        shared_scale: whether the groups have one scale.
        parameters: number of parameters.
        conditions: number of conditions.
        deviance: twice the log-likelihood ratio against a free rate for each condition.
        p_value: probability of a deviance as large, if the curve is right.
        bic: the deviance with the penalty for parameters.
        chosen: whether it was.

    """

    groups: tuple[str, ...]
    link: str
    asymptote: str
    shared_scale: bool
    parameters: int
    conditions: int
    deviance: float
    p_value: float
    bic: float
    chosen: bool
